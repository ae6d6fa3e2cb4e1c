"""What the jobs role does for the store, in bounded pieces; each function says how much it did, and 0 means rest.

Several workers may run these at the same time: what one holds, the others pass over.
"""

from __future__ import annotations

import asyncpg
import structlog

from crypto.errors import CryptoError
from crypto.keyring import Keyring
from server.base import metrics
from server.base.errors import Refused
from server.base.limits import STRAY_PIECES_SECONDS
from server.mailbox import queries
from server.mailbox.blocks import queries as block_queries
from server.mailbox.create import fill_spares
from server.mailbox.keys import SEALED_FORM, Keys
from server.mailbox.trouble import connection

REWRAP_KEYS = 500  # 0.1 ms each
COLLECT_ROWS = 500
# A COPY may be racing with an EXPUNGE, and a restore of yesterday's backup wants yesterday's content.
UNREFERENCED_SECONDS = 24 * 3600.0
CHANGES_SECONDS = 30 * 24 * 3600.0  # a client away for longer has its folder read anew
TRIM_FOLDERS = 200
STALE_BLOCKS = 100  # a megabyte each at most, as a rule
SPARE_OWNERS = 32  # mailboxes ready for edges that need one; a new one costs 0.5 ms, so few are enough

log = structlog.get_logger()


class Rewrapper:
    """Re-wraps keys of new messages with their mailbox's symmetric key, soon after delivery."""

    def __init__(self, keyring: Keyring) -> None:
        self._keys = Keys(keyring)
        self._damaged: set[int] = set()

    async def some(self, pool: asyncpg.Pool) -> bool:
        """One piece; whether it was full. If not there is time to rest: what comes then costs less in one piece.

        An owner whose key does not open is logged once and passed over.
        """
        done: list[tuple[int, bytes, bytes]] = []
        async with connection(pool) as acquired:
            await self._keys.look(acquired)
            rows = await acquired.fetch(queries.SEALED_KEYS, REWRAP_KEYS, list(self._damaged))
            for owner_id, content_id, sealed in rows:
                if owner_id in self._damaged:
                    continue
                try:
                    key = await self._keys.of(acquired, owner_id)
                    message_key = key.message_key(content_id, sealed, SEALED_FORM)
                except (CryptoError, Refused) as error:
                    # A forged row, a destroyed key or a closed mailbox: what opened before it is still done.
                    log.error("rewrap_passed_over", owner=owner_id, error=error)
                    self._damaged.add(owner_id)
                    continue
                done.append((owner_id, content_id, key.wrap_message_key(content_id, message_key)))
            if done:
                await acquired.execute(queries.REWRAP, *map(list, zip(*done, strict=True)))
        metrics.REWRAPPED.inc(len(done))
        return len(rows) == REWRAP_KEYS


async def collect_content(
    pool: asyncpg.Pool,
    unreferenced_seconds: float = UNREFERENCED_SECONDS,
    stray_seconds: float = STRAY_PIECES_SECONDS,
) -> int:
    """Delete content that nothing has referred to for 24 hours, large bodies whose message never came, and view blocks
    that still hold something of what was expunged then."""
    async with connection(pool) as acquired:
        async with acquired.transaction():
            held = await acquired.fetch(queries.HOLD_RELEASED, unreferenced_seconds, COLLECT_ROWS)
            owners, contents = [row[0] for row in held], [row[1] for row in held]
            # A statement of its own: its snapshot sees whatever was committed before the rows were held.
            await acquired.fetch(queries.COLLECT, owners, contents)
        large = await acquired.fetch(queries.COLLECT_LARGE, stray_seconds, COLLECT_ROWS)
        await acquired.execute(block_queries.DROP_STALE_BLOCKS, unreferenced_seconds, STALE_BLOCKS)
    return len(held) + len(large)


async def trim_changes(pool: asyncpg.Pool, kept_seconds: float = CHANGES_SECONDS) -> int:
    """Cut the change log at its horizon, a folder a transaction; returns how many folders were cut."""
    async with connection(pool) as acquired:
        old = await acquired.fetch(queries.OLD_CHANGES, kept_seconds, TRIM_FOLDERS)
        for owner_id, folder_id, upto in old:
            async with acquired.transaction():
                await acquired.execute(queries.MARK_TRIMMED, owner_id, folder_id, upto)
                await acquired.execute(queries.TRIM_CHANGES, owner_id, folder_id, upto)
    return len(old)


async def fill_key_pool(pool: asyncpg.Pool, keyring: Keyring) -> int:
    """Keep spare owners ready; returns how many were made."""
    async with connection(pool) as acquired:
        return await fill_spares(acquired, keyring, SPARE_OWNERS)
