"""One mailbox that nobody can ever read again: its keys are destroyed, here and in every backup of the database.

A backup holds the mailbox's keys wrapped by its bucket's key. So the bucket gets a new key, the others of the bucket
are wrapped by it, and the old one is destroyed with the master that wrapped it. What the others need to be read in an
old backup was exported before (`export`): without it they would be lost there too.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import asyncpg

from crypto.errors import CryptoError
from crypto.keyring import Keyring
from server.mailbox.create import close
from server.mailbox.keylife import queries
from server.mailbox.keylife.export import Exported, exported
from server.mailbox.keylife.renewal import needed, rewrap_bucket


async def destroy(
    connection: asyncpg.Connection,
    keyring: Keyring,
    owner_id: int,
    now: datetime,
    keep: Callable[[Exported], None],
) -> int:
    """Close a mailbox and destroy its keys; returns how many keys of others were wrapped anew.

    `keep` makes an export durable before anything is destroyed. Asked again after a kill, it goes on.
    """
    bucket = keyring.bucket_of(owner_id)
    await close(connection, owner_id)
    async with connection.transaction():
        await connection.execute(queries.RENEWING)
        await connection.execute(queries.DESTROY_KEYS, owner_id)
        await connection.execute(queries.DROP_PAIRS, owner_id)
        await connection.execute(queries.ADD_PAIR, owner_id, "destroyed", b"", b"", now)
        keyring.renew([bucket])
    moved = await rewrap_bucket(connection, keyring, bucket)
    keep(await exported(connection, keyring, now))
    async with connection.transaction():
        await connection.execute(queries.RENEWING)
        keyring.refresh()
        older = {one for one in keyring.generations() | keyring.retired()[0] if one[0] == bucket}
        if left := older & set(await needed(connection)):
            raise CryptoError(f"{len(left)} keys of bucket {bucket} still wrap others: ask again")
        keyring.destroy(older)
        keyring.renew_master()
    return moved


async def destroyed(connection: asyncpg.Connection) -> list[int]:
    """The mailboxes whose keys were destroyed."""
    return [row["owner_id"] for row in await connection.fetch(queries.DESTROYED)]
