"""What was tried and is not written yet: gathered from all connections, settled together, waited for by each.

Invariants:
- What was tried stays in hand, leased, until the transaction that settles it is committed; while the database is away
  it waits.
- One that cannot be settled as it is harms no other: it leaves without a notification.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg

from server.base import clock, metrics
from server.base.errors import TryLater
from server.mailbox.feed import Announcer
from server.mailbox.trouble import connection
from server.sender.settle import Settled, Settler, Tried

SETTLED = 100  # recipients in one transaction


class Ledger:
    """Of one worker. `held`: its rows that are leased; what is settled leaves it."""

    def __init__(self, pool: asyncpg.Pool, settler: Settler, held: set[tuple[bytes, int]], log: Any) -> None:
        self._pool = pool
        self._settler = settler
        self._held = held
        self._log = log
        self._announcer = Announcer(pool)
        self._tried: list[Tried] = []
        self._added = 0  # of all that was ever tried
        self._written = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()  # until so many are written
        self._more = asyncio.Event()

    def __len__(self) -> int:
        return len(self._tried)

    def add(self, tried: Iterable[Tried]) -> None:
        before = len(self._tried)
        self._tried.extend(tried)
        self._added += len(self._tried) - before
        self._more.set()

    async def written(self) -> None:
        """Wait until all that was tried so far is written."""
        if self._written < self._added:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append((self._added, waiter))
            await waiter

    async def close(self) -> None:
        """Let what was announced be told."""
        await self._announcer.close()

    async def settle(self) -> bool:
        """Write what was tried, as soon as there is some. Raises TryLater; then it is all still here."""
        await self._more.wait()
        batch = self._tried[:SETTLED]
        for settled in await self._write(batch):
            self._tell(settled)
        del self._tried[: len(batch)]
        if not self._tried:
            self._more.clear()
        self._held.difference_update((one.work.queue_id, one.due.number) for one in batch)
        self._written += len(batch)
        while self._waiting and self._waiting[0][0] <= self._written:
            _, waiter = self._waiting.popleft()
            if not waiter.done():  # its connection was cancelled
                waiter.set_result(None)
        return True

    async def _write(self, batch: Sequence[Tried]) -> list[Settled]:
        try:
            async with connection(self._pool) as acquired:
                return [await self._settler.settle(acquired, batch, clock.now())]
        except TryLater:
            raise
        except Exception as error:  # of one of them, whatever it is
            self._log.error("settle_failed", recipients=len(batch), error=error)
        if len(batch) > 1:
            return [settled for one in batch for settled in await self._write([one])]
        async with connection(self._pool) as acquired:
            return [await self._settler.settle(acquired, batch, clock.now(), silent=True)]

    def _tell(self, settled: Settled) -> None:
        for one, end in settled.fates:
            metrics.SENT.labels(end).inc()
            self._log.info(
                "message_sent",
                trace=one.message.trace_id,
                recipient=one.due.name,
                outcome=end,
                host=one.host,
                status=one.outcome.status,
                attempt=one.due.attempts,
                repeated=one.due.unsure,
            )
        self._announcer.changed(settled.told)
