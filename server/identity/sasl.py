"""What a client says to sign in, by SASL mechanism: bytes in, one of three kinds of proof out. No socket, no account.

    PLAIN        RFC 4616 §2        [authzid] NUL authcid NUL passwd
    LOGIN        draft-murchison    name and password, one after the other (SMTP alone)
    EXTERNAL     RFC 4422 App. A    [authzid]: who it is was proven below, by a client certificate
    XOAUTH2      Google, Microsoft  "user=" mailbox ^A "auth=Bearer " token ^A ^A
    OAUTHBEARER  RFC 7628 §3.1      gs2-header ^A *(key "=" value ^A) ^A

The mailbox that is opened may be another than the person's who proves who they are: PLAIN's and EXTERNAL's authzid,
XOAUTH2's user, OAUTHBEARER's "a=". Whether it may be, the accounts say. A password or token shows in no representation.
"""

from __future__ import annotations

import binascii
import json
import re
from dataclasses import dataclass, field

from server.base.errors import ProtocolViolation, Reason

PLAIN, LOGIN, EXTERNAL, XOAUTH2, OAUTHBEARER = "PLAIN", "LOGIN", "EXTERNAL", "XOAUTH2", "OAUTHBEARER"
CANCEL = b"*"
# The words that clients of LOGIN look for.
LOGIN_NAME = b"Username:"
LOGIN_PASSWORD = b"Password:"

# RFC 6750 §2.1
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
# RFC 5801 §4, without channel binding, which is not offered: gs2-cbind-flag "," [ "a=" saslname ] ","
_GS2 = re.compile(r"[ny],(?:a=((?:[^\x00,=]|=2C|=3D)+))?,")
# RFC 7628 §3.1: key = 1*(ALPHA); value = *(VCHAR / SP / HTAB / CR / LF)
_FIELD = re.compile(r"([A-Za-z]+)=([\x20-\x7e\t\r\n]*)")
_XOAUTH2 = re.compile(r"user=([^\x00-\x1f]+)\x01auth=([\x20-\x7e]*)\x01\x01")
_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class AppPassword:
    """An address with its password; `mailbox` the one to open, "" for the address's own."""

    mailbox: str
    address: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token of an identity provider and the mailbox to open ("" when none was named); a token may be ""."""

    mailbox: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class External:
    """The proof is the client certificate of the TLS session; `mailbox` the one to open, "" for its only one."""

    mailbox: str


Given = AppPassword | Bearer | External


def read(mechanism: str, message: bytes) -> Given:
    """The client's one message of any mechanism but LOGIN. Raises ProtocolViolation MALFORMED."""
    if mechanism == PLAIN:
        return plain(message)
    text = _text(message)
    if mechanism == EXTERNAL:
        return External(text)
    if mechanism == XOAUTH2:
        match = _XOAUTH2.fullmatch(text)
        if match is None:
            raise _malformed()
        return Bearer(match[1], _token(match[2]))
    return _oauthbearer(text)


def plain(message: bytes) -> AppPassword:
    """Raises ProtocolViolation MALFORMED."""
    parts = message.split(b"\0")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise _malformed()
    return AppPassword(*map(_text, parts))


def login(name: bytes, password: bytes) -> AppPassword:
    """The two answers of LOGIN. Raises ProtocolViolation MALFORMED."""
    return AppPassword("", _text(name), _text(password))


def refusal(mechanism: str) -> bytes:
    """The challenge that tells a client its token was not accepted, before the exchange fails (RFC 7628 §3.2.2)."""
    status = "invalid_token" if mechanism == OAUTHBEARER else "401"  # XOAUTH2 gives the HTTP status
    return json.dumps({"status": status, "schemes": "bearer"}, separators=(",", ":")).encode()


def decode(word: bytes) -> bytes:
    """Strict base64; "=" alone is the empty initial response (RFC 4954 §4). Raises ProtocolViolation MALFORMED."""
    if word == b"=":
        return b""
    try:
        octets = binascii.a2b_base64(word, strict_mode=True)
    except binascii.Error:
        octets = b""
    # Only the one form of the octets (RFC 4648 §3.5): Python's strict mode lets padding pass that is too much.
    if encode(octets) != word:
        raise ProtocolViolation(Reason.MALFORMED, "Not base64")
    return octets


def encode(challenge: bytes) -> bytes:
    """A challenge as it goes on the wire."""
    return binascii.b2a_base64(challenge, newline=False)


def _oauthbearer(text: str) -> Bearer:
    header = _GS2.match(text)
    rest = text[header.end() :] if header else ""
    if header is None or not rest.startswith("\x01") or not rest.endswith("\x01\x01"):
        raise _malformed()
    found: dict[str, str] = {}
    for pair in rest[1:-2].split("\x01"):
        match = _FIELD.fullmatch(pair)
        if match is None or match[1].lower() in found:
            raise _malformed()
        found[match[1].lower()] = match[2]
    if "auth" not in found:
        raise _malformed()
    mailbox = (header[1] or "").replace("=2C", ",").replace("=3D", "=")
    return Bearer(mailbox, _token(found["auth"]))


def _token(value: str) -> str:
    """The token of an auth value; "" where it is empty, which asks how to sign in (RFC 7628 §4.3)."""
    if not value:
        return ""
    token = value[len(_BEARER) :].strip(" ")
    if value[: len(_BEARER)].lower() != _BEARER or not _TOKEN.fullmatch(token):
        raise _malformed()
    return token


def _text(octets: bytes) -> str:
    if b"\0" in octets:
        raise _malformed()
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise _malformed() from None


def _malformed() -> ProtocolViolation:
    return ProtocolViolation(Reason.MALFORMED, "Sign-in data is not what the mechanism says")
