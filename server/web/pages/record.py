"""The health record: the patient's documents, each with its origin and what its signature was worth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from server.base.errors import Reason, Refused
from server.record.access import Act
from server.record.model import Document
from server.web.document_wording import SaidDocument, say_document
from server.web.language import Words
from server.web.pages.attachment import file_answer
from server.web.plain_text import clean_line
from server.web.renderer import words_of
from server.web.services import Services, services
from server.web.visitor import Visitor, signed_in
from server.web.wording import Said, say_verdict

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Entry:
    """One document on the page."""

    document_id: str
    title: str
    sender: str
    received_at: datetime
    size: int
    verdict: Said
    signatures: list[SaidDocument]


@router.get("/dossier")
async def documents(request: Request, visitor: Visitor = Depends(signed_in)) -> Response:
    """The documents, the newest first."""
    visitor.may(Act.LIST_DOCUMENTS).require()
    room = services(request)
    found = await room.record.documents(visitor.mailbox)
    contents = list({document.content_id for document in found})
    if found:
        await visitor.mailbox.content_read(visitor.principal.actor, contents, "web record")
    words = words_of(request)
    kept = await room.signatures.kept(visitor.mailbox, contents)
    entries = [
        _entry(document, kept.get(document.content_id, {}).get(document.detail.part, []), words) for document in found
    ]
    return room.renderer.page(request, "dossier.html", room="dossier", documents=entries)


@router.get("/dossier/{document_id}")
async def document(
    request: Request, document_id: str, telecharger: str = "", visitor: Visitor = Depends(signed_in)
) -> Response:
    """One document, opened in the browser."""
    visitor.may(Act.READ_DOCUMENT).require()
    room = services(request)
    found = await _find(room, visitor, document_id)
    await visitor.mailbox.content_read(visitor.principal.actor, [found.content_id], "web document")
    data = await room.record.content(visitor.mailbox, found)
    title = _title(found, words_of(request))
    return file_answer(data, found.detail.media_type, title, download=bool(telecharger))


@router.get("/dossier/{document_id}/message")
async def origin(request: Request, document_id: str, visitor: Visitor = Depends(signed_in)) -> Response:
    """The message that brought a document."""
    visitor.may(Act.READ_DOCUMENT).require()
    room = services(request)
    place = await room.record.origin(visitor.mailbox, await _find(room, visitor, document_id))
    if place is None:
        raise Refused(Reason.NO_SUCH_MESSAGE, "The message was deleted.")
    return RedirectResponse(f"/messages/{place[0]}/{place[1]}", 303)


async def _find(room: Services, visitor: Visitor, document_id: str) -> Document:
    found = await room.record.document(visitor.mailbox, document_id)
    if found is None:
        raise Refused(Reason.NO_SUCH_MESSAGE, "There is no such document.")
    return found


def _entry(document: Document, signatures: list[dict[str, Any]], words: Words) -> Entry:
    detail = document.detail
    return Entry(
        document.document_id,
        _title(document, words),
        clean_line(detail.sender) or words.say("Inconnu"),
        detail.received_at,
        detail.size,
        say_verdict(detail.verdict, words),
        [say_document(verdict, words) for verdict in signatures],
    )


def _title(document: Document, words: Words) -> str:
    return clean_line(document.detail.title) or words.say("Document sans nom")
