"""Answering a message: to whom it goes is decided by the message, whether it may go by the policy of transport.

A form sent twice (a double click, a reload) is one message: its id and its date are in the form, so the second is the
same bytes, its signature too, which `accept` recognises.
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from server.base import clock
from server.base.errors import ProtocolViolation, Reason, Refused, TryLater
from server.base.ids import trace_id
from server.base.limits import WEB_REPLY_CHARACTERS
from server.mail.addresses import Mailbox, normalise, parse_path, valid
from server.mail.compose import Outgoing, compose
from server.mail.summary import Summary
from server.mailbox.model import Flag
from server.record.access import Act
from server.transport.envelope import Envelope, Recipient, Source, SourceKind
from server.transport.heading import takes_no_answer
from server.web.pages.place import find
from server.web.plain_text import clean, clean_line
from server.web.problems import problem_of
from server.web.renderer import words_of
from server.web.services import services
from server.web.visitor import Visitor, form_of, signed_in

router = APIRouter()

# What the hidden field `envoi` holds: the seconds of the Date and the random part of the Message-ID.
_SENDING = re.compile(r"([0-9]{1,12})-([0-9a-f]{32})")
_FORM_LIFE = timedelta(hours=24)  # longer than any session, so that a form never outlives what it says
_LAST_SECOND = 2**33  # beyond it datetime cannot follow
_ANSWER_MARKS = re.compile(r"(?:(?:re|rép|ré)\s*:\s*)+", re.IGNORECASE)


@router.get("/messages/{folder_id}/{uid}/reponse")
async def write(request: Request, folder_id: int, uid: int, visitor: Visitor = Depends(signed_in)) -> Response:
    """The empty form; who may not answer learns it before writing."""
    visitor.may(Act.ANSWER_MESSAGE).require()
    row, summary = await find(visitor, folder_id, uid)
    await services(request).policy.recipient(visitor.principal, _answered(request, visitor, summary), asking=True)
    await visitor.mailbox.content_read(visitor.principal.actor, [row.content_id], "web reply")
    return _form(request, visitor, folder_id, uid, summary, _new_sending())


@router.post("/messages/{folder_id}/{uid}/reponse")
async def send(request: Request, folder_id: int, uid: int, visitor: Visitor = Depends(signed_in)) -> Response:
    """Send the answer, keep a copy in the sent folder, mark the message as answered."""
    visitor.may(Act.ANSWER_MESSAGE).require()
    fields = await form_of(request, visitor.token)
    _, summary = await find(visitor, folder_id, uid)
    sending, text = fields.get("envoi", ""), clean(fields.get("texte", ""))
    say = words_of(request).say
    if not text.strip():
        error = say("Écrivez votre message avant de l’envoyer.")
        return _form(request, visitor, folder_id, uid, summary, sending, error=error)
    if len(text) > WEB_REPLY_CHARACTERS:
        error = say("Votre message est trop long. Raccourcissez-le, puis recommencez.")
        return _form(request, visitor, folder_id, uid, summary, sending, text=text, error=error)
    try:
        await _deliver(request, visitor, summary, text, sending)
    except (Refused, TryLater) as refusal:
        # What was written is never lost: the form comes back with it, and says why.
        error, status = say(problem_of(refusal).sentence), problem_of(refusal).status
        return _form(request, visitor, folder_id, uid, summary, sending, text=text, error=error, status=status)
    if visitor.may(Act.CHANGE_MESSAGE).allowed:
        await visitor.mailbox.store(folder_id, [uid], "add", Flag.ANSWERED)
    return RedirectResponse(f"/messages/{folder_id}/{uid}?envoyee=1", 303)


async def _deliver(request: Request, visitor: Visitor, summary: Summary, text: str, sending: str) -> None:
    room = services(request)
    principal, address = visitor.principal, _answered(request, visitor, summary)
    sent_at, name = _read_sending(sending)
    await room.policy.sender(principal, principal.address)
    route = await room.policy.recipient(principal, address)
    outgoing = Outgoing(
        sender=_mailbox(principal.address, visitor.identity.name),
        to=(_mailbox(address),),
        subject=answer_subject(summary.subject),
        text=text,
        date=sent_at,
        message_id=f"<{name}@{room.settings.domain}>",
        in_reply_to=summary.message_id,
        references=summary.references,
    )
    data = compose(outgoing, await visitor.mailbox.signer(sent_at) if room.settings.sign_messages else None)
    recipients = (Recipient(address, route),)
    content = await room.policy.content(principal, principal.address, recipients, data)
    envelope = Envelope(
        reverse_path=principal.address,
        recipients=recipients,
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


def _answered(request: Request, visitor: Visitor, summary: Summary) -> str:
    """Whom an answer goes to: Reply-To when there is one (RFC 5322 §3.6.2) that may be, else From.

    Raises Refused: BAD_ADDRESS, NOT_ANSWERABLE.
    """
    if visitor.is_patient and takes_no_answer(summary.header):
        raise Refused(Reason.NOT_ANSWERABLE, "This message takes no answer.")
    named = [people[0].address for people in (summary.reply_to, summary.from_) if people and valid(people[0].address)]
    address = services(request).policy.answered(visitor.principal, named)
    if address is None:
        raise Refused(Reason.BAD_ADDRESS, "The message names nobody to answer.")
    return address


def _mailbox(address: str, name: str = "") -> Mailbox:
    found = parse_path(address)
    if found is None:  # the empty path, which `_answered` has refused
        raise Refused(Reason.BAD_ADDRESS, "The message names nobody to answer.")
    return found._replace(name=clean_line(name))


def answer_subject(subject: str) -> str:
    """ "Re:" once, whatever stood before (RFC 5322 §3.6.5)."""
    bare = _ANSWER_MARKS.sub("", clean_line(subject))
    return f"Re: {bare}"


def _form(
    request: Request,
    visitor: Visitor,
    folder_id: int,
    uid: int,
    summary: Summary,
    sending: str,
    *,
    text: str = "",
    error: str = "",
    status: int = 422,
) -> Response:
    address = _answered(request, visitor, summary)
    people = [*summary.reply_to, *summary.from_]
    name = next((person.name for person in people if normalise(person.address) == address), "")
    return services(request).renderer.page(
        request,
        "reponse.html",
        status=status if error else 200,
        room="messages",
        folder_id=folder_id,
        uid=uid,
        name=clean_line(name) or address,
        address=address,
        subject=answer_subject(summary.subject),
        sending=sending if _SENDING.fullmatch(sending) else _new_sending(),
        text=text,
        limit=WEB_REPLY_CHARACTERS,
        error=error,
    )


def _new_sending() -> str:
    return f"{int(clock.now().timestamp())}-{secrets.token_hex(16)}"


def _read_sending(sending: str) -> tuple[datetime, str]:
    """The date and the message's random name out of the form. Raises ProtocolViolation when it was tampered with."""
    match = _SENDING.fullmatch(sending)
    if match is None:
        raise ProtocolViolation(Reason.MALFORMED, "The form is not as it was given.")
    made_at = datetime.fromtimestamp(min(int(match[1]), _LAST_SECOND), UTC)
    if not timedelta(0) <= clock.now() - made_at <= _FORM_LIFE:
        raise Refused(Reason.MALFORMED, "The form is too old.")
    return made_at, match[2]
