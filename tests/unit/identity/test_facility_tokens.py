"""Tokens for a facility's people: what was made is read, and nothing else."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from crypto.edge import EdgeKeys
from crypto.sealing import wrap
from server.identity.facility import tokens
from server.identity.facility.tokens import LONGEST, PREFIX, SECONDS, Access, Actor
from server.identity.model import Rights

NOW = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
EDGE = EdgeKeys.new()
NURSE = Actor("899700000012", "Léa D’Été")
MAILBOX = "cardiologie@msg.exemple.fr"
KEY = bytes(range(32))


def made(mailbox: str = MAILBOX, actor: Actor = NURSE) -> str:
    return tokens.make(EDGE, mailbox, KEY, Rights.READ | Rights.SEND, actor, NOW)


def test_what_was_made_is_read_until_it_is_over() -> None:
    until = NOW + timedelta(seconds=SECONDS)
    access = Access(MAILBOX, KEY, Rights.READ | Rights.SEND, NURSE, until)
    assert tokens.read(EDGE, made(), NOW) == access
    assert tokens.read(EDGE, made(), until - timedelta(microseconds=1)) == access
    assert tokens.read(EDGE, made(), until) is None


def test_the_longest_fits() -> None:
    longest = made("é" * 127, Actor("a" * 64, "\U0001f980" * 100))
    assert len(longest) <= LONGEST
    assert tokens.read(EDGE, longest, NOW) is not None


def test_no_octet_may_be_another() -> None:
    token = made()
    for place in range(len(token)):
        altered = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert tokens.read(EDGE, altered, NOW) is None, place


def test_what_is_no_token_is_none() -> None:
    token, other = made(), EdgeKeys.new()
    assert tokens.read(other, token, NOW) is None
    of_another_kind = wrap(EDGE.credential, b"[]", b"facility token 1")
    strange = PREFIX + base64.urlsafe_b64encode(of_another_kind).decode().rstrip("=")
    given = ("", PREFIX, PREFIX + "A", PREFIX + "é", token[:-1], token + "=", token + "A" * LONGEST, strange)
    for one in (*given, token.removeprefix(PREFIX), f"x{token}", f"{token}\n", token.upper()):
        assert tokens.read(EDGE, one, NOW) is None, one


def test_the_trail_names_the_facility_first() -> None:
    assert NURSE.named("CN=SIH,O=CHU") == "CN=SIH,O=CHU: 899700000012 Léa D’Été"


def test_nothing_of_it_can_be_read_outside() -> None:
    box = base64.urlsafe_b64decode(made().removeprefix(PREFIX) + "==")
    assert not any(word in box for word in (b"899700000012", b"cardiologie", NURSE.name.encode()))
    assert made() != made()
