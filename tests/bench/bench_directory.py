"""The directory searched: `python -m tests.bench.bench_directory [--share 0.01] [--questions 1000]`, JSON lines.

A share of 1 is the nation (2.2 million activities). The database is the embedded one as the product configures it, the
statements go over its socket. `import`: seconds, and of them those of the index. `search` and `complete`: one question
at a time, milliseconds, and CPU milliseconds of both sides; `found` is the share of questions, each with a mistake or
written otherwise than the files do, whose person is among the first five (tests/directory_questions.py). `together`:
two processes with two connections each, searches a second and CPU milliseconds of all processes for one. `--folder`
keeps the extracts, `--home` the database for another run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from directory.load import load
from directory.search import Found, complete, search
from server.db.embedded import EmbeddedPostgres
from server.db.grants import make_users
from server.db.migrate import upgrade
from server.roles import collect_seldom
from tests.bench.meter import cpu_seconds
from tests.bench.nation import write
from tests.directory_questions import Asked, questions

WORKERS = 2
CONNECTIONS = 2
SECONDS = 10.0


async def measure(share: float, count: int, folder: Path | None, home: Path) -> None:
    async with EmbeddedPostgres(home) as postgres:
        await upgrade(postgres.dsn(), home / "keys")
        owner = await asyncpg.connect(postgres.dsn())
        await make_users(owner, home / "keys")
        if await owner.fetchval("SELECT NOT EXISTS (SELECT FROM directory.load)"):
            await _import(owner, share, folder or home / "extracts")
        sizes = await owner.fetch(
            "SELECT relname, pg_relation_size(oid) AS own, pg_indexes_size(oid) AS indexes FROM pg_class"
            " WHERE relnamespace = 'directory'::regnamespace AND relname IN ('word', 'near_word', 'listing')"
        )
        tell("size", megabytes={row["relname"]: [row["own"] >> 20, row["indexes"] >> 20] for row in sizes})
        asked = await questions(owner, count, seed=1)
        await owner.close()
        reader = await asyncpg.connect(postgres.dsn("web"))
        await _searches(reader, asked, postgres.pid or 0)
        await _completions(reader, asked, postgres.pid or 0)
        await reader.close()
        await _together(postgres, [one.text for one in asked])


async def _import(owner: asyncpg.Connection, share: float, folder: Path) -> None:
    files = sorted(folder.glob("*.txt")) or await asyncio.to_thread(write, folder, share=share)
    moments: dict[str, float] = {}

    def progress(stage: str, done: int, total: int = 0) -> None:
        moments.setdefault(stage, time.perf_counter())

    started = time.perf_counter()
    loaded = await load(
        owner, [file for file in files if "Dipl" not in file.name], datetime.now(UTC), progress=progress
    )
    seconds = time.perf_counter() - started
    index = moments["index"] - moments["words"]
    tell("import", seconds=round(seconds, 1), index_seconds=round(index, 1), rows=loaded.counts)
    await owner.execute("VACUUM ANALYZE")


async def _searches(reader: asyncpg.Connection, asked: Sequence[Asked], postmaster: int) -> None:
    missed: dict[str, str] = {}

    async def one(question: Asked) -> None:
        found = await search(reader, question.text, 10)
        if not any(question.is_meant(listing) for listing in found[:5]):
            missed[question.text] = question.mistake

    times = await _timed(one, asked, postmaster)
    tell("search", **times, found=round(1 - len(missed) / len(asked), 4), missed=Counter(missed.values()))


async def _completions(reader: asyncpg.Connection, asked: Sequence[Asked], postmaster: int) -> None:
    typed = [question.text[:length] for question in asked for length in (2, 4, 7, 11) if len(question.text) > length]

    async def one(text: str) -> list[Found]:
        return await complete(reader, text)

    tell("complete", **await _timed(one, typed, postmaster))


async def _timed(one: Callable[[Any], Awaitable[Any]], asked: Sequence[Any], postmaster: int) -> dict[str, Any]:
    """Ask all of them twice: the first time prepares statements and warms pages."""
    for question in asked:
        await one(question)
    collect_seldom()
    times: list[float] = []
    backend, own = cpu_seconds([postmaster]), time.process_time()
    for question in asked:
        started = time.perf_counter()
        await one(question)
        times.append((time.perf_counter() - started) * 1e3)
    python, database = time.process_time() - own, cpu_seconds([postmaster]) - backend
    times.sort()
    return {
        "median": round(times[len(times) // 2], 2),
        "p99": round(times[int(len(times) * 0.99)], 2),
        "worst": round(times[-1], 2),
        "cpu": {"python": round(python / len(asked) * 1e3, 2), "postgresql": round(database / len(asked) * 1e3, 2)},
    }


async def _together(postgres: EmbeddedPostgres, texts: list[str]) -> None:
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        dsn = postgres.dsn("web")
        backend = cpu_seconds([postgres.pid or 0])
        parts = [texts[number::WORKERS] for number in range(WORKERS)]
        done = await asyncio.gather(*(loop.run_in_executor(pool, drive, dsn, part) for part in parts))
        database = cpu_seconds([postgres.pid or 0]) - backend
    count = sum(one[0] for one in done)
    tell(
        "together",
        searches_a_second=round(count / SECONDS),
        cpu={
            "python": round(sum(one[1] for one in done) / count * 1e3, 2),
            "postgresql": round(database / sum(one[2] for one in done) * 1e3, 2),
        },
    )


def drive(dsn: str, texts: list[str]) -> tuple[int, float, int]:
    """One worker: searches in SECONDS after a round that warms, its CPU seconds for them, and all searches it made."""
    return uvloop.run(_drive(dsn, texts))


async def _drive(dsn: str, texts: list[str]) -> tuple[int, float, int]:
    connections = [await asyncpg.connect(dsn) for _ in range(CONNECTIONS)]
    every = 0
    counted = 0

    async def one(connection: asyncpg.Connection, until: float) -> None:
        nonlocal every
        place = every
        while time.perf_counter() < until:
            await search(connection, texts[place % len(texts)], 10)
            place += 1
            every += 1

    for seconds in (SECONDS / 2, SECONDS):
        counted, own, until = every, time.process_time(), time.perf_counter() + seconds
        await asyncio.gather(*(one(connection, until) for connection in connections))
    return every - counted, time.process_time() - own, every


def tell(kind: str, **told: Any) -> None:
    sys.stdout.write(json.dumps({"bench": "directory", "kind": kind} | told) + "\n")
    sys.stdout.flush()


def main(percent: int = 1) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=percent / 100)
    parser.add_argument("--questions", type=int, default=1_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--home", type=Path)
    given = parser.parse_args(sys.argv[1:] if __name__ == "__main__" else [])
    home = given.home or Path(tempfile.mkdtemp(prefix="caducee-bench-"))
    try:
        uvloop.run(measure(given.share, given.questions, given.folder, home))
    finally:
        if given.home is None:
            shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
