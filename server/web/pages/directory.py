"""The directory for people who write: a page that works by itself, and what completion asks while one types."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg
from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from directory.search import Found, complete, search
from server.base import clock
from server.base.errors import Reason, TryLater
from server.base.limits import WEB_FOUND, WEB_PROPOSED
from server.mailbox.trouble import connection
from server.record.access import searches_directory
from server.web.found import Entry, proposals
from server.web.services import services
from server.web.visitor import Visitor, signed_in

router = APIRouter()

Question = Callable[[asyncpg.Connection, str, int], Awaitable[list[Found]]]


@router.get("/annuaire")
async def find(request: Request, q: str = "", visitor: Visitor = Depends(signed_in)) -> Response:
    """One box; each address found leads to a message to it."""
    found = await look_up(request, visitor, q)
    return services(request).renderer.page(request, "annuaire.html", room="annuaire", question=q, found=found)


@router.get("/annuaire/completion")
async def propose(request: Request, q: str = "", visitor: Visitor = Depends(signed_in)) -> Response:
    """Whom one may be typing, as JSON: a list of address, name, profession, place, shared."""
    found = await _asked(request, visitor, complete, q, WEB_PROPOSED)
    return JSONResponse(proposals(found, WEB_PROPOSED))


async def look_up(request: Request, visitor: Visitor, question: str) -> list[Entry]:
    """What the directory has for a question, best first. Raises as `_asked`."""
    return [Entry.of(one) for one in await _asked(request, visitor, search, question, WEB_FOUND)]


async def _asked(request: Request, visitor: Visitor, ask: Question, text: str, limit: int) -> list[Found]:
    """Raises Refused(NOT_ALLOWED): a patient asks; TryLater(THROTTLED): who copies the directory."""
    searches_directory(visitor.party).require()
    if not text.strip():
        return []
    room, who = services(request), f"mailbox {visitor.session.person_id}"
    if room.harvest.wait(who, clock.monotonic()):
        raise TryLater(Reason.THROTTLED, "So much of the directory is given out in one go only once.")
    async with connection(room.pool) as acquired:
        found = await ask(acquired, text, limit)
    room.harvest.took(who, len(found), clock.monotonic())
    return found
