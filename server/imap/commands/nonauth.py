"""Commands before sign-in: STARTTLS, AUTHENTICATE, LOGIN (RFC 9051 §6.2)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from server.base.errors import ProtocolViolation, Reason, Refused
from server.identity import sasl
from server.imap.command import Bare
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.responses import Declined, Done, Illegal
from server.imap.session import Session


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
    _require_tls(session)
    try:
        given = sasl.login(command.user, command.password)
    except ProtocolViolation:
        # Same answer as a wrong password: nothing tells which names could exist.
        raise Refused(Reason.BAD_CREDENTIALS, WRONG) from None
    return await _sign_in(session, given, "LOGIN")


@dataclass(frozen=True, slots=True)
class Authenticate:
    """`response` is the decoded client response, None until the client was asked for it; `refused` once a token was
    refused and the client was told why."""

    mechanism: str
    response: bytes | None = field(repr=False)
    refused: bool = False


class Challenge(Exception):
    """The exchange goes on: say `encoded`, and run `command` with the client's answer."""

    def __init__(self, challenge: bytes, command: Authenticate) -> None:
        super().__init__("challenge")
        self.encoded = sasl.encode(challenge)
        self.command = command


def parse_authenticate(cursor: Cursor) -> Authenticate:
    """authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp] ; initial-resp = base64 / "=" (RFC 4959)"""
    cursor.sp()
    mechanism = cursor.word("a mechanism")
    if not cursor.take(b" "):
        return Authenticate(mechanism, None)
    encoded = cursor.text[cursor.at :]
    cursor.at = len(cursor.text)
    return answered(Authenticate(mechanism, None), encoded)


def answered(command: Authenticate, line: bytes) -> Authenticate:
    """The command with a base64 line of the client's. Raises BadSyntax; "*" means that the client gave up."""
    if line == sasl.CANCEL:
        raise BadSyntax("Authentication cancelled")
    try:
        return replace(command, response=sasl.decode(line))
    except ProtocolViolation:
        raise BadSyntax("Expected base64") from None


def needs_answer(session: Session, command: Authenticate) -> bool:
    """Whether to prompt for the client's response; a mechanism that will be refused is refused without it."""
    return command.response is None and session.secure and command.mechanism in session.mechanisms


async def authenticate(session: Session, command: Authenticate) -> Done:
    _require_tls(session)
    if command.refused:
        raise Refused(Reason.BAD_CREDENTIALS, WRONG)
    if command.mechanism not in session.mechanisms or command.response is None:
        raise Declined(b"CANNOT", "Unknown mechanism")
    try:
        given = sasl.read(command.mechanism, command.response)
    except ProtocolViolation as error:
        raise Illegal(error.sentence) from None
    try:
        return await _sign_in(session, given, "AUTHENTICATE")
    except Refused:
        if not isinstance(given, sasl.Bearer):
            raise
        # RFC 7628 §3.2.3: the client is told why, answers with nothing of meaning, and then it has failed.
        challenge = sasl.refusal(command.mechanism)
        raise Challenge(challenge, Authenticate(command.mechanism, None, refused=True)) from None


async def _sign_in(session: Session, given: sasl.Given, verb: str) -> Done:
    try:
        await session.sign_in(given)
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
