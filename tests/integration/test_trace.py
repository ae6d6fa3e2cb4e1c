"""`caducee trace`: what an operator learns of a message and of an address, and what stays hidden."""

from __future__ import annotations

import hashlib
import json
import smtplib
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server.audit import queries
from server.audit.story import LISTED, Stories
from server.audit.trail import of_owner
from server.base import clock
from server.base.log import Pseudonyms, octets_of
from server.cli.common import Failure
from server.cli.trace import moment
from server.mail.headers import bare_id
from server.sender.orders import Choice, Order, give
from tests.integration.test_intake import letter
from tests.integration.test_queue import FAR, queue_key, to_operators
from tests.serving import DOCTOR, PATIENT, PHARMACY, Served, caducee
from tests.store_world import NOON, World, message
from tests.store_world import PHARMACY as OFFICINE
from tests.web_site import PDF

MESSAGE_ID = "ordonnance.279035121518989@cabinet.example"  # some software puts the INS there
SECONDS = 30


def prescription(message_id: str) -> bytes:
    return (
        letter(1, PDF)
        .replace(b"<1@cabinet.example>", f"<{message_id}>".encode())
        .replace(b"dr.dupont@msg.exemple.fr", DOCTOR.encode())
    )


@pytest.fixture(scope="module")
def sent(running: Served) -> tuple[Served, str]:
    """A prescription for the pharmacy and the patient, refused for a third, read by the pharmacy; with its trace id."""
    with running.submission(DOCTOR) as client:
        client.mail(DOCTOR)
        assert [client.rcpt(one)[0] for one in (PHARMACY, PATIENT, "personne@msg.exemple.fr")] == [250, 250, 550]
        _, reply = client.data(prescription(MESSAGE_ID))
    reader = running.imap(PHARMACY)
    reader.select()
    reader.fetch("1", "(BODY[])")
    reader.logout()
    return running, reply.decode().split()[-1]


def told(served: Served, *words: str, awaited: str = "") -> list[dict[str, Any]]:
    """The events, once the awaited one is among them."""
    deadline = time.monotonic() + SECONDS
    while True:
        events: list[dict[str, Any]] = json.loads(caducee("trace", *words, "--json", home=served.home))
        if not awaited or awaited in [one["event"] for one in events]:
            return events
        assert time.monotonic() < deadline, events
        time.sleep(0.2)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [one["event"] for one in events]


def test_a_message_is_followed_by_its_message_id_and_by_its_trace(sent: tuple[Served, str]) -> None:
    served, trace = sent
    events = told(served, f"<{MESSAGE_ID}>", awaited="documents-filed")
    assert sorted(kinds(events)) == ["content-read", "documents-filed", "message-accepted", "message-accepted"]
    assert [one["at"] for one in events] == sorted(one["at"] for one in events)
    assert {one["trace"] for one in events if "trace" in one} == {trace}
    assert [one["count"] for one in events if one["event"] == "documents-filed"] == [1]
    assert told(served, trace) == events


def test_addresses_are_pseudonyms_unless_revealed_and_each_look_is_told(sent: tuple[Served, str]) -> None:
    served, trace = sent
    plain = caducee("trace", MESSAGE_ID, home=served.home)
    for name in (DOCTOR, PHARMACY, "279035121518989"):
        assert name not in plain
    assert "message-accepted" in plain
    assert "p-" in plain
    assert PATIENT in caducee("trace", trace, "--reveal", home=served.home)


def test_an_address_tells_what_concerns_it(sent: tuple[Served, str]) -> None:
    served, _ = sent
    received = told(served, PHARMACY)
    assert {"mailbox-created", "app-password-made", "message-accepted", "content-read"} <= set(kinds(received))
    by_sender = told(served, DOCTOR, awaited="message-refused")
    assert kinds(by_sender).count("message-accepted") == 2
    (refused,) = [one for one in by_sender if one["event"] == "message-refused"]
    assert refused["reason"] == "unknown-recipient"
    assert kinds(told(served, "personne@msg.exemple.fr")) == ["message-refused"]
    assert kinds(told(served, refused["to"])) == ["message-refused"], "the pseudonym of the logs finds the same"
    assert told(served, "autre@ailleurs.example") == []


def test_who_finds_nothing_is_told_where_to_look(sent: tuple[Served, str]) -> None:
    served, _ = sent
    assert "Nothing since" in caducee("trace", "inconnu@cabinet.example", home=served.home)


def test_a_message_that_takes_no_author_is_found_by_its_message_id(running: Served) -> None:
    with running.submission(DOCTOR) as client, pytest.raises(smtplib.SMTPDataError):
        client.sendmail(DOCTOR, [PHARMACY], f"From: {PHARMACY}\r\nMessage-ID: <faux@cabinet.example>\r\n\r\nX\r\n")
    (refused,) = told(running, "faux@cabinet.example", awaited="message-refused")
    assert refused["reason"] == "sender-not-yours"


