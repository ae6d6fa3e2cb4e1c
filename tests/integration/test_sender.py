"""The sender against real peers: what it says to them, what it tells the writer, who waits for whom, and what is left
after a worker died."""

from __future__ import annotations

import asyncio
import email
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from server.base import clock
from server.base.limits import MIB
from server.mailbox.check import check
from server.sender.lane import CONNECTIONS
from server.sender.settle import Settled, Settler
from server.sender.work import PART
from server.transport.envelope import Notify, Returned
from tests.dying_peer import Manner, Point, Script
from tests.store_world import DOCTOR, World, message
from tests.way_out import WayOut, domain, way_out

NO_DSN = ("PIPELINING", "8BITMIME", "CHUNKING", "ENHANCEDSTATUSCODES")
SUCCESS = frozenset({Notify.SUCCESS})


@pytest.fixture
async def out(world: World, tmp_path: Path) -> AsyncIterator[WayOut]:
    async with way_out(world, tmp_path) as made:
        yield made


def status(notice: bytes) -> tuple[Message, Message]:
    """The fields of a notification (RFC 3464 §2): of the message, and of its first recipient."""
    part = next(one for one in email.message_from_bytes(notice).walk() if "delivery-status" in one.get_content_type())
    whole, recipient, *_ = part.get_payload()
    return whole, recipient


# What the peer is told


async def test_a_message_leaves_as_it_was_written_with_all_that_was_asked(out: WayOut) -> None:
    where = out.peer(1)
    asked = b"Disposition-Notification-To: <dr.dupont@msg.exemple.fr>\r\nX-MSS-NIL: 12345\r\n" + message()
    await out.write(
        where,
        data=asked,
        notify=frozenset({Notify.SUCCESS, Notify.FAILURE}),
        original="rfc822;alias@a.example",
        envelope_id="QQ314159",
        returned=Returned.FULL,
    )
    await out.start()
    await out.empty()
    (told,) = out.peers[where].connections
    assert told.content.endswith(asked)
    assert told.content[: -len(asked)].count(b"Received: ") == 1
    mail = next(line for line in told.lines if line.startswith(b"MAIL"))
    rcpt = next(line for line in told.lines if line.startswith(b"RCPT"))
    assert mail.startswith(f"MAIL FROM:<{DOCTOR}> ".encode())
    assert set(mail.split()[2:]) == {b"BODY=8BITMIME", b"RET=FULL", b"ENVID=QQ314159"}
    assert rcpt == f"RCPT TO:<dr@{where}> NOTIFY=FAILURE,SUCCESS ORCPT=rfc822;alias@a.example".encode()
    assert await out.world.texts(DOCTOR) == [], "the peer tells of delivery itself"
    assert [one["outcome"] for one in await out.trail()] == ["delivered"]


async def test_nothing_of_dsn_is_said_to_a_peer_without_it(out: WayOut) -> None:
    where = out.peer(1, Script(times=0, extensions=NO_DSN))
    await out.write(where, notify=SUCCESS, envelope_id="QQ1", original="rfc822;x@a.example")
    await out.start()
    await out.empty()
    said = b" ".join(out.peers[where].connections[0].lines)
    assert not [word for word in (b"NOTIFY", b"RET", b"ENVID", b"ORCPT") if word in said]
    (notice,) = await out.world.texts(DOCTOR)
    whole, recipient = status(notice)
    assert whole["Original-Envelope-Id"] == "QQ1"
    assert recipient["Action"] == "relayed"
    assert recipient["Original-Recipient"] == "rfc822;x@a.example"
    assert recipient["Remote-MTA"] == f"dns; mx.{where}"
    assert recipient["Status"].startswith("2.")


# What the writer is told


