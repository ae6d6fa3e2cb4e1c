"""Sign-in data: what is taken and what is not."""

from __future__ import annotations

import base64

import pytest

from server.base.errors import ProtocolViolation
from server.smtp import sasl


@pytest.mark.parametrize("authzid", [b"", b"dr@b.fr"])
def test_plain(authzid: bytes) -> None:
    assert sasl.plain(authzid + b"\0dr@b.fr\0secret") == ("dr@b.fr", "secret")


@pytest.mark.parametrize(
    "message", [b"", b"a", b"a\0b", b"\0\0", b"\0a\0", b"\0\0p", b"other\0a\0p", b"\0a\0p\0", b"\0\xff\0p"]
)
def test_bad_plain(message: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        sasl.plain(message)


@pytest.mark.parametrize(
    "word", [b"a", b"YQ", b"YQ=", b"Y Q==", b"YQ==\t", b"YQ==YQ==", b"YR==", b"EAYg==", b"\xff\xff\xff\xff", b"*"]
)
def test_base64_is_strict(word: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        sasl.decode(word)


def test_base64() -> None:
    assert sasl.decode(base64.b64encode(b"\0a\0p")) == b"\0a\0p"
    assert sasl.decode(b"=") == b""
    assert sasl.encode(sasl.LOGIN_NAME) == "VXNlcm5hbWU6"


def test_the_password_shows_nowhere() -> None:
    assert "secret" not in repr(sasl.plain(b"\0dr@b.fr\0secret"))
