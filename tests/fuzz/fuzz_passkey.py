"""Invariant: an answer for a passkey that was not made for a challenge of ours opens nothing, nor does one that was not
signed by the key that is known; a new key, for which nobody vouches, opens nothing else. Only NoCredential is raised.

The input is the answer as a form carries it, and the client data inside one that is whole else.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from crypto.edge import EdgeKeys
from server.identity.local import ceremonies, codes, enrolment, totp
from server.identity.local.ceremonies import NoCredential, Place
from tests.authenticator import Authenticator, to_text

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
EDGE = EdgeKeys.new()
PLACE = Place("msg.exemple.fr", "https://msg.exemple.fr", "browser", "sign-in")
AUTHENTICATOR = Authenticator()
CREATED = AUTHENTICATOR.create(
    ceremonies.creation_options(
        PLACE, ceremonies.challenge(EDGE, PLACE, NOON), ceremonies.handle_of(EDGE, 7), "Jeanne", "Caducée", []
    ),
    PLACE.origin,
)
KEY = ceremonies.created(EDGE, PLACE, CREATED, NOON)[0].public_key
SHOWN = AUTHENTICATOR.get(ceremonies.request_options(PLACE, ceremonies.challenge(EDGE, PLACE, NOON)), PLACE.origin)


def fuzz(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    _refused(text)
    for whole in (CREATED, SHOWN):
        for name in json.loads(whole)["response"].keys() - {"userHandle"}:  # compared where the passkey is kept
            answer = json.loads(whole)
            if answer["response"][name] != to_text(data):
                answer["response"][name] = to_text(data)
                _refused(json.dumps(answer), may_be_made=name == "attestationObject")
    code = codes.read(text, 20)
    assert code is None or codes.read(codes.shown(code), 20) == code
    assert enrolment.read(EDGE, "browser", text, NOON) is None
    assert totp.step_of(bytes(20), text, NOON, 2**62) is None


def _refused(answer: str, *, may_be_made: bool = False) -> None:
    key = KEY
    try:
        key = ceremonies.created(EDGE, PLACE, answer, NOON)[0].public_key
        assert may_be_made, "a passkey that was not asked for is taken"
    except NoCredential:
        pass
    for shown in (answer, SHOWN) if key != KEY else (answer,):
        try:
            ceremonies.counter_of(EDGE, PLACE, shown, key, NOON)
        except NoCredential:
            continue
        raise AssertionError("an answer is taken that this key did not sign")
