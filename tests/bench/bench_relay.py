"""Relay to a second operator that was away: what one Caducée had queued, until all of it is in the other's mailbox.

BENCH_MESSAGES says how many (10,000), each of 3 KB and signed; fsync, mutual TLS and verification on. CPU is that of
each side's whole process tree, PostgreSQL included.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import asyncpg

from server.db.embedded import EmbeddedPostgres
from tests.bench.meter import cpu_seconds, machine_ticks, steal_share
from tests.bench.sides import signed
from tests.operators import operators
from tests.serving import Served

MESSAGES = int(os.environ.get("BENCH_MESSAGES", "10000"))
SESSIONS = 5
SIZE = 3_000
DUE = "UPDATE queue_recipient SET not_before = now(), wish = 'try' WHERE leased_by IS NULL"


def main() -> None:
    with operators() as space:
        here, there = space.caducees
        there.stop()
        message = signed(here.home, here.doctor, SIZE)
        with ThreadPoolExecutor(SESSIONS) as threads:
            list(
                threads.map(
                    lambda n: _write(here, there.pharmacy, message, range(n, MESSAGES, SESSIONS)), range(SESSIONS)
                )
            )
        there.start()
        _count(here, DUE)
        roots = [side.process.pid for side in (here, there) if side.process is not None]
        before, ticks, began = [cpu_seconds([root]) for root in roots], machine_ticks(), time.perf_counter()
        while (relayed := _count(there, "SELECT count(*) FROM message")) < MESSAGES:
            time.sleep(0.1)
        wall = time.perf_counter() - began
        sending, receiving = (cpu_seconds([root]) - spent for root, spent in zip(roots, before, strict=True))
        result = {
            "measure": "relay",
            "messages": relayed,
            "bytes": len(message),
            "relayed_per_s": round(relayed / wall, 1),
            "cpu_ms_per_message_sending": round(1000 * sending / relayed, 3),
            "cpu_ms_per_message_receiving": round(1000 * receiving / relayed, 3),
            "surplus": relayed - MESSAGES,
            "steal": round(steal_share(ticks, machine_ticks()), 4),
        }
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


def _write(here: Served, recipient: str, message: bytes, numbers: range) -> None:
    """Submit its share: the same message under an id of its own each."""
    head, _, tail = message.partition(b"\r\n\r\n")
    with here.submission(here.doctor) as client:
        for number in numbers:
            extra = b"\r\nMessage-ID: <%d@bench.test>\r\n\r\n" % number
            client.sendmail(here.doctor, [recipient], head + extra + tail)


def _count(side: Served, statement: str) -> int:
    """Run one statement in a side's database; its first value, 0 without."""

    async def ask() -> int:
        connection = await asyncpg.connect(EmbeddedPostgres(side.home).dsn())
        try:
            return int(await connection.fetchval(statement) or 0)
        finally:
            await connection.close()

    return asyncio.run(ask())
