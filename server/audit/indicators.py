"""Monthly indicators: what each type of mailbox sent, received and how often it signed in.

Invariant: no message and no sign-in waits for a count. They are counters in memory (base.metrics); each process adds
what is new to the day's rows once a minute and when it ends. What a crash loses is that minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import asyncpg
import structlog

from server.audit import queries
from server.base import clock, metrics
from server.db.pool import AWAY, FULL

TELL_SECONDS = 60.0

# The columns of the report, in order. What they are called is ours: the national field list is not published.
CARRIED = ("sent", "received", "sent_elsewhere", "received_from_elsewhere", "to_patients", "from_patients")
PROTOCOLS = ("submission", "imap", "web")

log = structlog.get_logger()


class Indicators:
    """What one process tells."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._told: dict[tuple[str, str], float] = dict(_counters())
        self._telling: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Tell from now on."""
        self._telling = asyncio.create_task(self._repeat(), name="indicators")

    async def close(self) -> None:
        """Tell what is left."""
        if self._telling is not None:
            self._telling.cancel()
        await self.tell()

    async def tell(self) -> None:
        """Add what is new to today's rows. When the database is away it is added later."""
        counted = dict(_counters())
        fresh = sorted((key, count - self._told.get(key, 0)) for key, count in counted.items())
        fresh = [(key, more) for key, more in fresh if more]
        if not fresh:
            return
        try:
            await self._pool.execute(
                queries.ADD_INDICATORS,
                clock.now().date(),
                [name for (name, _), _ in fresh],
                [kind for (_, kind), _ in fresh],
                [int(more) for _, more in fresh],
            )
        except (*AWAY, *FULL) as error:
            log.warning("indicators_kept", error=error)
            return
        self._told = counted

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            await self.tell()


@dataclass(frozen=True, slots=True)
class Month:
    """One type of mailbox in one month. `mailboxes` and `unlisted` as at its end, or now; the rest summed over it."""

    kind: str
    mailboxes: int
    unlisted: int
    counts: dict[str, int]


async def of_month(connection: asyncpg.Connection, first: date) -> list[Month]:
    """The indicators of the month that begins on `first` (UTC), by type of mailbox."""
    after = (first + timedelta(days=31)).replace(day=1)
    found: dict[str, dict[str, int]] = {}
    for row in await connection.fetch(queries.INDICATORS, first, after):
        found.setdefault(row["kind"], {})[row["name"]] = int(row["count"])
    rows = await connection.fetch(queries.MAILBOXES, after)
    standing = {row["kind"]: (row["mailboxes"], row["unlisted"]) for row in rows}
    return [Month(kind, *standing.get(kind, (0, 0)), found.get(kind, {})) for kind in sorted({*found, *standing})]


def _counters() -> Iterator[tuple[tuple[str, str], float]]:
    """(name, type of mailbox) → count, of this process since it began."""
    for counter, label in ((metrics.CARRIED, "way"), (metrics.CONNECTIONS, "protocol")):
        for family in counter.collect():
            for sample in family.samples:
                if sample.name.endswith("_total"):
                    yield (sample.labels[label], sample.labels["mailbox"]), sample.value
