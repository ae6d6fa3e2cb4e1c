"""Answering a message: to whom it goes is decided by the message, whether it may go by the policy of transport."""

from __future__ import annotations

import re

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from server.base.errors import Reason, Refused, TryLater
from server.base.limits import WEB_REPLY_CHARACTERS
from server.mail.addresses import normalise, valid
from server.mail.summary import Summary
from server.mailbox.model import Flag
from server.record.access import Act
from server.transport.heading import takes_no_answer
from server.web.pages.place import find
from server.web.plain_text import clean, clean_line
from server.web.problems import problem_of
from server.web.renderer import words_of
from server.web.sending import NotTo, Written, is_sending, new_sending
from server.web.sending import send as send_written
from server.web.services import services
from server.web.visitor import Visitor, form_of, signed_in

router = APIRouter()

_ANSWER_MARKS = re.compile(r"(?:(?:re|rép|ré)\s*:\s*)+", re.IGNORECASE)


@router.get("/messages/{folder_id}/{uid}/reponse")
async def write(request: Request, folder_id: int, uid: int, visitor: Visitor = Depends(signed_in)) -> Response:
    """The empty form; who may not answer learns it before writing."""
    visitor.may(Act.ANSWER_MESSAGE).require()
    row, summary = await find(visitor, folder_id, uid)
    await services(request).policy.recipient(visitor.principal, _answered(request, visitor, summary), asking=True)
    await visitor.mailbox.content_read(visitor.principal.actor, [row.content_id], "web reply")
    return _form(request, visitor, folder_id, uid, summary, new_sending())


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
    written = Written(
        [_answered(request, visitor, summary)],
        answer_subject(summary.subject),
        text,
        sending,
        summary.message_id,
        summary.references,
    )
    try:
        await send_written(request, visitor, written)
    except (NotTo, Refused, TryLater) as objection:
        # What was written is never lost: the form comes back with it, and says why.
        refusal = objection.objections[0][1] if isinstance(objection, NotTo) else objection
        error, status = say(problem_of(refusal).sentence), problem_of(refusal).status
        return _form(request, visitor, folder_id, uid, summary, sending, text=text, error=error, status=status)
    if visitor.may(Act.CHANGE_MESSAGE).allowed:
        await visitor.mailbox.store(folder_id, [uid], "add", Flag.ANSWERED)
    return RedirectResponse(f"/messages/{folder_id}/{uid}?envoyee=1", 303)


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
        sending=sending if is_sending(sending) else new_sending(),
        text=text,
        limit=WEB_REPLY_CHARACTERS,
        error=error,
    )