async def test_a_delivery_that_waited_is_told(world: World) -> None:
    owner = world.owners[OFFICINE]
    envelope = await world.envelope(OFFICINE)
    await world.admin.execute("UPDATE owner SET state = 'suspended' WHERE owner_id = $1", owner)
    await world.acceptor.accept(envelope, message())
    await world.admin.execute("UPDATE owner SET state = 'active' WHERE owner_id = $1", owner)
    await world.local_queue().deliver()
    story = await Stories(world.admin, world.keyring, world.edge, NOON).of_message("1@cabinet.example")
    assert [one.kind for one in story.events] == ["message-accepted", "message-delivered"]


async def test_an_order_about_the_queue_is_part_of_the_story(world: World) -> None:
    await queue_key(world)
    await world.acceptor.accept(await to_operators(world, FAR), message())
    await give(world.admin, world.edge, Order.HOLD, Choice(None, None, None), "operator root")
    story = await Stories(world.admin, world.keyring, world.edge, NOON).of_message("1@cabinet.example")
    assert [one.kind for one in story.events] == ["message-queued", "queue-ordered"]


async def test_the_trail_keeps_no_message_id_and_no_address_in_clear(world: World) -> None:
    await world.acceptor.accept(await world.envelope(OFFICINE), message())
    (row,) = await world.admin.fetch("SELECT * FROM audit WHERE kind = 'message-accepted'")
    kept = b"".join(value if isinstance(value, bytes) else str(value).encode() for value in row.values())
    for word in (b"cabinet", b"dupont", b"pharmacie"):
        assert word not in kept
    (event,) = await of_owner(world.admin, world.keyring, world.owners[OFFICINE], 1)
    assert event.detail["message_id"] == "1@cabinet.example"


async def test_a_search_reads_a_part_of_a_long_trail(world: World) -> None:
    await world.acceptor.accept(await world.envelope(OFFICINE), message())
    await world.admin.execute(
        "INSERT INTO audit (stream, kind, key_id, detail, message, trace, party)"
        " SELECT 1, 'x', 'x', repeat('x', 300)::bytea, substr(sha256(n::text::bytea), 1, 8), n::text, 'x'"
        " FROM generate_series(1, 50000) n"
    )
    await world.admin.execute("VACUUM ANALYZE audit")
    await world.admin.execute("SELECT brin_summarize_new_values('audit_found')")
    since = clock.now() - timedelta(hours=1)
    token = hashlib.sha256(b"77").digest()[:8]
    for statement, value in ((queries.OF_MESSAGE, token), (queries.OF_TRACE, "77"), (queries.OF_PARTY, b"nobody")):
        plan = await world.admin.fetch(f"EXPLAIN (ANALYZE, BUFFERS OFF) {statement}", value, since, LISTED)
        text = "\n".join(row[0] for row in plan)
        assert "audit_found" in text
        read = [int(line.rpartition(" ")[2]) for line in text.splitlines() if "Rows Removed by Index Recheck" in line]
        assert sum(read) < 10_000, text
    story = await Stories(world.admin, world.keyring, world.edge, NOON).of_message("1@cabinet.example")
    assert len(story.events) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2d", NOON - timedelta(days=2)),
        ("12h", NOON - timedelta(hours=12)),
        ("2026-02-01", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-01T08:00+01:00", datetime(2026, 2, 1, 7, tzinfo=UTC)),
    ],
)
def test_since_is_a_date_or_a_span(text: str, found: datetime) -> None:
    assert moment(text, NOON) == found


@pytest.mark.parametrize("text", ["", "hier", "2d2", "-1d", "2026-13-01"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(Failure, match="--since"):
        moment(text, NOON)


@pytest.mark.parametrize(
    ("value", "bare"),
    [
        ("<a@b>", "a@b"),
        (" <a@b> (comment)", "a@b"),
        ("a@b", "a@b"),
        ("<a\r\n @b>", "a@b"),
        ("", ""),
        ("<" + "x" * 900, "x" * 500),
    ],
)
def test_a_message_id_is_compared_bare(value: str, bare: str) -> None:
    assert bare_id(value) == bare


def test_a_pseudonym_shows_its_octets() -> None:
    pseudonyms = Pseudonyms(b"k" * 32)
    assert octets_of(pseudonyms.of("A@b.fr")) == pseudonyms.octets("a@b.fr")
    assert octets_of("p-court@b.fr") is None
    assert octets_of("dr.martin@b.fr") is None