@pytest.mark.parametrize(
    ("notify", "told"),
    [(frozenset(), 1), (frozenset({Notify.FAILURE}), 1), (SUCCESS, 0), (frozenset({Notify.NEVER}), 0)],
    ids=["default", "failure", "success", "never"],
)
async def test_a_failure_is_told_to_who_wants_to_know(out: WayOut, notify: frozenset[Notify], told: int) -> None:
    where = out.peer(1, Script(Point.RCPT, Manner.PERMANENT))
    await out.write(where, notify=notify, original="rfc822;x@a.example", envelope_id="QQ2")
    await out.start()
    await out.empty()
    notices = await out.world.texts(DOCTOR)
    assert len(notices) == told
    assert [(one["outcome"], one["status"]) for one in await out.trail()] == [("failed", "5.3.0")]
    for notice in notices:
        assert b"Return-Path: <>" in notice
        whole, recipient = status(notice)
        assert (whole["Original-Envelope-Id"], recipient["Action"]) == ("QQ2", "failed")
        assert recipient["Diagnostic-Code"] == "smtp; 554 5.3.0 no"
        assert b"Subject: Ordonnance" in notice, "the header comes back"
        assert b"Bonjour" not in notice, "and the content does not"


async def test_a_peer_that_refuses_in_the_middle_and_closes_is_heard(out: WayOut) -> None:
    where = out.peer(1, Script(Point.CONTENT, Manner.PERMANENT, times=9))
    await out.write(where, data=message("x" * 70 + "\r\n" + ("y" * 74 + "\r\n") * 200_000))
    await out.start()
    await out.empty()
    (notice,) = await out.world.texts(DOCTOR)
    assert status(notice)[1]["Status"] == "5.3.4"
    assert [(one["outcome"], one["attempt"]) for one in await out.trail()] == [("failed", 1)]


async def test_the_null_sender_is_told_nothing(out: WayOut) -> None:
    where = out.peer(1, Script(Point.RCPT, Manner.PERMANENT))
    await out.write(where, reverse_path="")
    await out.start()
    await out.empty()
    assert await out.world.texts(DOCTOR) == []
    assert out.peers[where].connections[0].lines[1].startswith(b"MAIL FROM:<> ")


async def test_a_writer_elsewhere_is_told_through_the_queue(out: WayOut) -> None:
    broken, home = out.peer(1, Script(Point.RCPT, Manner.PERMANENT)), out.peer(2)
    await out.write(broken, reverse_path=f"dr.loin@{home}")
    await out.start()
    await out.until(lambda: out.peers[home].accepted)
    await out.empty()
    (told,) = out.peers[home].connections
    assert [line.split(b" ", 2)[:2] for line in told.lines[1:3]] == [
        [b"MAIL", b"FROM:<>"],
        [b"RCPT", f"TO:<dr.loin@{home}>".encode()],
    ]
    assert status(told.content)[1]["Action"] == "failed"


async def test_delay_is_told_once_and_then_the_end(out: WayOut, monkeypatch: pytest.MonkeyPatch) -> None:
    where = out.peer(1, Script(Point.RCPT, Manner.TEMPORARY, times=100))
    await out.write(where)
    real = clock.now
    await out.start()
    for attempt, (hours, count, action) in enumerate(
        [(0, 0, ""), (5, 1, "delayed"), (6, 1, "delayed"), (49, 2, "failed")], 1
    ):
        ahead = timedelta(hours=hours)
        monkeypatch.setattr(clock, "now", lambda ahead=ahead: real() + ahead)
        await out.due()
        await out.rows_are(
            lambda rows, n=attempt: not rows or (rows[0]["attempts"] == n and rows[0]["leased_by"] is None)  # type: ignore[misc]
        )
        notices = await out.world.texts(DOCTOR)
        assert len(notices) == count, hours
        if notices:
            assert status(notices[-1])[1]["Action"] == action
    assert status(notices[0])[1]["Will-Retry-Until"]
    assert status(notices[1])[1]["Status"] == "5.4.7"
    await out.empty()
    assert [one["outcome"] for one in await out.trail()] == ["deferred"] * 3 + ["expired"]


