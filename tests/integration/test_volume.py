"""Volumes out of the usual: what a worker counts, what the jobs compare, and what an operator is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from server.audit.trail import of_owner
from server.base import clock
from server.base.sections import Alarms as Thresholds
from server.transport import alarms
from server.transport.alarms import Alarms
from server.transport.volume import Volume
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World, message


async def tallies(world: World, kind: str) -> list[tuple[int | None, int]]:
    rows = await world.admin.fetch("SELECT owner_id, count FROM tally WHERE kind = $1 ORDER BY owner_id", kind)
    return [(row["owner_id"], row["count"]) for row in rows]


async def past(world: World, kind: str, name: str, daily: int, days: int, owner: int | None = None) -> None:
    """So many a day, for so many days before yesterday."""
    now = clock.now().replace(minute=0, second=0, microsecond=0)
    for day in range(2, days + 2):
        await world.admin.execute(
            "INSERT INTO tally VALUES ($1, $2, $3, $4, $5)", kind, name, now - timedelta(days=day), owner, daily
        )


async def now_counted(world: World, kind: str, name: str, count: int, owner: int | None = None) -> None:
    hour = clock.now().replace(minute=0, second=0, microsecond=0)
    await world.admin.execute("INSERT INTO tally VALUES ($1, $2, $3, $4, $5)", kind, name, hour, owner, count)


def jobs(world: World, **thresholds: int) -> Alarms:
    settings = world.database.settings.model_copy(update={"alarms": Thresholds(**thresholds)})
    return Alarms(world.jobs_pool, world.edge, settings)


async def raised(world: World) -> list[tuple[str, str, int, int]]:
    return [(one.kind, one.name, one.count, one.usual) for one in await alarms.since(world.admin, past_moment())]


def past_moment() -> datetime:
    return clock.now() - timedelta(hours=1)


async def test_messages_and_strangers_are_counted_without_addresses(world: World) -> None:
    envelope = await world.envelope(PHARMACY, PATIENT)
    envelope = replace(envelope, source=replace(envelope.source, principal=world.owners[DOCTOR]))
    for number in range(3):
        await world.acceptor.accept(envelope, message(number=number))
    await world.acceptor.accept(envelope, message(number=0))  # a repeat is no message
    await world.acceptor.close()
    assert await tallies(world, "received") == [(world.owners[PHARMACY], 3), (world.owners[PATIENT], 3)]
    assert await tallies(world, "strangers") == [(world.owners[DOCTOR], 2)], "each was a stranger once"
    rows = repr(await world.admin.fetch("SELECT * FROM tally")) + repr(
        await world.admin.fetch("SELECT * FROM acquaintance")
    )
    for address in (DOCTOR, PHARMACY, PATIENT):
        assert address.partition("@")[0] not in rows


async def test_an_acquaintance_is_no_stranger_the_next_day_and_one_in_use_is_kept(world: World) -> None:
    volume = Volume(world.edge_pool, world.edge)
    volume.accepted(await world.envelope(PHARMACY))
    await volume.tell()
    await world.admin.execute("UPDATE acquaintance SET seen_on = seen_on - 31")
    await world.admin.execute("DELETE FROM tally")
    volume.accepted(await world.envelope(PHARMACY, PATIENT))
    await volume.tell()
    assert await tallies(world, "strangers") == [(None, 1)]
    today = clock.now().date()
    assert {row["seen_on"] for row in await world.admin.fetch("SELECT seen_on FROM acquaintance")} == {today}


async def test_counts_wait_for_a_database_that_is_away(world: World) -> None:
    pool = await world.database.pool("submission")
    volume = Volume(pool, world.edge)
    volume.accepted(await world.envelope(PHARMACY))
    pool.terminate()
    await volume.tell()
    volume._pool = world.edge_pool
    volume.accepted(await world.envelope(PHARMACY))
    await volume.close()
    assert await tallies(world, "received") == [(world.owners[PHARMACY], 2)]


async def test_a_misrouted_flood_raises_one_alarm(world: World) -> None:
    owner = world.owners[PHARMACY]
    await past(world, "received", "p-pharmacy@msg.exemple.fr", 20, 20, owner)
    await now_counted(world, "received", "p-pharmacy@msg.exemple.fr", 400, owner)
    await past(world, "received", "p-busy@msg.exemple.fr", 300, 20)
    await now_counted(world, "received", "p-busy@msg.exemple.fr", 400)  # a busy day of a busy mailbox
    await now_counted(world, "received", "p-quiet@msg.exemple.fr", 99)  # under the floor
    with capture_logs() as logs:
        await jobs(world).compare()
        await jobs(world).compare()
    expected = {"kind": "received", "name": "p-pharmacy@msg.exemple.fr", "count": 400, "usual": 20}
    assert logs == [{"event": "alarm", "log_level": "warning", **expected}]
    assert await raised(world) == [tuple(expected.values())]
    (event,) = [told for told in await of_owner(world.admin, world.keyring, owner) if told.kind == "alarm-raised"]
    assert event.detail["count"] == 400


async def test_who_writes_to_many_strangers_is_told(world: World) -> None:
    await past(world, "strangers", "p-doctor@operateur.fr", 3, 10)
    await now_counted(world, "strangers", "p-doctor@operateur.fr", 150)
    await now_counted(world, "unknown-by-sender", "p-doctor@operateur.fr", 50)
    await now_counted(world, "unknown-by-operator", "CN=smtp.operateur.fr", 200)  # under what one operator may
    await jobs(world).compare()
    assert sorted(await raised(world)) == [
        ("strangers", "p-doctor@operateur.fr", 150, 3),
        ("unknown-by-sender", "p-doctor@operateur.fr", 50, 0),
    ]


@pytest.mark.parametrize(("floor", "factor", "alarms_raised"), [(10, 2, 1), (11, 2, 0), (10, 6, 0)])
async def test_thresholds_are_settings(world: World, floor: int, factor: int, alarms_raised: int) -> None:
    await past(world, "received", "p-one@msg.exemple.fr", 2, 5)
    await now_counted(world, "received", "p-one@msg.exemple.fr", 10)
    await jobs(world, received_floor=floor, received_factor=factor).compare()
    assert len(await raised(world)) == alarms_raised


async def test_what_is_no_longer_compared_is_forgotten(world: World) -> None:
    await past(world, "received", "p-one@msg.exemple.fr", 2, 40)
    await world.admin.execute("INSERT INTO acquaintance VALUES ($1, current_date - 401)", bytes(16))
    await world.admin.execute("INSERT INTO acquaintance VALUES ($1, current_date - 399)", bytes(15) + b"1")
    assert await alarms.forget(world.jobs_pool) > 10
    assert await alarms.forget(world.jobs_pool) == 0
    assert await world.admin.fetchval("SELECT count(*) FROM acquaintance") == 1
    oldest = await world.admin.fetchval("SELECT now() - min(hour) FROM tally")
    assert timedelta(days=27) < oldest < timedelta(days=30)


async def test_too_many_names_are_not_counted(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr("server.transport.volume.VOLUME_NAMES", 2)
    volume = Volume(world.edge_pool, world.edge)
    with capture_logs() as logs:
        volume.accepted(await world.envelope(PHARMACY))
        volume.accepted(await world.envelope(PATIENT))
    assert [event["event"] for event in logs] == ["volume_not_counted"]
    await volume.close()
    assert await tallies(world, "received") == [(world.owners[PHARMACY], 1)]
