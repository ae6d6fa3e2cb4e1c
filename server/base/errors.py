"""The three kinds of trouble, in the words of the domain.

`Refused`: the caller's fault, permanent. `TryLater`: ours or a dependency's, temporary. `ProtocolViolation`: malformed.
Each carries a stable `Reason` and a sentence for a person; none knows a wire code. Each edge has one table that maps
`Reason` to its reply. What is none of these three is unknown trouble: the edge answers "temporary", logs privately.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class Reason(StrEnum):
    """Why something was not done. Closed: an edge's table must hold every row (a test proves it)."""

    # who speaks
    BAD_CREDENTIALS = "bad-credentials"
    AUTHENTICATION_REQUIRED = "authentication-required"
    TLS_REQUIRED = "tls-required"
    NOT_ALLOWED = "not-allowed"
    PEER_NOT_TRUSTED = "peer-not-trusted"
    CERTIFICATE_REVOKED = "certificate-revoked"
    REVOCATION_UNKNOWN = "revocation-unknown"
    PROVIDER_AWAY = "provider-away"
    THROTTLED = "throttled"
    # who is written to
    UNKNOWN_RECIPIENT = "unknown-recipient"
    RECIPIENT_CLOSED = "recipient-closed"
    NO_ROUTE = "no-route"
    NO_RELAY = "no-relay"
    NO_CONVERSATION = "no-conversation"
    NOT_ANSWERABLE = "not-answerable"
    BAD_PATIENT_ADDRESS = "bad-patient-address"
    MAIL_OPPOSED = "mail-opposed"
    TOO_MANY_UNKNOWN = "too-many-unknown"
    TOO_MANY_RECIPIENTS = "too-many-recipients"
    MAILBOX_FULL = "mailbox-full"
    # what is written
    SENDER_NOT_YOURS = "sender-not-yours"
    BAD_ADDRESS = "bad-address"
    REPORTS_ONLY = "reports-only"
    SENT_TOO_MUCH = "sent-too-much"
    TOO_LARGE = "too-large"
    TOO_LARGE_FOR_PATIENT = "too-large-for-patient"
    BARE_LINE_ENDING = "bare-line-ending"
    SIGNATURE_REQUIRED = "signature-required"
    MALFORMED = "malformed"
    # the store
    NO_SUCH_FOLDER = "no-such-folder"
    FOLDER_EXISTS = "folder-exists"
    BAD_FOLDER_NAME = "bad-folder-name"
    BAD_SPECIAL_USE = "bad-special-use"
    FOLDER_PROTECTED = "folder-protected"
    NO_SUCH_MESSAGE = "no-such-message"
    CONTENT_DAMAGED = "content-damaged"
    ADDRESS_TAKEN = "address-taken"
    LIMIT_REACHED = "limit-reached"
    # us
    STORE_AWAY = "store-away"
    STORE_FULL = "store-full"
    BUSY = "busy"
    SHUTTING_DOWN = "shutting-down"
    INTERNAL = "internal"


class CaduceeError(Exception):
    """Base of the three kinds, never raised itself. `sentence` may be shown to a stranger: no secret or health data."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence


class Refused(CaduceeError):
    """The caller's fault: the same request will be refused again."""


class NoSuchMailbox(Refused):
    """UNKNOWN_RECIPIENT, and which addresses here it may have meant (only for who may be told)."""

    def __init__(self, nearest: Sequence[str] = ()) -> None:
        super().__init__(Reason.UNKNOWN_RECIPIENT, "There is no such mailbox.")
        self.nearest = tuple(nearest)


class TryLater(CaduceeError):
    """Our fault or a dependency's: the same request may pass later."""


class ProtocolViolation(CaduceeError):
    """What came is not what the protocol says."""
