"""The end of every way of signing in: a proof and the person's own mailbox in, a session and the first page out."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from server.base import metrics
from server.identity import acting
from server.identity.sessions.model import Proof
from server.mailbox.trouble import connection
from server.web.services import services
from server.web.visitor import FORM_COOKIE, SESSION_COOKIE, keep_session

FIRST_PAGE = "/messages"


async def welcome(request: Request, person_id: int, proof: Proof, page: str = FIRST_PAGE) -> Response:
    """Open the session of somebody who has just given `proof`, and lead them to `page`, a path of this site.

    Who may open several mailboxes is asked which, unless they were on their way somewhere.
    """
    room = services(request)
    mailbox = await room.store.open(person_id)
    address = (await mailbox.identity()).address
    agent = request.headers.get("user-agent", "")
    opened = await room.sessions.open(person_id, proof, agent, request.cookies.get(SESSION_COOKIE))
    network = request.client.host if request.client else ""
    async with connection(room.pool) as acquired:
        await room.audit.signed_in(acquired, address, person_id, "web", proof.provider or proof.how, network)
    metrics.SIGN_INS.labels("web", "accepted").inc()
    metrics.CONNECTIONS.labels("web", mailbox.kind).inc()
    if page == FIRST_PAGE and len(await acting.openable(room.pool, room.edge, opened.session)) > 1:
        page = "/boites"
    response = RedirectResponse(page, 303)
    keep_session(response, opened)
    response.delete_cookie(FORM_COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return response


async def refused(request: Request, actor: str, reason: str) -> None:
    """Tell the trail that somebody could not sign in."""
    room = services(request)
    metrics.SIGN_INS.labels("web", "refused").inc()
    network = request.client.host if request.client else ""
    async with connection(room.pool) as acquired:
        await room.audit.sign_in_refused(acquired, actor, "web", reason, network)
