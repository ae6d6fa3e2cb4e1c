"""Makes the blocks of thousands that have just become full, so that the first search of a large mailbox is fast too.

The last thousand of a folder, which still grows, is left to the search that needs it; so is all that was missed here.
"""

from __future__ import annotations

import structlog

from crypto.errors import CryptoError
from server.base.errors import Refused
from server.base.limits import BLOCK_SLACK
from server.mailbox.blocks import queries
from server.mailbox.blocks.block import PARTS, SPAN, WORDS
from server.mailbox.store import Store
from server.mailbox.table import Table
from server.mailbox.trouble import connection

_RECENT_SECONDS = 900.0  # additions looked at; a worker that was away for longer leaves them to searches
_LOOKED_AT = 50
_TRIED = 10_000  # blocks remembered so that none is tried again and again

log = structlog.get_logger()


class Ahead:
    """For the jobs role. Several workers may do this at the same time: a block made twice is as good."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tried: dict[tuple[int, int, int], None] = {}

    async def some(self) -> int:
        """Make one block; how many were made."""
        async with connection(self._store.pool) as acquired:
            full = await acquired.fetch(queries.FULL_BLOCKS, _RECENT_SECONDS, _LOOKED_AT + len(self._tried))
        fresh = next((key for row in full if (key := tuple(row)) not in self._tried), None)
        if fresh is None:
            return 0
        self._tried[fresh] = None
        if len(self._tried) > _TRIED:
            del self._tried[next(iter(self._tried))]
        owner_id, folder_id, number = fresh
        try:
            mailbox = await self._store.open(owner_id)
            rows = await mailbox.rows(folder_id, range(number * SPAN, (number + 1) * SPAN))
            if len(rows) > BLOCK_SLACK:
                await mailbox.blocks(folder_id, {number: Table(rows).chunk()}, (*PARTS, WORDS), {number})
        except (CryptoError, Refused) as error:
            # A destroyed key, a closed mailbox: nothing is lost, for blocks only speed up.
            log.warning("view_block_passed_over", owner=owner_id, folder=folder_id, block=number, error=error)
        return 1