async def test_no_delay_is_told_to_who_did_not_want_it(out: WayOut, monkeypatch: pytest.MonkeyPatch) -> None:
    where = out.peer(1, Script(Point.RCPT, Manner.TEMPORARY, times=100))
    await out.write(where, notify=frozenset({Notify.FAILURE}))
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + timedelta(hours=5))
    await out.start()
    await out.rows_are(lambda rows: rows[0]["last_status"])
    assert await out.world.texts(DOCTOR) == []


@pytest.mark.parametrize(("hops", "code"), [(49, None), (51, "5.4.6")])
async def test_a_message_that_goes_in_circles_ends(out: WayOut, hops: int, code: str | None) -> None:
    where = out.peer(1)
    await out.write(where, data=b"Received: from a by b; Mon, 2 Mar 2026 12:00:00 +0100\r\n" * hops + message())
    await out.start()
    await out.empty()
    assert len(out.peers[where].accepted) == (code is None)
    assert [status(notice)[1]["Status"] for notice in await out.world.texts(DOCTOR)] == ([code] if code else [])


async def test_what_the_peer_cannot_keep_safe_is_not_sent(out: WayOut) -> None:
    where = out.peer(1)
    await out.write(where, require_tls=True)
    await out.start()
    await out.empty()
    assert [line.split()[0] for line in out.peers[where].connections[0].lines if b"EHLO" not in line] in ([], [b"QUIT"])
    (notice,) = await out.world.texts(DOCTOR)
    assert status(notice)[1]["Status"] == "5.7.30"
    assert status(notice)[1]["Diagnostic-Code"] is None, "the peer said nothing"


# Who waits for whom


async def test_a_message_is_held_for_as_long_as_its_writer_wants(out: WayOut) -> None:
    """RFC 4865, for other operators; how mailboxes here get theirs is in test_hold.py."""
    where = out.peer(1)
    await out.start()
    await out.write(where, not_before=clock.now() + timedelta(days=1))
    await out.write(where, number=2)
    await out.until(lambda: out.peers[where].accepted)
    (row,) = await out.rows_are(lambda rows: len(rows) == 1)
    assert (row["attempts"], row["tried_since"]) == (0, None)
    await out.due()
    await out.until(lambda: len(out.peers[where].accepted) == 2)


async def test_dead_and_slow_peers_hold_up_nobody_else(out: WayOut) -> None:
    """Four of them, with more mail than a worker takes in hand, come first in every order; none has said a word."""
    points = (Point.CONNECTED, Point.HANDSHAKE, Point.MAIL, Point.CONTENT)
    slow = [out.peer(n, Script(point, Manner.SILENT, times=100)) for n, point in enumerate(points, 1)]
    large = message("x" * 70 + "\r\n" + ("y" * 74 + "\r\n") * 9_000)
    for number in range(250):
        await out.write(*slow, number=number, data=large if number == 0 else None)
    good = out.peer(9)
    for number in range(60):
        await out.write(good, number=1_000 + number)
    await out.start()
    await out.until(lambda: len(out.peers[good].accepted) == 60)
    rows = await out.rows_are(lambda rows: not [row for row in rows if row["domain"] == good])
    assert len(rows) == 1_000
    assert {row["last_status"] for row in rows} == {""}, "no attempt of theirs has ended"
    assert len(out.peers[good].connections) <= CONNECTIONS, "one connection takes many messages"
    assert all(len(out.peers[one].connections) <= CONNECTIONS for one in slow)


async def test_a_domain_that_is_down_is_asked_once_for_all_its_mail(out: WayOut) -> None:
    where = out.peer(1, Script(Point.GREETING, Manner.CLOSE, times=100))
    for number in range(30):
        await out.write(where, number=number)
    await out.start()
    rows = await out.rows_are(lambda rows: all(row["last_status"] for row in rows))
    assert len(rows) == 30
    assert {row["attempts"] for row in rows} == {1}
    assert len(out.peers[where].connections) == 1


