"""Commands before sign-in: STARTTLS, AUTHENTICATE, LOGIN (RFC 9051 §6.2)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from server.base.errors import ProtocolViolation, Reason, Refused
from server.imap.command import Bare
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.responses import Declined, Done, Illegal
from server.imap.session import Session

MECHANISMS = ("PLAIN",)


@dataclass(frozen=True, slots=True)
class Login:
    user: bytes
    password: bytes = field(repr=False)


def parse_login(cursor: Cursor) -> Login:
    """login = "LOGIN" SP userid SP password"""
    cursor.sp()
    user = cursor.astring("a user name")
    cursor.sp()
    return Login(user, cursor.astring("a password"))


async def login(session: Session, command: Login) -> Done:
    return await _sign_in(session, command.user, command.password, "LOGIN")


@dataclass(frozen=True, slots=True)
class Authenticate:
    """`response` is the decoded client response; None until the client was asked for it."""

    mechanism: str
    response: bytes | None = field(repr=False)


def parse_authenticate(cursor: Cursor) -> Authenticate:
    """authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp] ; initial-resp = base64 / "=" (RFC 4959)"""
    cursor.sp()
    mechanism = cursor.word("a mechanism")
    if not cursor.take(b" "):
        return Authenticate(mechanism, None)
    encoded = cursor.text[cursor.at :]
    cursor.at = len(cursor.text)
    return Authenticate(mechanism, b"" if encoded == b"=" else decode(encoded))


def decode(encoded: bytes) -> bytes:
    """A base64 line of SASL. Raises BadSyntax; "*" means that the client gave up."""
    if encoded == b"*":
        raise BadSyntax("Authentication cancelled")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise BadSyntax("Expected base64") from None


def needs_answer(command: Authenticate, secure: bool) -> bool:
    """Whether to prompt for the client's response; a mechanism that will be refused is refused without it."""
    return command.response is None and secure and command.mechanism in MECHANISMS


async def authenticate(session: Session, command: Authenticate) -> Done:
    _require_tls(session)
    if command.mechanism not in MECHANISMS or command.response is None:
        raise Declined(b"CANNOT", "Unknown mechanism")
    # RFC 4616 §2: message = [authzid] UTF8NUL authcid UTF8NUL passwd
    pieces = command.response.split(b"\0")
    if len(pieces) != 3:
        raise Illegal("Not a PLAIN response")
    as_whom, user, password = pieces
    if as_whom and as_whom != user:
        raise Declined(b"AUTHORIZATIONFAILED", "Acting for another account is not offered")
    return await _sign_in(session, user, password, "AUTHENTICATE")


async def _sign_in(session: Session, user: bytes, password: bytes, verb: str) -> Done:
    _require_tls(session)
    try:
        names = user.decode("utf-8"), password.decode("utf-8")
    except UnicodeDecodeError:
        # Same answer as a wrong password: nothing tells which names could exist.
        raise Refused(Reason.BAD_CREDENTIALS, WRONG) from None
    try:
        await session.sign_in(*names)
    except (Refused, ProtocolViolation) as refusal:
        # RFC 5530 §3, AUTHENTICATIONFAILED; equal for an unknown user, a closed mailbox and a wrong password.
        session.services.log.info("imap_sign_in_refused", reason=refusal.reason.value)
        raise Refused(Reason.BAD_CREDENTIALS, WRONG) from refusal
    return Done(f"{verb} completed", b"CAPABILITY " + session.capabilities())


WRONG = "Unknown address or wrong password"


def _require_tls(session: Session) -> None:
    # RFC 3501 §6.2.3, LOGINDISABLED
    if not session.secure:
        raise Refused(Reason.TLS_REQUIRED, "Start TLS before you sign in")


async def starttls(session: Session, command: Bare) -> Done:
    """The edge shakes hands after the tagged OK (RFC 9051 §6.2.1)."""
    if session.secure:
        raise Illegal("TLS is already active")
    return Done("Begin TLS negotiation now")
