"""What opens content: questions for it, and the row of the trail that stands before the first octet leaves.

Sessions that read at the same time share a statement, and the rows that tell their readings are written by it, in its
transaction: what it found is known only when they are committed. Told and read are one round trip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from crypto import blob
from server.audit.trail import Audit, Event
from server.base.limits import KIB
from server.db.gathered import Gathered
from server.mailbox import queries
from server.mailbox.trouble import connection

_GATHERED_BYTES = 128 * KIB  # of one body; a longer part is read by itself and delays nobody


class Reading:
    """What one command of one person reads of one mailbox, told with the first of it."""

    def __init__(self, owner_id: int, actor: str, content_ids: Sequence[bytes], purpose: str) -> None:
        """`actor` is an address."""
        self._owner_id = owner_id
        self._actor = actor
        self._content_ids = content_ids
        self._purpose = purpose
        self.told = False

    def event(self, audit: Audit) -> Event:
        """The row; `audit` must be ready."""
        return audit.content_read(self._actor, self._owner_id, self._content_ids, self._purpose)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Contents of one mailbox: their summaries, or of one of them the octets [start, stop) of its blob."""

    owner_id: int
    content_ids: Sequence[bytes]
    start: int = 0
    stop: int | None = None
    reading: Reading | None = None


class Reader:
    """Opens content for the sessions of a process."""

    def __init__(self, pool: asyncpg.Pool, audit: Audit) -> None:
        self.pool = pool
        self._audit = audit
        self._gathered = Gathered(self._ask)

    async def read(self, wanted: Wanted) -> list[asyncpg.Record]:
        """The rows of `queries.CONTENTS`; a content that is not there has none. Raises TryLater."""
        if wanted.stop is not None and wanted.stop - wanted.start > _GATHERED_BYTES:
            return (await self._ask([wanted]))[0]
        return await self._gathered.ask(wanted)

    async def tell(self, reading: Reading) -> None:
        """Write a reading to the trail by itself."""
        await self._ask([Wanted(0, (), reading=reading)])

    async def _ask(self, wanted: list[Wanted]) -> list[list[asyncpg.Record]]:
        found: list[list[asyncpg.Record]] = [[] for _ in wanted]
        untold = list({id(one.reading): one.reading for one in wanted if one.reading and not one.reading.told}.values())
        async with connection(self.pool) as acquired:
            if untold:
                await self._audit.ready(acquired)
                events = [reading.event(self._audit) for reading in untold]
                rows = await self._audit.tell(acquired, events, queries.CONTENTS_TOLD, *_columns(wanted))
            else:
                rows = await acquired.fetch(queries.CONTENTS, *_columns(wanted))
        for reading in untold:
            reading.told = True
        for row in rows:
            found[row["question"]].append(row)
        return found


async def summaries(
    connection: asyncpg.Connection, owner_id: int, content_ids: Sequence[bytes]
) -> list[asyncpg.Record]:
    """The rows of summaries, in the caller's transaction."""
    return list(await connection.fetch(queries.CONTENTS, *_columns([Wanted(owner_id, content_ids)])))


def _columns(wanted: Sequence[Wanted]) -> tuple[list[object], ...]:
    rows = [
        (number, one.owner_id, content_id, one.start, one.stop, blob.HEADER if one.stop is not None else 0)
        for number, one in enumerate(wanted)
        for content_id in one.content_ids
    ]
    return tuple(map(list, zip(*rows, strict=True))) if rows else ([],) * 6
