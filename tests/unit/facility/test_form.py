"""The form of a token request: what is understood, and the word of RFC 6749 for all else."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from server.facility.form import FORM, Asked, NotGiven, read
from server.identity.facility.tokens import Actor

GOOD = {
    "grant_type": "client_credentials",
    "mailbox": "Cardiologie@msg.exemple.fr",
    "actor": "899700000012",
    "actor_name": "Léa DURAND",
}


def said(**changes: str | None) -> bytes:
    return urlencode({name: value for name, value in {**GOOD, **changes}.items() if value is not None}).encode()


def refusal(body: bytes, content_type: str = FORM) -> str:
    with pytest.raises(NotGiven) as error:
        read(content_type, body)
    # RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E
    assert all(" " <= letter <= "~" and letter not in '"\\' for letter in error.value.description)
    return error.value.error


@pytest.mark.parametrize("content_type", [FORM, f"{FORM.upper()}; charset=UTF-8"])
def test_a_request_is_understood(content_type: str) -> None:
    expected = Asked("cardiologie@msg.exemple.fr", Actor("899700000012", "Léa DURAND"))
    assert read(content_type, said(scope="read", client_id="x")) == expected
    # The same name, its letters apart.
    assert read(content_type, said(actor_name="Le\u0301a DURAND")) == expected
    assert "DURAND" not in repr(expected)


@pytest.mark.parametrize("missing", GOOD)
def test_each_parameter_is_needed(missing: str) -> None:
    assert refusal(said(**{missing: None})) == "invalid_request"
    assert refusal(said(**{missing: ""})) == "invalid_request"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mailbox", "nobody"),
        ("mailbox", "a@msg.exemple.fr\r\nX: y"),
        ("actor", "a b"),
        ("actor", "a\nb"),
        ("actor", "é"),
        ("actor", "-x"),
        ("actor", "a" * 65),
        ("actor", "a: b"),
        ("actor_name", "a\r\nactor: b"),
        ("actor_name", "a\x00"),
        ("actor_name", "\u202eDNARUD"),
        ("actor_name", "a\u2028b"),
        ("actor_name", " a"),
        ("actor_name", "a" * 101),
    ],
)
def test_what_could_be_mistaken_is_refused(name: str, value: str) -> None:
    assert refusal(said(**{name: value})) == "invalid_request"


def test_other_grants_are_not_served() -> None:
    for grant in ("password", "urn:ietf:params:oauth:grant-type:token-exchange", "CLIENT_CREDENTIALS"):
        assert refusal(said(grant_type=grant)) == "unsupported_grant_type"


def test_what_is_no_form_is_refused() -> None:
    for body in (b"", b"x", b"%ff=%ff", b"a=\xe9", said() + b"&actor=other", said() + b"&x=1" * 30, b"&" + said()):
        assert refusal(body) == "invalid_request", body
    assert refusal(said(), "application/json") == "invalid_request"
    assert refusal(said(), "") == "invalid_request"
