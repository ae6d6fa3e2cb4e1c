"""Searches by LDAP, ours and OpenLDAP's slapd with the same entries in turn: `make bench BENCH=ldap`, or ldap:100 for
the whole nation (the size is in percent of it; 5 by default). One connection in clear, one question after the other,
and then several connections at once; questions are drawn from the entries themselves, with a fixed seed.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from directory.folding import words
from directory.ldap.entries import Entry, Tree
from directory.ldap.search import Search
from directory.load import load
from server.base.settings import load as load_settings
from server.db.pool import admin_dsn
from tests.bench.meter import cpu_seconds, pss_bytes
from tests.bench.nation import write
from tests.bench.peer_slapd import slapd
from tests.ldap_messages import search
from tests.ldap_server import start
from tests.serving import DOMAIN

QUESTIONS = 200  # of each kind
AT_ONCE = 8
A_CLIENT = 40  # questions of one client: who asks for more than some thousand entries is told to wait
ROUNDS = 2  # each side twice, in turn: machines are noisy
SAMPLE = 2_000  # entries from which the questions are drawn
STEP = 2_000
NOW = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)
WANTED = [b"cn", b"sn", b"givenName", b"mail", b"o", b"l", b"title", b"telephoneNumber"]


@dataclass(frozen=True)
class Side:
    name: str
    port: int
    pids: list[int]


def main(percent: int = 5) -> None:
    with tempfile.TemporaryDirectory(prefix="caducee-bench-") as place:
        folder = Path(place)
        listening = start(folder / "home", {"CADUCEE_DIRECTORY__ANONYMOUS": "true", "CADUCEE_DATABASE__POOL": "8"})
        process = listening.served.process
        assert process is not None
        try:
            dsn = admin_dsn(load_settings(listening.served.home))
            tree = Tree(DOMAIN)
            seconds = uvloop.run(_fill(dsn, folder, percent))
            entries = _entries(dsn)
            with slapd(folder / "slapd", tree, entries) as peer:
                size, index = uvloop.run(_sizes(dsn))
                _tell("ldap-size", {"side": "caducee", "entries": size, "seconds": seconds, "bytes": index})
                sides = [Side("caducee", listening.port, [process.pid])]
                if peer is None:
                    _tell("ldap-size", {"side": "slapd", "skipped": "slapd is not installed"})
                else:
                    sides.append(Side("slapd", peer.port, [peer.pid]))
                    told = {"side": "slapd", "entries": size, "seconds": round(peer.fill_seconds, 1)}
                    _tell("ldap-size", told | {"bytes": peer.bytes})
                asked = uvloop.run(_questions(dsn))
                for turn in range(ROUNDS):
                    for kind, questions in asked.items():
                        for side in sides if turn % 2 == 0 else sides[::-1]:
                            _tell("ldap-search", uvloop.run(_measure(side, kind, questions)))
                for side in sides:
                    _tell("ldap-memory", {"side": side.name, "bytes": pss_bytes(side.pids)})
        finally:
            listening.served.stop()


async def _fill(dsn: str, folder: Path, percent: int) -> float:
    files = folder / "national"
    files.mkdir()
    paths = [path for path in write(files, share=percent / 100) if "Dipl" not in path.name]
    connection = await asyncpg.connect(dsn)
    started = time.monotonic()
    await load(connection, paths, NOW)
    await connection.execute("VACUUM ANALYZE")
    seconds = time.monotonic() - started
    await connection.close()
    for path in paths:
        path.unlink()
    return round(seconds, 1)


async def _sizes(dsn: str) -> tuple[int, int]:
    connection = await asyncpg.connect(dsn)
    size = await connection.fetchval("SELECT count(*) FROM directory.listing")
    tables = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r'"
    used = await connection.fetchval(f"{tables} AND relnamespace = 'directory'::regnamespace")
    await connection.close()
    return size, int(used)


def _entries(dsn: str) -> Iterator[Entry]:
    """All entries of the directory, a step at a time."""
    with asyncio.Runner() as runner:
        steps = _steps(dsn)
        while True:
            try:
                step = runner.run(_next(steps))
            except StopAsyncIteration:
                return
            yield from step


async def _next(steps: AsyncIterator[list[Entry]]) -> list[Entry]:
    found = await anext(steps, None)
    if found is None:
        raise StopAsyncIteration
    return found


async def _steps(dsn: str) -> AsyncIterator[list[Entry]]:
    connection = await asyncpg.connect(dsn)
    lookup = Search(DOMAIN)
    keys = "SELECT national_id, profession_code, organisation_id FROM directory.listing"
    rows = [tuple(row) for row in await connection.fetch(keys)]
    for place in range(0, len(rows), STEP):
        yield await lookup.entries(connection, rows[place : place + STEP], NOW)
    await connection.close()


async def _questions(dsn: str) -> dict[str, list[bytes]]:
    """Messages of each kind, drawn from people with a mailbox."""
    connection = await asyncpg.connect(dsn)
    chosen = "SELECT national_id, profession_code, organisation_id FROM directory.listing WHERE national_id <> ''"
    some = await connection.fetch(
        f"{chosen} AND mailboxes > 0 ORDER BY md5(national_id || organisation_id) LIMIT $1", SAMPLE
    )
    people = await Search(DOMAIN).entries(connection, [tuple(row) for row in some], NOW)
    await connection.close()
    dice = random.Random(1)
    people = [one for one in people if {"mail", "givenName", "l"} <= set(one.attributes)]

    def of(kind: str) -> list[str]:
        return [str(dice.choice(people).attributes[kind][0]) for _ in range(QUESTIONS)]

    def pieces(kind: bytes, where: str, value: str) -> tuple[str, Any]:
        return "substrings", {"type": kind, "substrings": [(where, value.encode())]}

    def equal(kind: bytes, value: str) -> tuple[str, Any]:
        return "equalityMatch", {"attributeDesc": kind, "assertionValue": value.encode()}

    chosen_people = [dice.choice(people) for _ in range(QUESTIONS)]
    both = [(str(one.attributes["sn"][0]), str(one.attributes["l"][0])) for one in chosen_people]
    names = [word for word in (max(words(name), key=len) for name in of("sn")) if len(word) >= 6]
    kinds = (b"mail", b"cn", b"givenName", b"sn")
    asked = {
        "address": [equal(b"mail", one) for one in of("mail")],
        "name-begun": [pieces(b"sn", "initial", one[:5]) for one in of("sn")],
        "name-and-town": [("and", [equal(b"sn", name), equal(b"l", town)]) for name, town in both],
        # As Thunderbird completes: contained in any of four. slapd finds it inside words too.
        "completion": [("or", [pieces(kind, "any", one[:5].lower()) for kind in kinds]) for one in of("sn")],
        "mistyped": [
            ("approxMatch", {"attributeDesc": b"sn", "assertionValue": (one[:2] + one[3] + one[2] + one[4:]).encode()})
            for one in names
        ],
    }
    base = Tree(DOMAIN).suffix.encode()
    fields = {"baseObject": base, "scope": "wholeSubtree", "sizeLimit": 100, "attributes": WANTED}
    return {kind: [search(2, **fields, filter=one) for one in some] for kind, some in asked.items()}


async def _measure(side: Side, kind: str, questions: list[bytes]) -> dict[str, object]:
    await _run(side, questions[:20])
    times, found = [], 0
    for place in range(0, len(questions), A_CLIENT):
        reader, writer = await _client(side)
        for question in questions[place : place + A_CLIENT]:
            started = time.perf_counter()
            entries = await _ask(reader, writer, question)
            times.append(time.perf_counter() - started)
            found += entries > 0
        writer.close()
    times.sort()
    cpu, started = cpu_seconds(side.pids), time.monotonic()
    await asyncio.gather(*(_run(side, questions[n::AT_ONCE]) for n in range(AT_ONCE)))
    seconds = time.monotonic() - started
    return {
        "side": side.name,
        "kind": kind,
        "answered": f"{found}/{len(questions)}",
        "p50_ms": round(times[len(times) // 2] * 1000, 2),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1000, 2),
        "a_second": round(len(questions) / seconds),
        "cpu_ms": round((cpu_seconds(side.pids) - cpu) / len(questions) * 1000, 2),
    }


_clients = itertools.count()


async def _client(side: Side) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection of a client of its own: from an address of its own."""
    number = next(_clients)
    source = f"127.1.{number // 250}.{number % 250 + 1}"
    return await asyncio.open_connection("127.0.0.1", side.port, local_addr=(source, 0))


async def _run(side: Side, questions: list[bytes]) -> None:
    reader, writer = await _client(side)
    for question in questions:
        await _ask(reader, writer, question)
    writer.close()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, question: bytes) -> int:
    """Send a search; how many entries came before its end."""
    writer.write(question)
    entries = 0
    while True:
        head = await reader.readexactly(2)
        size = head[1]
        if size >= 0x80:
            size = int.from_bytes(await reader.readexactly(size - 0x80), "big")
        body = await reader.readexactly(size)
        if body[3] != 0x64:  # behind the message id, which is 2: no entry, so the end
            return entries
        entries += 1


def _tell(measure: str, result: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({"measure": measure} | result) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
