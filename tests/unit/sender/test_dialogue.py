"""What the sender says for one message, and what it makes of the replies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.base.errors import ProtocolViolation
from server.sender.dialogue import HOPS, DotStuffing, Outcome, Transaction, answer, extensions
from server.sender.replies import LINE, LINES, Replies, Reply
from server.transport.envelope import Body, Notify, Returned
from server.transport.queued import Addressee, Queued
from tests.store_world import NOON

ALL = {"PIPELINING": "", "8BITMIME": "", "SMTPUTF8": "", "DSN": "", "SIZE": "1000", "CHUNKING": "", "BINARYMIME": ""}
ALL |= {"REQUIRETLS": ""}
QUEUED = Queued("dr@a.example", {}, NOON, "", None, Body.EIGHT_BIT, False, False)


def transaction(*addresses: str, header: bytes = b"Subject: x\r\n\r\n", size: int = 100, ascii: bool = True, **kept):  # type: ignore[no-untyped-def]
    recipients = [Addressee(address, frozenset(), "") for address in addresses or ("dr@b.example",)]
    return Transaction(replace(QUEUED, **kept), recipients, header, size, ascii)


@pytest.mark.parametrize(
    ("asked", "lacking", "status"),
    [
        ({}, "PIPELINING", None),
        ({"require_tls": True}, "REQUIRETLS", "5.7.30"),
        ({"body": Body.BINARY}, "BINARYMIME", "5.6.1"),
        ({"body": Body.BINARY}, "CHUNKING", "5.6.1"),
        ({"reverse_path": "zoé@a.example"}, "SMTPUTF8", "5.6.7"),
        ({"utf8": True, "header": "Subject: é\r\n\r\n".encode()}, "SMTPUTF8", "5.6.7"),
        ({"utf8": True}, "SMTPUTF8", None),
        ({"ascii": False}, "SMTPUTF8", None),
        ({"size": 1_001}, "DSN", "5.3.4"),
        ({"size": 1_000}, "DSN", None),
        ({"header": b"Received: x\r\n" * (HOPS + 1)}, "", "5.4.6"),
        ({"header": b"Received: x\r\n" * HOPS}, "", None),
    ],
)
def test_what_a_message_needs_and_the_server_lacks_is_refused_before_a_word(asked, lacking, status) -> None:  # type: ignore[no-untyped-def]
    whole = transaction(**asked)
    objection = whole.objection({name: value for name, value in ALL.items() if name != lacking})
    assert (objection and objection.status) == status
    assert objection is None or objection.permanent


def test_eight_bit_content_wants_a_server_that_takes_it() -> None:
    objection = transaction(ascii=False).objection({})
    assert objection is not None
    assert objection.status == "5.6.3"


@pytest.mark.parametrize(
    "address",
    ["dr@b.example>\r\nRCPT TO:<x@c.example", "dr\r@b.example", "d r@b.example", "dr@b.example ORCPT=x", "dr@b\x00"],
)
def test_no_value_ends_a_command(address: str) -> None:
    objection = transaction(address).objection(ALL)
    assert objection is not None
    assert (objection.status, objection.permanent) == ("5.1.3", True)
    assert transaction(reverse_path=address).objection(ALL) is not None
    assert transaction(envelope_id=address).objection(ALL) is not None


def test_commands_say_what_the_server_understands() -> None:
    asked = frozenset({Notify.DELAY, Notify.FAILURE})
    whole = replace(
        transaction(envelope_id="QQ", returned=Returned.FULL, require_tls=True, utf8=True),
        recipients=[Addressee('"a b"@c.example', asked, "rfc822;x@c.example")],
    )
    assert whole.commands(ALL) == [
        b"MAIL FROM:<dr@a.example> SIZE=100 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=FULL ENVID=QQ\r\n",
        b'RCPT TO:<"a b"@c.example> NOTIFY=DELAY,FAILURE ORCPT=rfc822;x@c.example\r\n',
    ]
    assert replace(whole, envelope=QUEUED).commands({}) == [
        b"MAIL FROM:<dr@a.example>\r\n",
        b'RCPT TO:<"a b"@c.example>\r\n',
    ]


def test_each_recipient_has_its_own_answer() -> None:
    whole = transaction("a@b.example", "c@b.example", "d@b.example")
    replies = [Reply(250, ("ok",)), Reply(250, ("ok",)), Reply(550, ("5.1.1 no",)), Reply(552, ("too many",))]
    taken, unknown, later = whole.judged(replies)
    assert taken is None
    assert (unknown.status, unknown.permanent) == ("5.1.1", True)
    # RFC 5321 §4.5.3.1.10: 552 to RCPT means 452.
    assert (later.status, later.final) == ("4.5.3", False)
    assert {one.status for one in whole.judged([Reply(451, ("4.3.0 later",))]) if one} == {"4.3.0"}


@pytest.mark.parametrize(
    ("code", "text", "delivered", "permanent", "status"),
    [
        (250, "2.0.0 ok", True, False, "2.0.0"),
        (250, "5.0.0 liar", True, False, "2.0.0"),
        (354, "go on", False, False, "4.0.0"),
        (451, "4.3.2 later", False, False, "4.3.2"),
        (554, "no", False, True, "5.0.0"),
    ],
)
def test_only_2xx_is_success(code: int, text: str, delivered: bool, permanent: bool, status: str) -> None:
    said = answer(Reply(code, (text,)), {"DSN": ""})
    assert said == Outcome(delivered, permanent, status, f"{code} {text}", theirs=True)
    assert answer(Reply(code, (text,)), {}).relayed is delivered


def test_extensions_are_words_in_any_case() -> None:
    reply = Reply(250, ("mx.example greets", "size 100", "Dsn", "AUTH PLAIN LOGIN"))
    assert extensions(reply) == {"SIZE": "100", "DSN": "", "AUTH": "PLAIN LOGIN"}


@given(st.lists(st.sampled_from([b".", b"\r\n", b".\r\n", b"a", b"\r\n.", b"\r", b"\n"]), max_size=30), st.booleans())
def test_stuffing_is_undone_by_who_reads_it_however_it_was_cut(pieces: list[bytes], whole: bool) -> None:
    stuffing, plain = DotStuffing(), b"".join(pieces)
    sent = b"".join(stuffing.update(piece) for piece in ([plain] if whole else pieces)) + stuffing.end()
    assert (b"\r\n" + sent).endswith(b"\r\n.\r\n")
    content = (b"\r\n" + sent)[: -len(b".\r\n")]
    assert b"\r\n.\r\n" not in content[:-2] + b"\r\n"
    undone = content.replace(b"\r\n..", b"\r\n.")[2:]
    assert undone in (plain, plain + b"\r\n")


def test_a_peer_that_talks_on_and_on_is_cut_off() -> None:
    replies = Replies()
    line = b"250-" + b"x" * (LINE - 6) + b"\r\n"
    for _ in range(LINES):
        replies.feed(line)
    with pytest.raises(ProtocolViolation):
        replies.feed(line)
