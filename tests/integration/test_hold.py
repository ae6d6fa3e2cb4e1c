"""FUTURERELEASE (RFC 4865): what a doctor sends for later comes then, to mailboxes here as to other operators."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crypto.smime.anchors import TrustAnchors
from server.base import clock
from server.transport.local_queue import LocalQueue
from tests.smtp_edge import post
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World, message


def queue(world: World) -> LocalQueue:
    return world.local_queue()


async def test_a_held_message_comes_when_it_was_asked_for_and_others_pass_it(
    world: World, pki: Path, anchors: TrustAnchors
) -> None:
    async with post(world, pki, anchors) as submission:
        client = await submission.client(DOCTOR)
        assert (await client.say(f"MAIL FROM:<{DOCTOR}> HOLDFOR=3600"))[0] == 250
        for address in (PHARMACY, PATIENT):
            assert (await client.say(f"RCPT TO:<{address}> NOTIFY=SUCCESS"))[0] == 250
        assert (await client.data(message("held", number=1)))[0] == 250
        assert await client.sendmail(DOCTOR, [PHARMACY], message("at once", number=2)) == {}
        await client.close()
    assert [text.split()[-2:] for text in await world.texts(PHARMACY)] == [[b"at", b"once"]]
    assert await world.texts(PATIENT) == await world.texts(DOCTOR) == []
    assert await queue(world).deliver() == 0
    due = await world.admin.fetch("SELECT not_before FROM outgoing")
    soon = clock.now() + timedelta(seconds=3600)
    assert len(due) == 3  # two copies, and the receipt that tells of them
    assert all(abs(soon - row["not_before"]) < timedelta(minutes=5) for row in due)
    # An hour passes.
    await world.admin.execute("UPDATE outgoing SET not_before = not_before - interval '1 hour'")
    assert await queue(world).deliver() == 3
    assert [text.split()[-1] for text in await world.texts(PHARMACY)] == [b"once", b"held"]
    assert len(await world.texts(PATIENT)) == 1
    (receipt,) = await world.texts(DOCTOR)
    assert b"Action: delivered" in receipt


async def test_its_date_in_the_folder_is_when_it_came(world: World) -> None:
    moment = datetime(2030, 1, 1, 8, 0, tzinfo=UTC)
    envelope = await world.envelope(PHARMACY)
    envelope = replace(envelope, not_before=moment)
    await world.acceptor.accept(envelope, message())
    await world.admin.execute("UPDATE outgoing SET not_before = now()")
    assert await queue(world).deliver() == 1
    view = await (await world.mailbox(PHARMACY)).view(1)
    assert [row.internaldate for row in view.rows] == [moment]


async def test_a_repeat_of_a_held_message_is_held_once(world: World) -> None:
    envelope = await world.envelope(PHARMACY)
    envelope = replace(envelope, not_before=clock.now() + timedelta(hours=1))
    first = await world.acceptor.accept(envelope, message())
    again = await world.acceptor.accept(envelope, message())
    assert (first.repeated, again.repeated) == (False, True)
    assert await world.admin.fetchval("SELECT count(*) FROM outgoing") == 1
