"""Delivery status notifications (RFC 3464, RFC 6522; RFC 6533 for other than ASCII): French first, then English.

The envelope of a notification has the null reverse-path (RFC 3461 §6.1); of the message concerned it returns the header
alone, since its content is health data that its sender has already.
"""

from __future__ import annotations

import email.utils
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from server.base.errors import Reason, Refused
from server.base.limits import SUMMARY_HEADER_BYTES
from server.mail import xtext
from server.mail.addresses import Mailbox
from server.mail.compose import Outgoing, checked, header, multipart, text_part

_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_DIAGNOSTIC = 500  # characters of another server's reply; a line may have 998


class Action(StrEnum):
    """What became of a recipient (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


_HEADLINES = {
    Action.FAILED: ("Message non remis", "Message not delivered"),
    Action.DELAYED: ("Message retardé", "Message delayed"),
    Action.DELIVERED: ("Message remis", "Message delivered"),
    Action.RELAYED: ("Message transmis", "Message relayed"),
    Action.EXPANDED: ("Message remis à une liste", "Message delivered to a list"),
}
_OPENINGS = {
    Action.FAILED: (
        "Votre message n’a pas pu être remis aux destinataires suivants, et ne sera pas renvoyé :",
        "Your message could not be delivered to these recipients and will not be tried again:",
    ),
    Action.DELAYED: (
        "Votre message n’est pas encore remis aux destinataires suivants. Il attend, et vous n’avez rien à faire :",
        "Your message is not yet delivered to these recipients. It waits; there is nothing that you need to do:",
    ),
    Action.DELIVERED: (
        "Votre message a été remis aux destinataires suivants :",
        "Your message was delivered to these recipients:",
    ),
    Action.RELAYED: (
        "Votre message a été transmis pour les destinataires suivants à un serveur qui n’envoie pas d’avis de remise :",
        "For these recipients your message was passed to a server that does not tell of delivery:",
    ),
    Action.EXPANDED: (
        "Votre message a été remis à une liste, qui l’a distribué à ses membres :",
        "Your message was delivered to a list, which passed it on to its members:",
    ),
}


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """One recipient of the message concerned.

    `status`: enhanced code (RFC 3463). `french` and `english`: why, a sentence each. `original`: ORCPT as it was given
    ("rfc822;…"), "" for none. `diagnostic`: another server's reply, "" for none, and `remote` that server's name.
    """

    address: str
    action: Action
    status: str
    french: str
    english: str
    original: str = ""
    remote: str = ""
    diagnostic: str = ""
    retry_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """What a notification tells. `reporting`: our name; `returned`: the top header of the message concerned."""

    reporting: str
    to: str
    arrived_at: datetime
    recipients: tuple[RecipientStatus, ...]
    returned: bytes
    date: datetime
    message_id: str
    in_reply_to: str = ""
    envelope_id: str = ""  # ENVID (RFC 3461 §4.4)


def notification(report: Notification) -> bytes:
    """The bytes of a delivery status notification.

    Raises Refused(MALFORMED): no recipient, a status that is no code, a control character in a value;
    ProtocolViolation(BAD_ADDRESS): nobody to send it to.
    """
    if not report.recipients:
        raise Refused(Reason.MALFORMED, "A notification tells of at least one recipient.")
    # A failure leads, however many others were served.
    leading = min((recipient.action for recipient in report.recipients), key=list(Action).index)
    french, english = _HEADLINES[leading]
    outgoing = Outgoing(
        sender=Mailbox("Remise des messages / Mail delivery", "postmaster", report.reporting),
        to=(Mailbox.of("", report.to),),
        subject=f"{french} / {english}",
        text="",
        date=report.date,
        message_id=report.message_id,
        in_reply_to=report.in_reply_to,
        # RFC 3834 §5: nobody answers this by machine.
        extra=(("Auto-Submitted", "auto-replied"),),
    )
    status = _delivery_status(report)
    kind = "message/delivery-status" if status.isascii() else "message/global-delivery-status"
    parts = [text_part(_text(report)), _part(kind, status), _returned(report.returned)]
    return header(outgoing) + multipart("report", parts, report.message_id, "; report-type=delivery-status")


def _text(report: Notification) -> str:
    languages = []
    for language in (0, 1):
        paragraphs = []
        for action in Action:
            told = [recipient for recipient in report.recipients if recipient.action is action]
            if told:
                lines = "\n".join(_line(recipient, language) for recipient in told)
                paragraphs.append(f"{_OPENINGS[action][language]}\n\n{lines}")
        languages.append("\n\n".join(paragraphs))
    return "\n\n* * *\n\n".join(languages) + "\n"


def _line(recipient: RecipientStatus, language: int) -> str:
    reason = (recipient.french, recipient.english)[language]
    said = ("Réponse du serveur distant", "The other server said")[language]
    colon = (" :", ":")[language]
    line = f"  {checked(recipient.address)}\n    {checked(reason)} ({recipient.status})"
    if recipient.diagnostic:
        line += f"\n    {said}{colon} {checked(recipient.diagnostic)[:_DIAGNOSTIC]}"
    return line


def _delivery_status(report: Notification) -> bytes:
    """Per-message fields, then a group for each recipient, an empty line between (RFC 3464 §2.1)."""
    fields = [f"Reporting-MTA: dns; {checked(report.reporting)}"]
    if report.envelope_id:
        fields.insert(0, f"Original-Envelope-Id: {checked(xtext.decode(report.envelope_id) or report.envelope_id)}")
    fields.append(f"Arrival-Date: {email.utils.format_datetime(report.arrived_at)}")
    groups = [fields, *(_recipient_fields(recipient) for recipient in report.recipients)]
    return "\r\n".join("".join(f"{line}\r\n" for line in group) for group in groups).encode("utf-8")


def _recipient_fields(recipient: RecipientStatus) -> list[str]:
    if not _STATUS.fullmatch(recipient.status):
        raise Refused(Reason.MALFORMED, "A status has three numbers.")
    # RFC 6533 §3: the address type utf-8 for what is not ASCII.
    kind = "rfc822" if recipient.address.isascii() else "utf-8"
    fields = [f"Original-Recipient: {checked(_original(recipient.original))}"] if recipient.original else []
    fields += [
        f"Final-Recipient: {kind}; {checked(recipient.address)}",
        f"Action: {recipient.action.value}",
        f"Status: {recipient.status}",
    ]
    if recipient.remote:
        fields.append(f"Remote-MTA: dns; {checked(recipient.remote)}")
    if recipient.diagnostic:
        fields.append(f"Diagnostic-Code: smtp; {checked(recipient.diagnostic)[:_DIAGNOSTIC]}")
    if recipient.retry_until is not None:
        fields.append(f"Will-Retry-Until: {email.utils.format_datetime(recipient.retry_until)}")
    return fields


def _original(given: str) -> str:
    """ORCPT as a field tells it: xtext undone (RFC 3461 §6.3 b); what is of another form stays as it was given."""
    kind, _, address = given.partition(";")
    return f"{kind};{xtext.decode(address) or address}"


def _returned(block: bytes) -> bytes:
    """The header of the message concerned (RFC 6522 §4), without what could close our multipart or hide in it."""
    block = block[:SUMMARY_HEADER_BYTES].replace(b"\0", b"").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    block = block.rstrip(b"\n").replace(b"\n", b"\r\n") + b"\r\n"
    return _part("text/rfc822-headers" if block.isascii() else "message/global-headers", block)


def _part(content_type: str, body: bytes) -> bytes:
    # RFC 6533 §6: global types are UTF-8 and travel as 8bit.
    encoding = "" if body.isascii() else "Content-Transfer-Encoding: 8bit\r\n"
    return f"Content-Type: {content_type}\r\n{encoding}\r\n".encode() + body
