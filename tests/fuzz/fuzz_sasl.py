"""Invariant: whatever a client says to sign in, by any mechanism, is one of the three kinds of proof or MALFORMED and
never anything else; what is understood holds no NUL, a token only a token's characters, a representation no secret.

The input is one message, as the client's base64 and as what it decodes to.
"""

from __future__ import annotations

import re

from server.base.errors import ProtocolViolation
from server.identity import sasl

MECHANISMS = (sasl.PLAIN, sasl.EXTERNAL, sasl.XOAUTH2, sasl.OAUTHBEARER)


def fuzz(data: bytes) -> None:
    for mechanism in MECHANISMS:
        _read(mechanism, data)
    half = len(data) // 2
    try:
        sasl.login(data[:half], data[half:])
        message = sasl.decode(data)
    except ProtocolViolation:
        return
    assert data == b"=" or sasl.encode(message) == data


def _read(mechanism: str, data: bytes) -> None:
    try:
        given = sasl.read(mechanism, data)
    except ProtocolViolation:
        return
    assert "\0" not in given.mailbox
    if isinstance(given, sasl.AppPassword):
        assert given.address
        assert given.password
        assert "\0" not in given.address + given.password
        assert f"password={given.password!r}" not in repr(given)
    elif isinstance(given, sasl.Bearer):
        assert re.fullmatch(r"[A-Za-z0-9._~+/=-]*", given.token)
        assert "token=" not in repr(given)[len(f"Bearer(mailbox={given.mailbox!r}") :]
    else:
        assert given.mailbox.encode() == data
