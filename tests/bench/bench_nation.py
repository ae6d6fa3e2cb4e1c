"""The national directory loaded, and the day after: `python -m tests.bench.bench_nation [--share 1.0]`, a line each.

Real files (`nation`), a real embedded PostgreSQL. `seconds` is the whole import, `index` of them the index of search;
`program_mb`, `reader_mb` and `database_mb` are the largest resident memory of the importing process, of one that reads
for it and of its PostgreSQL process (without and with what processes share), `size_mb` the directory on disk, `load`
the machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from directory.load import load
from directory.national.standing import standing
from server.db.embedded import EmbeddedPostgres
from server.db.migrate import upgrade
from tests.bench import nation

START = datetime(2026, 11, 1, 3, tzinfo=UTC)


async def imported(dsn: str, files: list[Path], day: int) -> dict[str, Any]:
    connection = await asyncpg.connect(dsn)
    began = time.perf_counter()
    marks: dict[str, float] = {}

    def progress(stage: str, done: int, total: int = 0) -> None:
        marks.setdefault(stage, time.perf_counter() - began)

    done = await load(connection, files, START + timedelta(days=day), progress=progress)
    seconds = time.perf_counter() - began
    status = Path(f"/proc/{await connection.fetchval('SELECT pg_backend_pid()')}/status").read_text()
    kept = await standing(connection)
    assert kept is not None
    await connection.close()
    tables_done = max(mark for stage, mark in marks.items() if stage in done.counts)
    memory = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in status.splitlines() if line.endswith("kB")}
    return {
        "measure": "first import" if day == 0 else "day after",
        "lines": done.lines,
        "changed": sum(sum(rows.values()) for rows in done.changes.values()),
        "seconds": round(seconds, 1),
        "index": round(seconds - tables_done, 1),
        "program_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "reader_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
        "database_mb": [memory["RssAnon"], memory["VmHWM"]],
        "size_mb": kept.size // 1_000_000,
        "index_mb": kept.index_size // 1_000_000,
        "marks": {stage: round(mark, 1) for stage, mark in marks.items()},
        "load": round(os.getloadavg()[0], 1),
    }


def child(dsn: str, files: list[Path], day: int) -> None:
    print(json.dumps(asyncio.run(imported(dsn, files, day))), flush=True)


async def run(share: float, days: int, home: Path) -> None:
    folders = [nation.write(home / str(day), share=share, day=day) for day in range(days + 1)]
    async with EmbeddedPostgres(home) as postgres:
        await upgrade(postgres.dsn(), home / "keys")
        for day, files in enumerate(folders):
            process = multiprocessing.get_context("spawn").Process(
                target=child, args=(postgres.dsn(), [path for path in files if "Dipl" not in path.name], day)
            )
            process.start()
            await asyncio.to_thread(process.join)


def main(share: float = 1.0, days: int = 2) -> None:
    home = Path(tempfile.mkdtemp(prefix="caducee-nation-"))
    home.chmod(0o700)
    try:
        asyncio.run(run(share, days, home))
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--days", type=int, default=2)
    given = parser.parse_args()
    main(given.share, given.days)
