"""Answers: the one table from `Reason` to a response code (RFC 5530, RFC 9051 §7.1), and how they are written.

A sentence may be shown to a stranger: it holds no name, no address, no cause of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from server.base.errors import CaduceeError, Reason

_R = Reason
# Reason → response code of the NO. A reason that no IMAP command can meet answers as its nearest relative.
CODES: dict[Reason, bytes] = {
    _R.BAD_CREDENTIALS: b"AUTHENTICATIONFAILED",
    _R.AUTHENTICATION_REQUIRED: b"AUTHORIZATIONFAILED",
    _R.TLS_REQUIRED: b"PRIVACYREQUIRED",
    _R.NOT_ALLOWED: b"NOPERM",
    _R.PEER_NOT_TRUSTED: b"NOPERM",
    _R.CERTIFICATE_REVOKED: b"NOPERM",
    _R.REVOCATION_UNKNOWN: b"UNAVAILABLE",
    _R.PROVIDER_AWAY: b"UNAVAILABLE",
    _R.THROTTLED: b"UNAVAILABLE",
    _R.UNKNOWN_RECIPIENT: b"AUTHENTICATIONFAILED",  # an account without a mailbox answers as a wrong password does
    _R.RECIPIENT_CLOSED: b"AUTHENTICATIONFAILED",
    _R.NO_ROUTE: b"CANNOT",
    _R.NO_RELAY: b"NOPERM",
    _R.NO_CONVERSATION: b"NOPERM",
    _R.NOT_ANSWERABLE: b"NOPERM",
    _R.BAD_PATIENT_ADDRESS: b"CANNOT",
    _R.MAIL_OPPOSED: b"NOPERM",
    _R.TOO_MANY_UNKNOWN: b"LIMIT",
    _R.TOO_MANY_RECIPIENTS: b"LIMIT",
    _R.MAILBOX_FULL: b"OVERQUOTA",
    _R.SENDER_NOT_YOURS: b"NOPERM",
    _R.BAD_ADDRESS: b"CANNOT",
    _R.REPORTS_ONLY: b"CANNOT",
    _R.SENT_TOO_MUCH: b"LIMIT",
    _R.TOO_LARGE: b"TOOBIG",
    _R.TOO_LARGE_FOR_PATIENT: b"TOOBIG",
    _R.BARE_LINE_ENDING: b"CANNOT",
    _R.SIGNATURE_REQUIRED: b"NOPERM",
    _R.MALFORMED: b"CLIENTBUG",
    _R.NO_SUCH_FOLDER: b"NONEXISTENT",
    _R.FOLDER_EXISTS: b"ALREADYEXISTS",
    _R.BAD_FOLDER_NAME: b"CANNOT",
    _R.BAD_SPECIAL_USE: b"USEATTR",  # RFC 6154 §3
    _R.FOLDER_PROTECTED: b"CANNOT",
    _R.NO_SUCH_MESSAGE: b"EXPUNGEISSUED",
    _R.CONTENT_DAMAGED: b"CORRUPTION",
    _R.ADDRESS_TAKEN: b"ALREADYEXISTS",
    _R.LIMIT_REACHED: b"LIMIT",
    _R.STORE_AWAY: b"UNAVAILABLE",
    _R.STORE_FULL: b"UNAVAILABLE",
    _R.BUSY: b"INUSE",
    _R.SHUTTING_DOWN: b"UNAVAILABLE",
    _R.INTERNAL: b"SERVERBUG",
}

_UNSAFE = re.compile(rb"[^\x20-\x7e]|\]")


@dataclass(frozen=True, slots=True)
class Done:
    """A command that succeeded: the text and code of its tagged OK."""

    text: str
    code: bytes = b""


class Declined(Exception):
    """A command that cannot succeed for a reason of IMAP itself (not of the domain): a tagged NO with its code."""

    def __init__(self, code: bytes, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Illegal(Exception):
    """A command that is well formed and senseless here: a tagged BAD, with a code where one was defined for it."""

    def __init__(self, text: str, code: bytes = b"") -> None:
        super().__init__(text)
        self.code = code


class Desynchronised(Exception):
    """An answer broke off inside a literal: only closing the connection tells the client."""


def no(tag: bytes, error: CaduceeError) -> bytes:
    return status(tag, b"NO", error.sentence, CODES.get(error.reason, b"SERVERBUG"))


def status(tag: bytes, word: bytes, text: str, code: bytes = b"") -> bytes:
    """`tag` OK|NO|BAD|BYE [code] text; whatever the text holds, the line stays one line of ASCII."""
    plain = _UNSAFE.sub(b"?", text.encode("ascii", "replace")) or b"."
    return b"%s %s %s%s\r\n" % (tag, word, b"[%s] " % code if code else b"", plain)


def untagged(word: bytes, text: str, code: bytes = b"") -> bytes:
    return status(b"*", word, text, code)
