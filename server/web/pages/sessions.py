"""The list of a person's own sessions, and the end of any of them."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from server.web.services import services
from server.web.visitor import Visitor, form_of, signed_in

router = APIRouter()


@router.get("/sessions")
async def sessions(request: Request, visitor: Visitor = Depends(signed_in)) -> Response:
    """Where this person is signed in now."""
    room = services(request)
    return room.renderer.page(
        request, "sessions.html", room="sessions", sessions=await room.sessions.of(visitor.session.person_id)
    )


@router.post("/sessions/fin")
async def end_others(request: Request, visitor: Visitor = Depends(signed_in)) -> Response:
    """End all sessions but this one."""
    await form_of(request, visitor.token)
    await services(request).sessions.end_others(visitor.session.person_id, visitor.token)
    return RedirectResponse("/sessions", 303)


@router.post("/sessions/{session_id}/fin")
async def end_one(request: Request, session_id: str, visitor: Visitor = Depends(signed_in)) -> Response:
    """End one session."""
    await form_of(request, visitor.token)
    await services(request).sessions.end_one(visitor.session.person_id, session_id)
    return RedirectResponse("/sessions", 303)
