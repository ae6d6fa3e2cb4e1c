"""Invariant: whatever a facility's server sends is a request for a mailbox's token or refused in a word of RFC 6749;
what is understood is one line of printable text, which nobody takes for another facility's.
"""

from __future__ import annotations

from server.base.limits import ADDRESS
from server.facility.form import FORM, NAME_CHARACTERS, NotGiven, read

WORDS = {"invalid_request", "unsupported_grant_type"}


def fuzz(data: bytes) -> None:
    try:
        asked = read(FORM, data)
    except NotGiven as refusal:
        if refusal.error not in WORDS:
            raise
        return
    named = asked.actor.named("O=Facility")
    assert named.isprintable()
    assert named.startswith("O=Facility: ")
    assert " " not in asked.actor.identifier
    assert 0 < len(asked.actor.name) <= NAME_CHARACTERS
    assert 0 < len(asked.mailbox) <= ADDRESS
