"""The end of any of a person's own sessions; they are listed on the account's page."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from server.mailbox.trouble import connection
from server.web.services import services
from server.web.visitor import Visitor, form_of, signed_in

router = APIRouter(prefix="/sessions")


@router.post("/fin")
async def end_others(request: Request, visitor: Visitor = Depends(signed_in)) -> Response:
    """End all sessions but this one."""
    await form_of(request, visitor.token)
    await services(request).sessions.end_others(visitor.session.person_id, visitor.token)
    return await _ended(request, visitor, "sessions-ended")


@router.post("/{session_id}/fin")
async def end_one(request: Request, session_id: str, visitor: Visitor = Depends(signed_in)) -> Response:
    """End one session."""
    await form_of(request, visitor.token)
    await services(request).sessions.end_one(visitor.session.person_id, session_id)
    return await _ended(request, visitor, "session-ended")


async def _ended(request: Request, visitor: Visitor, what: str) -> Response:
    room = services(request)
    async with connection(room.pool) as acquired:
        await room.audit.account_changed(acquired, visitor.principal.actor, visitor.session.person_id, what)
    return RedirectResponse("/compte#connexions", 303)
