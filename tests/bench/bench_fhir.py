"""FHIR searches: `python -m tests.bench.bench_fhir [--share 0.05] [--questions 200]`, a JSON line for each kind.

A share of 1 is the nation (2.2 million activities; in percent: `make bench BENCH=fhir:100`). Request to answer by
`directory.fhir.answering`, on a real PostgreSQL, without the socket: milliseconds and CPU of one question at a time,
then searches a second of one process with several connections. Questions are drawn from the directory itself, so that
a common name is asked for as often as it is there. `folder` keeps the extracts for another run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import uvloop

from directory.fhir.answering import Request, answer
from directory.load import load
from server.db.embedded import EmbeddedPostgres
from server.db.grants import make_users
from server.db.migrate import upgrade
from server.roles import collect_seldom
from tests.bench.meter import cpu_seconds
from tests.bench.nation import write

CONNECTIONS = 4
BASE = "https://msg.exemple.fr/fhir"
SAMPLE = """
SELECT p.last_name, p.first_name, p.national_id, o.town, o.postcode, o.name, o.organisation_id, k.code, m.address
  FROM directory.activity a TABLESAMPLE BERNOULLI ($1)
  JOIN directory.professional p USING (national_id, profession_code)
  JOIN directory.organisation o USING (organisation_id)
  LEFT JOIN directory.know_how k USING (national_id, profession_code)
  LEFT JOIN directory.mailbox_entry m ON m.national_id = a.national_id
"""
Row = asyncpg.Record
# Path and query of each kind of question, by a row of the directory.
KINDS: dict[str, Callable[[Row], str]] = {
    "family": lambda row: f"Practitioner?family={quote(row['last_name'])}",
    "family begun": lambda row: f"Practitioner?family={quote(row['last_name'][:3])}",
    "family and given": lambda row: f"Practitioner?family={quote(row['last_name'])}&given={quote(row['first_name'])}",
    "given": lambda row: f"Practitioner?given={quote(row['first_name'])}",
    "name": lambda row: f"Practitioner?name={quote(row['first_name'] + ' ' + row['last_name'])}",
    "identifier": lambda row: f"Practitioner?identifier={row['national_id'][1:]}",
    "profession of a name": lambda row: f"Practitioner?family={quote(row['last_name'])}&qualification-code=21",
    "mailbox": lambda row: f"PractitionerRole?mailbox-mss={row['address'] or 'claire.martin@'}",
    "mailboxes of a domain": lambda row: (
        "PractitionerRole?mailbox-mss:contains=@" + (row["address"] or "@a").split("@")[1]
    ),
    "specialty in a town": lambda row: (
        f"PractitionerRole?organization.address-city={quote(row['town'])}&specialty={row['code'] or 'SM54'}&_include=*"
    ),
    "name in a postcode": lambda row: (
        f"PractitionerRole?organization.address-postalcode={row['postcode']}"
        f"&practitioner.family={quote(row['last_name'])}&_include=*"
    ),
    "structure by name": lambda row: f"Organization?name={quote(row['name'][:12])}&address-city={quote(row['town'])}",
    "structures of a postcode": lambda row: f"Organization?address-postalcode={row['postcode']}&_count=50",
    "activities of a structure": lambda row: f"PractitionerRole?organization={row['organisation_id']}&_include=*",
    "read": lambda row: f"Practitioner/{row['national_id']}",
    "a page of everything": lambda row: "PractitionerRole?active=true&_count=50",
    "what changed since": lambda row: "Practitioner?_lastUpdated=ge2020-01-01&_count=50",
}


async def run(share: float, questions: int, folder: Path | None, home: Path) -> None:
    extracts = folder or home / "extracts"
    files = sorted(extracts.glob("*.txt")) or await asyncio.to_thread(write, extracts, share=share)
    files = [file for file in files if "Dipl" not in file.name]
    async with EmbeddedPostgres(home) as postgres:
        await upgrade(postgres.dsn(), home / "keys")
        owner = await asyncpg.connect(postgres.dsn())
        await make_users(owner, home / "keys")
        started = time.perf_counter()
        loaded = await load(owner, files, datetime.now(UTC))
        took = round(time.perf_counter() - started, 1)
        await owner.execute("VACUUM ANALYZE")
        size = await owner.fetchval(
            "SELECT sum(pg_indexes_size(c.oid))::bigint FROM pg_class c"
            " WHERE c.relnamespace = 'directory'::regnamespace AND c.relkind = 'r'"
        )
        tell("loaded", seconds=took, index_megabytes=round(size / 1e6), rows=loaded.counts)
        rows = await owner.fetch(SAMPLE, min(100.0, 0.1 / share))
        await owner.close()
        readers = [await asyncpg.connect(postgres.dsn("web")) for _ in range(CONNECTIONS)]
        collect_seldom()
        chance = random.Random(1)
        for kind, make in KINDS.items():
            asked = [make(chance.choice(rows)) for _ in range(questions)]
            tell(kind, **await measured(readers, asked, postgres.pid or 0))
        for reader in readers:
            await reader.close()


async def measured(readers: list[asyncpg.Connection], asked: list[str], postmaster: int) -> dict[str, Any]:
    for reader in readers:  # statements are prepared, pages of the database are warm
        await given(reader, asked[: len(asked) // 10])
    backend, own = cpu_seconds([postmaster]), time.process_time()
    times, entries = await given(readers[0], asked)
    python, database = time.process_time() - own, cpu_seconds([postmaster]) - backend
    times.sort()
    started = time.perf_counter()
    await asyncio.gather(*(given(reader, asked[place :: len(readers)]) for place, reader in enumerate(readers)))
    return {
        "p50_ms": round(times[len(times) // 2], 2),
        "p99_ms": round(times[int(len(times) * 0.99)], 2),
        "worst_ms": round(times[-1], 2),
        "a_second": round(len(asked) / (time.perf_counter() - started)),
        "cpu_ms": {"python": round(python / len(asked) * 1e3, 2), "postgresql": round(database / len(asked) * 1e3, 2)},
        "entries": round(entries / len(asked), 1),
    }


async def given(reader: asyncpg.Connection, asked: list[str]) -> tuple[list[float], int]:
    """Ask one after the other; milliseconds of each, and how many resources came."""
    times: list[float] = []
    entries = 0
    for one in asked:
        path, _, query = one.partition("?")
        started = time.perf_counter()
        found = await answer(reader, Request("GET", BASE, tuple(path.split("/")), query.encode()))
        json.dumps(found.body)
        times.append((time.perf_counter() - started) * 1e3)
        assert found.status == 200, (one, found.body)
        entries += found.entries
    return times, entries


def tell(kind: str, **told: Any) -> None:
    sys.stdout.write(json.dumps({"bench": "fhir", "kind": kind} | told) + "\n")
    sys.stdout.flush()


def main(arguments: list[str] | int | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="keep the extracts here, or find them there")
    options = parser.parse_args(arguments if isinstance(arguments, list) else [])
    if isinstance(arguments, int):
        options.share = arguments / 100
    home = Path(tempfile.mkdtemp(prefix="caducee-bench-"))
    try:
        uvloop.run(run(options.share, options.questions, options.folder, home))
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main(sys.argv[1:])
