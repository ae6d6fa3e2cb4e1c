"""What leaves from a form of ours: the one way from what was written to the acceptor, and a copy in the sent folder.

A form sent twice (a double click, a reload) is one message: its id and its date are in the form, so the second is the
same bytes, its signature too, which `accept` recognises.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.requests import Request

from server.base import clock
from server.base.errors import CaduceeError, ProtocolViolation, Reason, Refused
from server.base.ids import trace_id
from server.mail.addresses import Mailbox
from server.mail.compose import Outgoing, compose
from server.mailbox.model import Flag
from server.transport.envelope import Envelope, Recipient, Source, SourceKind
from server.web.plain_text import clean_line
from server.web.services import services
from server.web.visitor import Visitor

# What the hidden field `envoi` holds: the seconds of the Date and the random part of the Message-ID.
_SENDING = re.compile(r"([0-9]{1,12})-([0-9a-f]{32})")
_FORM_LIFE = timedelta(hours=24)  # longer than any session, so that a form never outlives what it says
_LAST_SECOND = 2**33  # beyond it datetime cannot follow


@dataclass(frozen=True, slots=True)
class Written:
    """What a person wrote. `to` are normalised addresses, `sending` the form's own field `envoi`."""

    to: Sequence[str]
    subject: str
    text: str
    sending: str
    in_reply_to: str = ""
    references: Sequence[str] = ()


class NotTo(Exception):
    """Some recipients may not be written to: address and why, in the order of the form. Nothing was sent."""

    def __init__(self, objections: Sequence[tuple[str, CaduceeError]]) -> None:
        super().__init__("recipients refused")
        self.objections = objections


def new_sending() -> str:
    """The field `envoi` of a form that is shown now."""
    return f"{int(clock.now().timestamp())}-{secrets.token_hex(16)}"


def is_sending(text: str) -> bool:
    """Whether it looks like one of ours, so that a form shown again keeps it."""
    return _SENDING.fullmatch(text) is not None


async def send(request: Request, visitor: Visitor, written: Written) -> None:
    """Accept the message for all recipients or none; keep a copy as read.

    Raises NotTo, what policy and acceptor refuse of the message as a whole, ProtocolViolation for a form that was
    tampered with.
    """
    room, principal = services(request), visitor.principal
    sent_at, name = _read_sending(written.sending)
    await room.policy.sender(principal, principal.address)
    answers = await room.policy.recipients(principal, written.to)
    objections, recipients = [], []
    for address, answer in zip(written.to, answers, strict=True):
        if isinstance(answer, CaduceeError):
            objections.append((address, answer))
        else:
            recipients.append(Recipient(address, answer))
    if objections:
        raise NotTo(objections)
    outgoing = Outgoing(
        sender=Mailbox.of(clean_line(visitor.identity.name), principal.address),
        to=tuple(Mailbox.of("", address) for address in written.to),
        subject=written.subject,
        text=written.text,
        date=sent_at,
        message_id=f"<{name}@{room.settings.domain}>",
        in_reply_to=written.in_reply_to,
        references=written.references,
    )
    data = compose(outgoing, await visitor.mailbox.signer(sent_at) if room.settings.sign_messages else None)
    content = await room.policy.content(principal, principal.address, tuple(recipients), data)
    envelope = Envelope(
        reverse_path=principal.address,
        recipients=tuple(recipients),
        source=Source(
            SourceKind.WEB,
            principal.actor,
            principal=principal.owner_id,
            protocol="HTTPS",
            mailbox=principal.kind,
        ),
        received_at=clock.now(),
        trace_id=trace_id(),
        turn=content.turn,
    )
    accepted = await room.acceptor.accept(envelope, data)
    if not accepted.repeated:
        sent = next(folder for folder in await visitor.mailbox.folders() if folder.special_use == "\\Sent")
        await visitor.mailbox.append(sent.folder_id, data, Flag.SEEN)


def _read_sending(sending: str) -> tuple[datetime, str]:
    """The date and the message's random name out of the form. Raises ProtocolViolation when it was tampered with."""
    match = _SENDING.fullmatch(sending)
    if match is None:
        raise ProtocolViolation(Reason.MALFORMED, "The form is not as it was given.")
    made_at = datetime.fromtimestamp(min(int(match[1]), _LAST_SECOND), UTC)
    if not timedelta(0) <= clock.now() - made_at <= _FORM_LIFE:
        raise Refused(Reason.MALFORMED, "The form is too old.")
    return made_at, match[2]
