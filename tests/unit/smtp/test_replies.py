"""Replies: every reason has one, and what is temporary stays temporary."""

from __future__ import annotations

import re

import pytest

from server.base.errors import CaduceeError, Reason, Refused, TryLater
from server.smtp import reply_codes as r
from server.smtp.replies import REPLIES, reply_to
from server.smtp.reply_codes import Reply

NAMED = {name: value for name, value in vars(r).items() if isinstance(value, Reply)}


def test_every_reason_has_a_reply() -> None:
    assert set(REPLIES) == set(Reason)


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_reply_is_well_formed(name: str) -> None:
    reply = NAMED[name]
    assert reply.text.isascii()
    assert "\r" not in reply.text
    assert max(map(len, reply.encode().split(b"\r\n"))) <= 510  # RFC 5321 §4.5.3.1.5
    if reply.status:
        # RFC 2034 §4: the class of the status is the first digit of the code.
        assert re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", reply.status)
        assert reply.status[0] == str(reply.code)[0] or (reply.code, reply.status[0]) == (354, "3")
    else:
        assert reply.code in (220, 250, 334, 354)


# What policy refuses (server.transport.policy), and what a person's software will show to that person.
TOLD = (
    Reason.UNKNOWN_RECIPIENT,
    Reason.RECIPIENT_CLOSED,
    Reason.NO_ROUTE,
    Reason.NO_RELAY,
    Reason.NO_CONVERSATION,
    Reason.NOT_ANSWERABLE,
    Reason.BAD_ADDRESS,
    Reason.BAD_PATIENT_ADDRESS,
    Reason.MAIL_OPPOSED,
    Reason.MAILBOX_FULL,
    Reason.TOO_LARGE,
    Reason.TOO_LARGE_FOR_PATIENT,
    Reason.TOO_MANY_UNKNOWN,
    Reason.PEER_NOT_TRUSTED,
    Reason.SENDER_NOT_YOURS,
    Reason.REPORTS_ONLY,
    Reason.SIGNATURE_REQUIRED,
    Reason.MALFORMED,
)


@pytest.mark.parametrize("reason", TOLD)
def test_a_refusal_says_why_and_what_to_do_in_french_and_english(reason: Reason) -> None:
    french, english = REPLIES[reason].text.split("\n")
    for line in (french, english):
        why, _, what_to_do = line.partition(": ")
        assert why
        assert what_to_do
    assert french != english


def test_several_lines() -> None:
    assert Reply(250, "", "here\nSIZE 5\nHELP").encode() == b"250-here\r\n250-SIZE 5\r\n250 HELP\r\n"


@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("kind", [Refused, TryLater])
def test_the_kind_decides_permanence(reason: Reason, kind: type[CaduceeError]) -> None:
    reply = reply_to(kind(reason, "a sentence that is not said"))
    if kind is TryLater:
        assert not reply.permanent
    assert "sentence" not in reply.text
    assert not reply.positive
