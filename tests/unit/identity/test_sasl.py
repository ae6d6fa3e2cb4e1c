"""What clients say to sign in: what is taken, what is not, and that no secret shows."""

from __future__ import annotations

import base64
import json

import pytest

from server.base.errors import ProtocolViolation
from server.identity import sasl
from server.identity.sasl import EXTERNAL, OAUTHBEARER, PLAIN, XOAUTH2, AppPassword, Bearer, External

# RFC 7628 §4.1, RFC 6750 §2.1
TOKEN = "vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg=="
TAKEN = [
    (PLAIN, b"\0dr@b.fr\0secret", AppPassword("", "dr@b.fr", "secret")),
    (PLAIN, b"dr@b.fr\0dr@b.fr\0secret", AppPassword("dr@b.fr", "dr@b.fr", "secret")),
    (PLAIN, "equipe@b.fr\0dr@b.fr\0sécret".encode(), AppPassword("equipe@b.fr", "dr@b.fr", "sécret")),
    (EXTERNAL, b"", External("")),
    (EXTERNAL, b"labo@b.fr", External("labo@b.fr")),
    (XOAUTH2, f"user=dr@b.fr\1auth=Bearer {TOKEN}\1\1".encode(), Bearer("dr@b.fr", TOKEN)),
    (XOAUTH2, f"user=dr@b.fr\1auth=bearer  {TOKEN}\1\1".encode(), Bearer("dr@b.fr", TOKEN)),
    (
        OAUTHBEARER,
        f"n,a=user@example.com,\1host=server.example.com\1port=143\1auth=Bearer {TOKEN}\1\1".encode(),
        Bearer("user@example.com", TOKEN),
    ),
    (OAUTHBEARER, f"y,,\1auth=Bearer {TOKEN}\1\1".encode(), Bearer("", TOKEN)),
    (OAUTHBEARER, f"n,a=a=2Cb=3Dc@b.fr,\1auth=Bearer {TOKEN}\1\1".encode(), Bearer("a,b=c@b.fr", TOKEN)),
    (OAUTHBEARER, b"n,a=dr@b.fr,\1auth=\1\1", Bearer("dr@b.fr", "")),
]
REFUSED = [
    *(
        (PLAIN, one)
        for one in (b"", b"a", b"a\0b", b"\0\0", b"\0a\0", b"\0\0p", b"\0a\0p\0", b"\0\xff\0p", b"\xff\0a\0p")
    ),
    (EXTERNAL, b"labo@b.fr\0"),
    (EXTERNAL, b"\xff"),
    (XOAUTH2, b""),
    (XOAUTH2, b"user=\1auth=Bearer a\1\1"),
    (XOAUTH2, b"user=dr@b.fr\1auth=Bearer a\1"),
    (XOAUTH2, b"user=dr@b.fr\1auth=Bearer a\1\1\1"),
    (XOAUTH2, b"user=dr@b.fr\1auth=Basic a\1\1"),
    (XOAUTH2, b"user=dr@b.fr\1auth=Bearer a b\1\1"),
    (XOAUTH2, b"user=dr@b.fr\1auth=Bearer \1\1"),
    (XOAUTH2, b"auth=Bearer a\1user=dr@b.fr\1\1"),
    (XOAUTH2, b"user=dr\n@b.fr\1auth=Bearer a\1\1"),
    (OAUTHBEARER, b""),
    (OAUTHBEARER, b"n,,"),
    (OAUTHBEARER, b"n,,\1\1"),
    (OAUTHBEARER, b"n,,\1host=b.fr\1\1"),
    (OAUTHBEARER, b"p=tls-unique,,\1auth=Bearer a\1\1"),
    (OAUTHBEARER, b"n,a=,\1auth=Bearer a\1\1"),
    (OAUTHBEARER, b"n,a=b=2c,\1auth=Bearer a\1\1"),
    (OAUTHBEARER, b"n,,\1auth=Bearer a\1auth=Bearer b\1\1"),
    (OAUTHBEARER, b"n,,\1auth=Bearer a\1Auth=Bearer b\1\1"),
    (OAUTHBEARER, b"n,,\1auth=Bearer a\1b c=d\1\1"),
    (OAUTHBEARER, b"n,,\1auth=Bearer a\0\1\1"),
    (OAUTHBEARER, b"n,,\1auth=Bearer \xc3\xa9\1\1"),
]


@pytest.mark.parametrize(("mechanism", "message", "given"), TAKEN)
def test_what_is_taken(mechanism: str, message: bytes, given: sasl.Given) -> None:
    assert sasl.read(mechanism, message) == given


@pytest.mark.parametrize(("mechanism", "message"), REFUSED)
def test_what_is_not(mechanism: str, message: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        sasl.read(mechanism, message)


@pytest.mark.parametrize(
    "word", [b"a", b"YQ", b"YQ=", b"Y Q==", b"YQ==\t", b"YQ==YQ==", b"user=", b"YR==", b"\xff\xff\xff\xff", b"*"]
)
def test_base64_is_strict(word: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        sasl.decode(word)


def test_base64() -> None:
    assert sasl.decode(base64.b64encode(b"\0a\0p")) == b"\0a\0p"
    assert sasl.decode(b"=") == sasl.decode(b"") == b""
    assert sasl.encode(sasl.LOGIN_NAME) == b"VXNlcm5hbWU6"


def test_a_refused_token_is_told_so_in_json() -> None:
    # RFC 7628 §3.2.2: "status" is required.
    assert json.loads(sasl.refusal(OAUTHBEARER)) == {"status": "invalid_token", "schemes": "bearer"}
    assert json.loads(sasl.refusal(XOAUTH2)) == {"status": "401", "schemes": "bearer"}


def test_secrets_show_nowhere() -> None:
    assert "secret" not in repr(sasl.read(PLAIN, b"\0dr@b.fr\0secret"))
    assert "secret" not in repr(sasl.login(b"dr@b.fr", b"secret"))
    assert TOKEN not in repr(sasl.read(XOAUTH2, f"user=dr@b.fr\1auth=Bearer {TOKEN}\1\1".encode()))