@pytest.mark.parametrize("manner", [Manner.CLOSE, Manner.RESET, Manner.CLOSING])
async def test_a_connection_that_was_closed_meanwhile_delays_nothing(out: WayOut, manner: Manner) -> None:
    """A peer may limit messages or time of a connection; the next message then goes over a new one at once."""
    where = out.peer(1, Script(Point.MAIL, manner, after=1))
    await out.start()
    for number in range(3):
        await out.write(where, number=number)
        await out.empty()
    assert len(out.peers[where].accepted) == 3
    assert {one["attempt"] for one in await out.trail()} == {1}


async def test_the_first_message_that_gets_through_brings_the_others_with_it(out: WayOut) -> None:
    where = domain(1)
    for number in range(5):
        await out.write(where, number=number)
    await out.start()
    await out.rows_are(lambda rows: all(row["last_status"] == "4.4.1" for row in rows))
    out.peer(1)
    await out.world.admin.execute(
        "UPDATE queue_recipient SET not_before = now(), wish = 'try'"
        " WHERE queue_id = (SELECT queue_id FROM queue_recipient LIMIT 1)"
    )
    await out.empty()
    assert len(out.peers[where].accepted) == 5


async def test_two_workers_share_the_queue_and_send_each_message_once(out: WayOut) -> None:
    where, other = out.peer(1), out.peer(2)
    for number in range(150):
        await out.write(where, other, number=number)
    await out.start(0)
    await out.start(1)
    await out.empty()
    for one in (where, other):
        contents = Counter(out.peers[one].accepted)
        assert (len(contents), set(contents.values())) == (150, {1})
    assert [one["repeated"] for one in await out.trail()] == [False] * 300


async def test_a_writer_whose_mailbox_is_locked_holds_up_nobody(out: WayOut) -> None:
    """His notification waits in the local queue; what he and others sent is settled."""
    where = out.peer(1, Script(Point.RCPT, Manner.PERMANENT))
    other = await out.world.database.connect()
    lock = other.transaction()
    await lock.start()
    await other.execute("SELECT * FROM folder_state WHERE owner_id = $1 FOR UPDATE", out.world.owners[DOCTOR])
    await out.write(where)
    await out.start()
    await out.empty()
    assert await out.world.texts(DOCTOR) == []
    await lock.rollback()
    await other.close()
    world = out.world
    assert await world.local_queue().deliver() == 1
    (notice,) = await world.texts(DOCTOR)
    assert status(notice)[1]["Action"] == "failed"


async def test_a_domain_that_left_the_trust_space_is_not_even_called(out: WayOut) -> None:
    where = out.peer(1)
    trust = out.settings.trust.model_copy(update={"members": {}})
    out.settings = out.settings.model_copy(update={"trust": trust})
    await out.write(where)
    await out.start()
    (row,) = await out.rows_are(lambda rows: rows[0]["last_status"])
    assert (row["last_status"], row["last_reply"]) == ("4.7.5", "the domain is not in the trust space")
    assert out.peers[where].connections == []


# What is left after a worker died


async def test_what_a_killed_worker_had_in_hand_is_sent_by_its_next(out: WayOut) -> None:
    """What the peer had taken without our hearing so comes twice, the same bytes, and the trail says that it may."""
    where = out.peer(1, Script(Point.RECEIVED, Manner.SILENT))
    await out.write(where, number=1)
    sender = await out.start()
    await out.until(lambda: out.peers[where].connections and out.peers[where].connections[0].content)
    await out.kill(sender)
    assert [row["leased_by"] is not None for row in await out.rows()] == [True]
    await out.write(where, number=2)
    await out.start()
    await out.empty()
    received = [told.content for told in out.peers[where].connections if told.content]
    assert received[0] in out.peers[where].accepted
    told = {one["repeated"] for one in await out.trail() if one["outcome"] == "delivered"}
    assert told == {True, False}


