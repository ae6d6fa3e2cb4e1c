"""The one table that maps a reason of the domain to the SMTP reply (docs/architecture.md, Errors)."""

from __future__ import annotations

from collections.abc import Mapping

from server.base.errors import CaduceeError, NoSuchMailbox, ProtocolViolation, Reason, Refused
from server.smtp import reply_codes as r
from server.smtp.reply_codes import Reply

REPLIES: Mapping[Reason, Reply] = {
    Reason.BAD_CREDENTIALS: r.BAD_CREDENTIALS,
    Reason.AUTHENTICATION_REQUIRED: r.AUTHENTICATION_REQUIRED,
    Reason.TLS_REQUIRED: r.TLS_REQUIRED,
    Reason.NOT_ALLOWED: r.NOT_ALLOWED,
    Reason.PEER_NOT_TRUSTED: r.PEER_NOT_TRUSTED,
    Reason.CERTIFICATE_REVOKED: r.CERTIFICATE_REVOKED,
    Reason.REVOCATION_UNKNOWN: r.REVOCATION_UNKNOWN,
    Reason.THROTTLED: r.THROTTLED,
    Reason.PROVIDER_AWAY: r.AUTH_TEMPORARY,
    Reason.UNKNOWN_RECIPIENT: r.UNKNOWN_RECIPIENT,
    Reason.RECIPIENT_CLOSED: r.RECIPIENT_CLOSED,
    Reason.NO_ROUTE: r.NO_ROUTE,
    Reason.NO_RELAY: r.NO_RELAY,
    Reason.NO_CONVERSATION: r.NO_CONVERSATION,
    Reason.NOT_ANSWERABLE: r.NOT_ANSWERABLE,
    Reason.BAD_PATIENT_ADDRESS: r.BAD_PATIENT_ADDRESS,
    Reason.MAIL_OPPOSED: r.MAIL_OPPOSED,
    Reason.TOO_MANY_UNKNOWN: r.TOO_MANY_UNKNOWN,
    Reason.TOO_MANY_RECIPIENTS: r.TOO_MANY_RECIPIENTS,
    Reason.MAILBOX_FULL: r.MAILBOX_FULL,
    Reason.SENDER_NOT_YOURS: r.SENDER_NOT_YOURS,
    Reason.BAD_ADDRESS: r.BAD_ADDRESS,
    Reason.REPORTS_ONLY: r.REPORTS_ONLY,
    Reason.SENT_TOO_MUCH: r.SENT_TOO_MUCH,
    Reason.TOO_LARGE: r.TOO_LARGE,
    Reason.TOO_LARGE_FOR_PATIENT: r.TOO_LARGE_FOR_PATIENT,
    Reason.BARE_LINE_ENDING: r.BARE_LINE_ENDING,
    Reason.SIGNATURE_REQUIRED: r.SIGNATURE_REQUIRED,
    Reason.MALFORMED: r.MALFORMED_CONTENT,
    # A folder or message is no matter of SMTP: if the store says so of a delivery, the delivery did not work.
    Reason.NO_SUCH_FOLDER: r.INTERNAL,
    Reason.FOLDER_EXISTS: r.INTERNAL,
    Reason.BAD_FOLDER_NAME: r.INTERNAL,
    Reason.BAD_SPECIAL_USE: r.INTERNAL,
    Reason.FOLDER_PROTECTED: r.INTERNAL,
    Reason.NO_SUCH_MESSAGE: r.URL_UNRESOLVED,
    Reason.CONTENT_DAMAGED: r.URL_UNRESOLVED,
    Reason.ADDRESS_TAKEN: r.INTERNAL,
    Reason.LIMIT_REACHED: r.INTERNAL,
    Reason.STORE_AWAY: r.INTERNAL,
    Reason.STORE_FULL: r.STORE_FULL,
    Reason.BUSY: r.BUSY,
    Reason.SHUTTING_DOWN: r.SHUTTING_DOWN,
    Reason.INTERNAL: r.INTERNAL,
}


class Objection(Exception):
    """A command is refused with this reply, for a reason that only SMTP knows."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


def reply_to(error: CaduceeError) -> Reply:
    """The reply that tells `error`; a temporary error never gets a permanent reply, nor the reverse."""
    reply = REPLIES.get(error.reason, r.INTERNAL)
    # RFC 5321 §4.5.3.1.5: 512 octets a line, which an address has for itself; one beyond ASCII is not for a reply.
    if isinstance(error, NoSuchMailbox) and (near := [one for one in error.nearest if one.isascii()]):
        return reply.saying("\n".join([reply.text, r.DID_YOU_MEAN, *near]))
    if isinstance(error, Refused | ProtocolViolation):
        return reply if reply.permanent or reply.code in _TEMPORARY_BY_RFC else r.REFUSED
    return r.INTERNAL if reply.permanent else reply


# Refusals that RFC 5321 wants temporary: §4.5.3.1.10 (100 recipients now, the others later), §4.2.3 (452).
_TEMPORARY_BY_RFC = frozenset({r.TOO_MANY_RECIPIENTS.code, r.INTERNAL.code, r.SHUTTING_DOWN.code, r.THROTTLED.code})
