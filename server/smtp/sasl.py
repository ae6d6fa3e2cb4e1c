"""Sign-in data of AUTH: base64 and the PLAIN message (RFC 4954 §4, RFC 4616 §2; draft-murchison-sasl-login)."""

from __future__ import annotations

import binascii
from typing import NamedTuple

from server.base.errors import ProtocolViolation, Reason

MECHANISMS = ("PLAIN", "LOGIN")
CANCEL = b"*"
# The words that clients of LOGIN look for.
LOGIN_NAME = b"Username:"
LOGIN_PASSWORD = b"Password:"


class Credentials(NamedTuple):
    """What was given to sign in; the representation hides the password."""

    address: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(...)"


def decode(word: bytes) -> bytes:
    """Strict base64; "=" alone is the empty initial response (RFC 4954 §4). Raises ProtocolViolation MALFORMED."""
    if word == b"=":
        return b""
    try:
        decoded = binascii.a2b_base64(word, strict_mode=True)
    except binascii.Error:
        raise ProtocolViolation(Reason.MALFORMED, "not base64") from None
    # RFC 4648 §3.2, §3.5: Python's strict mode still takes padding that nothing needs, and stray last bits.
    if binascii.b2a_base64(decoded, newline=False) != word:
        raise ProtocolViolation(Reason.MALFORMED, "not base64")
    return decoded


def encode(challenge: bytes) -> str:
    """The text of a 334 reply."""
    return binascii.b2a_base64(challenge, newline=False).decode()


def plain(message: bytes) -> Credentials:
    """[authzid] NUL authcid NUL passwd (RFC 4616 §2); an authzid other than the authcid is refused.

    Raises ProtocolViolation MALFORMED.
    """
    parts = message.split(b"\0")
    if len(parts) != 3 or not parts[1] or not parts[2] or parts[0] not in (b"", parts[1]):
        raise ProtocolViolation(Reason.MALFORMED, "PLAIN malformed")
    return credentials(parts[1], parts[2])


def credentials(name: bytes, password: bytes) -> Credentials:
    """Both as text. Raises ProtocolViolation MALFORMED: not UTF-8, or a NUL inside."""
    if b"\0" in name or b"\0" in password:
        raise ProtocolViolation(Reason.MALFORMED, "NUL in sign-in data")
    try:
        return Credentials(name.decode(), password.decode())
    except UnicodeDecodeError:
        raise ProtocolViolation(Reason.MALFORMED, "sign-in data is not UTF-8") from None