async def test_a_worker_that_stops_gives_back_what_it_did_not_try(out: WayOut) -> None:
    where = out.peer(1, Script(Point.MAIL, Manner.SILENT, times=100))
    for number in range(20):
        await out.write(where, number=number)
    sender = await out.start()
    await out.until(lambda: len(out.peers[where].connections) == CONNECTIONS)
    await out.stop(sender)
    rows = await out.rows()
    assert Counter(row["leased_by"] is None for row in rows) == {True: 20 - CONNECTIONS, False: CONNECTIONS}
    assert {row["attempts"] for row in rows if row["leased_by"] is None} == {0}


async def test_what_does_not_open_is_put_aside_and_stops_nothing(out: WayOut) -> None:
    where = out.peer(1)
    await out.write(where, number=1)
    await out.world.admin.execute("UPDATE queue_message SET body = overlay(body placing 'x' from 30)")
    await out.write(where, number=2)
    await out.start()
    (row,) = await out.rows_are(lambda rows: len(rows) == 1 and rows[0]["state"] == "held")
    assert row["last_status"] == "4.3.5"
    assert len(out.peers[where].accepted) == 1


async def test_a_large_message_is_opened_a_part_at_a_time(out: WayOut) -> None:
    """Cut in its last piece, it is not taken for whole; whole, it arrives so."""
    cut, whole = out.peer(1), out.peer(2)
    large = message("x" * 70 + "\r\n" + (".y" * 37 + "\r\n") * 270_000)
    await out.write(cut, data=large)
    await out.world.admin.execute(
        "UPDATE queue_piece SET data = substr(data, 1, 1000) WHERE number = (SELECT max(number) FROM queue_piece)"
    )
    await out.start()
    await out.rows_are(lambda rows: rows[0]["state"] == "held")
    assert out.peers[cut].accepted == []
    problems = await check(out.world.admin, None, out.world.edge)
    assert [problem.invariant for problem in problems] == ["a message in the queue is whole"]
    await out.world.admin.execute("DELETE FROM queue_message")
    await out.write(whole, data=large)
    await out.until(lambda: out.peers[whole].accepted)
    assert out.peers[whole].accepted[0].endswith(large)


@pytest.mark.parametrize("size", [PART, MIB - 500, MIB, MIB + 500, 2 * MIB])
async def test_sizes_at_the_borders_of_parts_and_pieces(out: WayOut, size: int) -> None:
    where = out.peer(1)
    data = message()
    data += b"x" * ((size - len(data)) % 76) + b"\r\n"
    data += (b"y" * 74 + b"\r\n") * ((size - len(data)) // 76)
    await out.write(where, data=data)
    await out.start()
    await out.empty()
    assert out.peers[where].accepted[0].endswith(data)


async def test_a_name_server_that_is_silent_defers(out: WayOut) -> None:
    out.settings = out.settings.model_copy(
        update={"sender": out.settings.sender.model_copy(update={"resolvers": ["127.0.0.1:9"]})}
    )
    where = domain(1)
    await out.write(where)
    await out.start()
    (row,) = await out.rows_are(lambda rows: rows[0]["last_status"])
    assert row["last_status"] == "4.4.3"


async def test_nothing_more_is_said_before_what_was_delivered_is_written(
    out: WayOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver like ours forgets that it has a message once its client goes on, so until then it must not."""
    where = out.peer(1)
    written = asyncio.Event()
    settle = Settler.settle

    async def late(*given: Any, **named: Any) -> Settled:
        await written.wait()
        return await settle(*given, **named)

    monkeypatch.setattr(Settler, "settle", late)
    for number in range(3 * CONNECTIONS):
        await out.write(where, number=number)
    await out.start()
    await out.until(lambda: len(out.peers[where].accepted) >= CONNECTIONS)
    await asyncio.sleep(0.5)  # time in which a hasty one would have gone on
    assert [len(told.accepted) for told in out.peers[where].connections] == [1] * CONNECTIONS
    assert not [line for told in out.peers[where].connections for line in told.lines[4:]]
    written.set()
    await out.empty()
    assert len(out.peers[where].accepted) == 3 * CONNECTIONS
