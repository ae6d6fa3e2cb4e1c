"""One message: who wrote, what its signature is worth, its text as plain text, its attachments."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from server.base.limits import WEB_TEXT_CHARACTERS
from server.mail.addresses import Mailbox, normalise
from server.mail.content import octets, text
from server.mail.summary import Summary
from server.mailbox.model import Flag
from server.mailbox.store import Mailbox as Opened
from server.record.access import Act
from server.transport.heading import takes_no_answer
from server.web.document_wording import SaidDocument, say_document
from server.web.pages.attachment import opens_here
from server.web.pages.place import find
from server.web.parts import attachments, bodies, decoded_size, name_of
from server.web.plain_text import LIMIT, clean, clean_line, from_html
from server.web.renderer import words_of
from server.web.services import services
from server.web.visitor import Visitor, signed_in
from server.web.wording import say_kind, say_verdict

router = APIRouter()
BYTES_PER_CHARACTER = 4  # UTF-8 at its longest; with LIMIT it bounds what is decrypted to be shown


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a message for a page. `cut`: there is more than a page shows."""

    body: str
    from_html: bool
    cut: bool


@dataclass(frozen=True, slots=True)
class Attachment:
    """One line of the list of attachments; `opens`: the browser may show it itself; a verdict for each signature."""

    path: str
    name: str
    kind: str
    size: int
    opens: bool
    verdicts: list[SaidDocument]


@router.get("/messages/{folder_id}/{uid}")
async def message(
    request: Request, folder_id: int, uid: int, envoyee: str = "", visitor: Visitor = Depends(signed_in)
) -> Response:
    """The page of one message; reading it marks it as read."""
    visitor.may(Act.READ_MESSAGE).require()
    row, summary = await find(visitor, folder_id, uid)
    mailbox = visitor.mailbox
    await mailbox.content_read(visitor.principal.actor, [row.content_id], "web message")
    shown = await text_of(mailbox, row.content_id, summary)
    signatures = await services(request).signatures.of_message(mailbox, row.content_id, summary)
    if not row.flags & Flag.SEEN and visitor.may(Act.CHANGE_MESSAGE).allowed:
        await mailbox.store(folder_id, [uid], "add", Flag.SEEN)
    words = words_of(request)
    sender = summary.from_[0] if summary.from_ else None
    return services(request).renderer.page(
        request,
        "message.html",
        room="messages",
        folder_id=folder_id,
        uid=uid,
        sent=bool(envoyee),
        message={
            "subject": clean_line(summary.subject),
            "sender_name": clean_line(sender.name) if sender else "",
            "sender_address": clean_line(sender.address) if sender else words.say("Inconnu"),
            "to": [_person(visitor, person) for person in summary.to],
            "cc": [_person(visitor, person) for person in summary.cc],
            "date": row.internaldate,
            "verdict": say_verdict(summary.verdict, words),
            "readable": summary.readable,
        },
        text=shown,
        attachments=[
            Attachment(
                part.path,
                name_of(part, words),
                say_kind(part.content_type, words),
                decoded_size(part),
                opens_here(part),
                [say_document(verdict, words) for verdict in signatures.get(part.path, [])],
            )
            for part in attachments(summary)
        ],
        may_answer=visitor.may(Act.ANSWER_MESSAGE).allowed
        and sender is not None
        and sender.address != visitor.identity.address
        and not (visitor.is_patient and takes_no_answer(summary.header)),
    )


def _person(visitor: Visitor, person: Mailbox) -> str:
    """A correspondent by name. A patient's own address is a row of digits to them: their name stands for it."""
    if normalise(person.address) == visitor.identity.address:
        return visitor.identity.name
    return clean_line(person.name or person.address)


async def text_of(mailbox: Opened, content_id: bytes, summary: Summary) -> Text:
    """The message's own text: its first plain part, else the text of its first HTML part."""
    readable = bodies(summary)
    chosen = next((part for part in readable if part.subtype == "plain"), readable[0] if readable else None)
    if chosen is None:
        return Text("", False, False)
    whole = chosen.body_end - chosen.body_start
    taken = min(whole, LIMIT * BYTES_PER_CHARACTER)
    data = await mailbox.body(content_id, chosen.body_start, chosen.body_start + taken)
    body = text(octets(data, chosen.encoding), chosen.charset)
    is_html = chosen.subtype == "html"
    shown = from_html(body) if is_html else clean(body).strip("\n")
    return Text(shown[:WEB_TEXT_CHARACTERS], is_html, taken < whole or len(shown) > WEB_TEXT_CHARACTERS)
