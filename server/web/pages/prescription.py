"""Where the QR code of a prescription leads: who is signed in sees it, who is not gives the digits beside it.

The reference in the address opens nothing by itself and names nobody. Nothing of the prescription is shown before it is
known who asks, or that they hold the paper; each opening is in the trail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from server.base.errors import Reason, Refused
from server.record.access import Party
from server.record.parts import PDF
from server.record.prescriptions import may_dispense
from server.web.document_wording import say_document
from server.web.pages.attachment import file_answer
from server.web.renderer import words_of
from server.web.services import services
from server.web.visitor import NotSignedIn, Visitor, browser_of, form_of, form_page, signed_in

router = APIRouter(prefix="/ordonnances")


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks: an account here, or somebody who gives a code."""

    actor: Party | None
    name: str
    code: str = ""


@router.get("/{reference}")
async def prescription(request: Request, reference: str) -> Response:
    """The prescription for who is signed in; else the form for its code, which says nothing of it."""
    visitor = await _visitor(request)
    if visitor is None:
        return _code_form(request, reference)
    return await _page(request, reference, _asking(visitor), visitor.form_token)


@router.post("/{reference}")
async def by_code(request: Request, reference: str) -> Response:
    """The prescription for who holds the paper and has no account."""
    asking, fields = await _with_code(request)
    try:
        return await _page(request, reference, asking, fields["jeton"])
    except Refused as refusal:
        if refusal.reason is not Reason.BAD_CREDENTIALS:
            raise
        return _code_form(request, reference, wrong=True)


@router.get("/{reference}/document")
async def document(request: Request, reference: str, visitor: Visitor = Depends(signed_in)) -> Response:
    """The signed PDF."""
    return await _document(request, reference, _asking(visitor))


@router.post("/{reference}/document")
async def document_by_code(request: Request, reference: str) -> Response:
    """The same, by the code."""
    asking, _ = await _with_code(request)
    return await _document(request, reference, asking)


@router.post("/{reference}/delivrance")
async def dispensed(request: Request, reference: str, visitor: Visitor = Depends(signed_in)) -> Response:
    """A professional says that it was dispensed."""
    await form_of(request, visitor.token)
    asking = _asking(visitor)
    await services(request).prescriptions.dispense(reference, visitor.party, asking.name)
    return RedirectResponse(f"/ordonnances/{reference}", 303)


async def _page(request: Request, reference: str, asking: Asking, form_token: str) -> Response:
    room, words = services(request), words_of(request)
    found, pdf = await room.prescriptions.open(reference, asking.actor, asking.name, asking.code)
    verdicts = await room.signatures.judge_alone(pdf)
    return room.renderer.page(
        request,
        "ordonnance.html",
        room="",
        reference=reference,
        prescription=found,
        verdicts=[say_document(verdict, words) for verdict in verdicts],
        code=asking.code,
        form_token=form_token,
        may_dispense=may_dispense(found, asking.actor),
    )


async def _document(request: Request, reference: str, asking: Asking) -> Response:
    found, pdf = await services(request).prescriptions.open(reference, asking.actor, asking.name, asking.code)
    return file_answer(pdf, PDF, f"ordonnance {found.number}.pdf", download=False)


def _code_form(request: Request, reference: str, *, wrong: bool = False) -> Response:
    return form_page(request, "ordonnance_code.html", status=403 if wrong else 200, reference=reference, wrong=wrong)


async def _visitor(request: Request) -> Visitor | None:
    try:
        return await signed_in(request)
    except NotSignedIn:
        return None


async def _with_code(request: Request) -> tuple[Asking, Mapping[str, str]]:
    fields = await form_of(request, browser_of(request))
    network = request.client.host if request.client else ""
    return Asking(None, network, fields.get("code", "").replace(" ", "")), fields


def _asking(visitor: Visitor) -> Asking:
    return Asking(visitor.party, visitor.principal.actor)
