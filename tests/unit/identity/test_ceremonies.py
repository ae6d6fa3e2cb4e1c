"""Passkeys without a browser: what is taken, and every way in which an answer is not the one that was asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crypto.edge import EdgeKeys
from server.base.limits import CHALLENGE_SECONDS, PASSKEY_RESPONSE_CHARACTERS
from server.identity.local import ceremonies
from server.identity.local.ceremonies import NewKey, NoCredential, Place
from tests.authenticator import PRESENT, Authenticator, to_text

EDGE = EdgeKeys.new()
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ORIGIN = "https://msg.exemple.fr"
PLACE = Place("msg.exemple.fr", ORIGIN, "browser", "sign-in")
# What an answer says in place of what is right.
WRONG: list[dict[str, Any]] = [
    {"page": "https://msg.exemple.fr.attaquant.example"},
    {"page": "http://msg.exemple.fr"},
    {"rp_id": "attaquant.example"},
    {"flags": PRESENT},  # nobody verified who touched it
    {"flags": 0},
    {"type": "payment.get"},
    {"challenge": to_text(b"x" * 56)},
    {"challenge": ""},
    {"framed": True},
]


def options(place: Place = PLACE) -> str:
    return ceremonies.request_options(place, ceremonies.challenge(EDGE, place, NOON))


def made(authenticator: Authenticator, **changes: Any) -> NewKey:
    challenge = ceremonies.challenge(EDGE, PLACE, NOON)
    asked = ceremonies.creation_options(PLACE, challenge, ceremonies.handle_of(EDGE, 7), "Jeanne", "Caducée", [])
    return ceremonies.created(EDGE, PLACE, authenticator.create(asked, ORIGIN, **changes), NOON)[0]


def counter(authenticator: Authenticator, key: NewKey, place: Place = PLACE, **changes: Any) -> int:
    answer = authenticator.get(options(), ORIGIN, **changes)
    return ceremonies.counter_of(EDGE, place, answer, key.public_key, NOON)


def test_a_passkey_is_made_and_shown() -> None:
    authenticator = Authenticator()
    key = made(authenticator)
    assert (key.credential_id, authenticator.handle) == (authenticator.credential_id, ceremonies.handle_of(EDGE, 7))
    assert (counter(authenticator, key), counter(authenticator, key)) == (1, 2)


def test_what_a_browser_is_asked() -> None:
    asked = json.loads(
        ceremonies.creation_options(PLACE, b"x" * 56, ceremonies.handle_of(EDGE, 7), "Jeanne", "Caducée", [b"one"])
    )
    chosen = asked["authenticatorSelection"]
    assert (chosen["residentKey"], chosen["userVerification"]) == ("required", "required")
    assert asked["attestation"] == "none"
    assert asked["excludeCredentials"] == [{"id": to_text(b"one"), "type": "public-key"}]
    asked = json.loads(options())
    assert (asked["userVerification"], asked["rpId"], asked.get("allowCredentials", [])) == (
        "required",
        "msg.exemple.fr",
        [],
    )


@pytest.mark.parametrize("changes", WRONG, ids=str)
def test_an_answer_to_something_else_makes_and_opens_nothing(changes: dict[str, Any]) -> None:
    authenticator = Authenticator()
    key = made(authenticator)
    with pytest.raises(NoCredential):
        counter(authenticator, key, **changes)
    with pytest.raises(NoCredential):
        made(Authenticator(), **changes)


def test_another_key_opens_nothing() -> None:
    authenticator, other = Authenticator(), Authenticator()
    key = made(authenticator)
    other.credential_id = authenticator.credential_id
    with pytest.raises(NoCredential):
        counter(other, key)


def test_a_challenge_is_of_one_browser_one_purpose_one_edge_and_a_few_minutes() -> None:
    given = ceremonies.challenge(EDGE, PLACE, NOON)
    assert ceremonies.is_ours(EDGE, PLACE, given, NOON + timedelta(seconds=CHALLENGE_SECONDS))
    for place in (replace(PLACE, browser="other"), replace(PLACE, purpose="enrol"), replace(PLACE, rp_id="x.fr")):
        assert not ceremonies.is_ours(EDGE, place, given, NOON)
    assert not ceremonies.is_ours(EdgeKeys.new(), PLACE, given, NOON)
    assert not ceremonies.is_ours(EDGE, PLACE, given, NOON + timedelta(seconds=CHALLENGE_SECONDS + 1))
    assert not ceremonies.is_ours(EDGE, PLACE, given, NOON - timedelta(seconds=1))
    for other in (b"", given[:-1], bytes(8) + given[8:]):
        assert not ceremonies.is_ours(EDGE, PLACE, other, NOON)


@pytest.mark.parametrize(
    "response",
    ["", "[]", "{}", "null", "{" * 10_000, '{"id": 1}', "\ud800", " " * (PASSKEY_RESPONSE_CHARACTERS + 1)],
    ids=lambda text: repr(text[:9]),
)
def test_what_is_no_answer(response: str) -> None:
    with pytest.raises(NoCredential):
        ceremonies.shown(response)
    with pytest.raises(NoCredential):
        ceremonies.created(EDGE, PLACE, response, NOON)
    with pytest.raises(NoCredential):
        ceremonies.counter_of(EDGE, PLACE, response, b"", NOON)
