"""The end of every way of signing in: a proof and the person's own mailbox in, a session and the first page out.

A sign-in makes a new session and ends the one that the browser had, so that nobody is given one that another knows. A
proof asked for again before a sensitive act is a sign-in like the first.
"""

from __future__ import annotations

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from server.base import clock, metrics
from server.base.errors import CaduceeError, Reason
from server.base.limits import ADDRESS, DEVICE_DAYS
from server.identity import acting
from server.identity.local import devices
from server.identity.sessions.model import Proof, Session
from server.mailbox.trouble import connection
from server.web.services import services
from server.web.visitor import FORM_COOKIE, SESSION_COOKIE, keep_session

FIRST_PAGE = "/messages"
DEVICE_COOKIE = "__Host-appareil"
_DEVICE_SECONDS = DEVICE_DAYS * 24 * 3600


async def welcome(request: Request, person_id: int, proof: Proof, page: str = FIRST_PAGE) -> Response:
    """Open the session of somebody who has just given `proof`, and lead them to `page`, a path of this site.

    Who may open several mailboxes is asked which, unless they were on their way somewhere.
    """
    response = RedirectResponse(page, 303)
    session = await admit(request, response, person_id, proof)
    room = services(request)
    if page == FIRST_PAGE and len(await acting.openable(room.pool, room.edge, session)) > 1:
        response.headers["location"] = "/boites"
    return response


async def admit(request: Request, response: Response, person_id: int, proof: Proof) -> Session:
    """Open the session, and give its cookie with this answer. The browser is known from now on, a new one is told."""
    room = services(request)
    mailbox = await room.store.open(person_id)
    address = (await mailbox.identity()).address
    agent = request.headers.get("user-agent", "")
    opened = await room.sessions.open(person_id, proof, agent, request.cookies.get(SESSION_COOKIE))
    browser, network = device_of(request) or devices.new_cookie(), network_of(request)
    async with connection(room.pool) as acquired:
        await room.audit.signed_in(acquired, address, person_id, "web", proof.provider or proof.how, network)
        await devices.seen(acquired, room.edge, person_id, browser, opened.session.agent, network, clock.now())
    metrics.SIGN_INS.labels("web", "accepted").inc()
    metrics.CONNECTIONS.labels("web", mailbox.kind).inc()
    keep_session(response, opened)
    response.delete_cookie(FORM_COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    # Lax: a sign-in that ends with a provider's redirect must find it.
    response.set_cookie(
        DEVICE_COOKIE, browser, max_age=_DEVICE_SECONDS, path="/", secure=True, httponly=True, samesite="lax"
    )
    return opened.session


async def refused(request: Request, actor: str, reason: str) -> None:
    """Tell the trail that somebody could not sign in."""
    room = services(request)
    metrics.SIGN_INS.labels("web", "refused").inc()
    async with connection(room.pool) as acquired:
        await room.audit.sign_in_refused(acquired, actor, "web", reason, network_of(request))


async def refused_for(request: Request, address: str, error: CaduceeError) -> None:
    """A sign-in by an account here was refused: told where it says whose; past the throttle's bounds only counted, so
    that nobody fills the trail. Raises the error itself where it is no answer to who signs in.
    """
    if error.reason not in (Reason.BAD_CREDENTIALS, Reason.THROTTLED, Reason.BUSY):
        raise error
    if address and error.reason is Reason.BAD_CREDENTIALS:
        await refused(request, address[:ADDRESS], error.reason)
    else:
        metrics.SIGN_INS.labels("web", "refused").inc()


def device_of(request: Request) -> str:
    """The cookie by which this browser is known to the mailboxes that it signed in to; "" for none."""
    cookie = request.cookies.get(DEVICE_COOKIE, "")
    return cookie if devices.is_cookie(cookie) else ""


def network_of(request: Request) -> str:
    """The IP address that the request comes from."""
    return request.client.host if request.client else ""
