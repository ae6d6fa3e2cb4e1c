"""New bucket keys and a new master; every mailbox's keys wrapped by them; what nothing needs any more put aside.

Readings never stop: an older generation opens until it is retired, and it is retired only when the database, asked
while nobody wraps, needs it no more. A process that meets a newer one reads the keyring again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

import asyncpg

from crypto.keyring import BUCKETS, Keyring, generation_of
from server.mailbox.keylife import queries
from server.mailbox.queries import WRAPPING

PAGE = 500  # keys of one transaction: 10 ms

Advance = Callable[[int], object]


async def rotate(connection: asyncpg.Connection, keyring: Keyring) -> None:
    """A new key for each bucket and a new master key: from now on all is wrapped by them."""
    async with connection.transaction():
        await connection.execute(queries.RENEWING)
        keyring.renew(range(BUCKETS))
        keyring.renew_master()


async def rewrap(connection: asyncpg.Connection, keyring: Keyring, advance: Advance = lambda done: None) -> int:
    """Wrap what older generations wrapped by the newest; returns how many. `advance` is told each page."""
    done, last, last_pair = 0, 0, (0, 0)
    while True:
        async with connection.transaction():
            await _together(connection, keyring)
            rows = await connection.fetch(queries.OWNERS, last, PAGE)
            done += await _put_owners(connection, keyring, rows)
        if not rows:
            break
        last = rows[-1]["owner_id"]
        advance(len(rows))
    while True:
        async with connection.transaction():
            await _together(connection, keyring)
            rows = await connection.fetch(queries.PAIRS, *last_pair, PAGE)
            done += await _put_pairs(connection, keyring, rows)
        if not rows:
            return done
        last_pair = rows[-1]["owner_id"], rows[-1]["key_id"]


async def rewrap_bucket(connection: asyncpg.Connection, keyring: Keyring, bucket: int) -> int:
    """The same for the mailboxes of one bucket; returns how many."""
    async with connection.transaction():
        await _together(connection, keyring)
        owners = await connection.fetch(queries.OWNERS_OF_BUCKET, bucket)
        pairs = await connection.fetch(queries.PAIRS_OF_BUCKET, bucket)
        return await _put_owners(connection, keyring, owners) + await _put_pairs(connection, keyring, pairs)


async def needed(connection: asyncpg.Connection) -> Counter[tuple[int, int]]:
    """How many keys each (bucket, generation) wraps in the database."""
    rows = await connection.fetch(queries.GENERATIONS)
    return Counter({(row["bucket"], generation_of(row["generation"])): row["keys"] for row in rows})


async def retire(connection: asyncpg.Connection, keyring: Keyring, now: datetime) -> tuple[int, int]:
    """Put aside the older generations that the database needs no more: (how many, how many it still needs)."""
    async with connection.transaction():
        await connection.execute(queries.RENEWING)
        keyring.refresh()
        older, used = keyring.generations(), await needed(connection)
        unused = {one for one in older if one not in used}
        if unused:
            keyring.retire(unused, now)
    return len(unused), len(older) - len(unused)


async def destroy_retired(connection: asyncpg.Connection, keyring: Keyring) -> int:
    """Forget for ever what was retired; returns how many generations. One that a restored database needs is kept."""
    async with connection.transaction():
        await connection.execute(queries.RENEWING)
        used = await needed(connection)
        unused = {one for one in keyring.retired()[0] if one not in used}
        if unused:
            keyring.destroy(unused)
            keyring.renew_master()
    return len(unused)


async def _together(connection: asyncpg.Connection, keyring: Keyring) -> None:
    await connection.execute(WRAPPING)
    keyring.refresh()


def _older(keyring: Keyring, rows: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
    newest = {row["owner_id"]: keyring.generation(keyring.bucket_of(row["owner_id"])) for row in rows}
    return [row for row in rows if generation_of(row["wrapped"]) != newest[row["owner_id"]]]


def _fresh(keyring: Keyring, rows: Sequence[asyncpg.Record]) -> list[bytes]:
    secrets = [(row["owner_id"], keyring.unwrap_owned(row["owner_id"], row["wrapped"])) for row in rows]
    return [keyring.wrap_owned(owner_id, secret) for owner_id, secret in secrets]


async def _put_owners(connection: asyncpg.Connection, keyring: Keyring, rows: Sequence[asyncpg.Record]) -> int:
    older = _older(keyring, rows)
    if older:
        fresh = _fresh(keyring, older)
        await connection.execute(
            queries.PUT_OWNERS, [row["owner_id"] for row in older], [row["wrapped"] for row in older], fresh
        )
    return len(older)


async def _put_pairs(connection: asyncpg.Connection, keyring: Keyring, rows: Sequence[asyncpg.Record]) -> int:
    older = _older(keyring, rows)
    if older:
        await connection.execute(
            queries.PUT_PAIRS,
            [row["owner_id"] for row in older],
            [row["key_id"] for row in older],
            [row["wrapped"] for row in older],
            _fresh(keyring, older),
        )
    return len(older)
