"""kill -9 of any process that relays, on either side and at any moment, loses no message and doubles none.

Two operators write to each other. What was answered 250 at submission stands in the other's mailbox exactly once, since
the receiver knows a repeat by its fingerprint; were one there twice, the sender's trail would have to say that its
attempt ended nobody knows how. `make test` runs the short form, `make soak` 10,000 messages.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import asyncpg
import pytest

from server.audit.trail import of_owner
from server.base.settings import load
from server.cli.admin import Admin
from server.db.embedded import EmbeddedPostgres
from tests.durability.processes import kill, kind_of, tree
from tests.durability.test_kill import Sender as Client
from tests.durability.test_kill import shown
from tests.operators import Operators, operators
from tests.serving import Served, caducee

KINDS = ["sender", "relay", "postmaster", "sender", "backend", "relay"]
CLIENTS = 3  # of each operator
ARRIVES_SECONDS = 120  # the last messages, after the last kill
HURRY = "UPDATE queue_recipient SET not_before = now(), wish = 'try' WHERE leased_by IS NULL"


def kill_all_along(
    sides: list[Served], moments: random.Random, done: threading.Event, pause: float
) -> Counter[tuple[str, str]]:
    """Kill one process after another, on a side by chance, until `done`; how many of each kind on each side."""
    killed: Counter[tuple[str, str]] = Counter()
    turn = 0
    while not done.wait(moments.uniform(0.3, 1.0) * pause):
        side, wanted = moments.choice(sides), KINDS[turn % len(KINDS)]
        assert side.process is not None
        victims = sorted(pid for pid, command in tree(side.process.pid).items() if kind_of(command) == wanted)
        if victims:  # else killed a moment ago and not back yet
            turn += 1
            kill(moments.choice(victims))
            killed[side.domain, wanted] += 1
    return killed


def play(space: Operators, messages: int, pause: float) -> tuple[dict[str, list[str]], Counter[tuple[str, str]]]:
    """Write both ways under kills: domain → the ids that it accepted, and what was killed."""
    halt, done = threading.Event(), threading.Event()
    one, two = space.caducees
    writers = [
        Client(here, f"w{n}", range(n, messages // 2, CLIENTS), halt, [there.pharmacy])
        for here, there in ((one, two), (two, one))
        for n in range(CLIENTS)
    ]
    moments = random.Random(int(os.environ.get("CADUCEE_SEED", "11")))
    with ThreadPoolExecutor(len(writers) + 1) as threads:
        killing = threads.submit(kill_all_along, space.caducees, moments, done, pause)
        writing = [threads.submit(writer.run) for writer in writers]
        try:
            for future in writing:
                future.result()
            # Kills go on while what was accepted is on its way.
            deadline = time.monotonic() + 10 * pause
            while time.monotonic() < deadline and any(asyncio.run(queued(side)) for side in space.caducees):
                time.sleep(pause / 4)
        finally:
            halt.set()
            done.set()
    accepted: dict[str, list[str]] = {side.domain: [] for side in space.caducees}
    for writer in writers:
        accepted[writer.domain] += writer.accepted
    return accepted, killing.result()


async def queued(side: Served, *, hurry: bool = False) -> int:
    """How many recipients wait at a side; with `hurry` they are due now. One more than none while nobody can tell."""
    try:
        connection = await asyncpg.connect(EmbeddedPostgres(side.home).dsn())
        try:
            if hurry:
                await connection.execute(HURRY)
            return int(await connection.fetchval("SELECT count(*) FROM queue_recipient"))
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        return 1


@dataclass(frozen=True)
class Trail:
    """What a side's trail says of the doctor's messages: how often each was delivered, and which ends were unsure."""

    delivered: int
    unsure: int


async def trail(side: Served) -> Trail:
    async with Admin(load(side.home)) as admin:
        owner_id = await admin.owner_of(side.doctor)
        told = [one.detail for one in await of_owner(admin.connection, admin.keyring, owner_id, 100_000)]
    ends = Counter(one["outcome"] for one in told if "outcome" in one)
    return Trail(ends["delivered"], ends["unsure"] + sum(1 for one in told if one.get("repeated")))


@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    ("messages", "pause"),
    [pytest.param(150, 0.6, id="short"), pytest.param(10_000, 2.5, id="full", marks=pytest.mark.soak)],
)
def test_a_kill_on_either_side_loses_and_doubles_nothing(messages: int, pause: float) -> None:
    with operators() as space:
        accepted, killed = play(space, messages, pause)
        for side in space.caducees:
            side.wait_ready()
        deadline = time.monotonic() + ARRIVES_SECONDS + messages / 20
        while sum(asyncio.run(queued(side, hurry=True)) for side in space.caducees):
            assert time.monotonic() < deadline, space.logs()
            time.sleep(1)
        one, two = space.caducees
        for here, there in ((one, two), (two, one)):
            ids, seen = accepted[here.domain], shown(there, there.pharmacy)
            assert len(ids) == messages // 2
            assert [one_id for one_id in ids if seen[one_id] == 0] == [], f"lost, after {killed}"
            assert set(seen) == set(ids)
            told, doubled = asyncio.run(trail(here)), sum(seen.values()) - len(seen)
            assert doubled == 0, f"{doubled} doubled, after {killed}; {told}"
            assert told.delivered == len(ids)
        assert {kind for _, kind in killed} == set(KINDS), killed
        for side in space.caducees:
            caducee("check", home=side.home)
