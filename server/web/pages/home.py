"""The front page, sign-in and sign-out.

Every way of signing in ends in `_welcome`: a proof gives an owner and how it was proven, the rest is the same for all.
The development sign-in asks for no proof; settings refuse it in production, and this file checks again.
"""

from __future__ import annotations

import secrets

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from server.base import metrics
from server.base.errors import ProtocolViolation, Reason, Refused
from server.base.limits import ADDRESS
from server.identity.sessions import queries
from server.identity.sessions.model import Proof, SignIn
from server.mail.addresses import normalise
from server.mailbox.model import Identity, OwnerState, Route
from server.mailbox.routes import routes
from server.mailbox.trouble import connection
from server.web.language import WORDS
from server.web.renderer import language_of
from server.web.services import Services, services
from server.web.visitor import (
    FORM_COOKIE,
    SESSION_COOKIE,
    NotSignedIn,
    Visitor,
    forget_session,
    form_of,
    keep_session,
    signed_in,
)

router = APIRouter()

OFFERED = 20  # mailboxes shown to choose from; any other can be typed


@router.get("/")
async def front(request: Request, fin: str = "", parti: str = "") -> Response:
    """The front page; who is signed in already goes on to the messages."""
    try:
        await signed_in(request)
    except NotSignedIn:
        say = WORDS[language_of(request)].say
        notice = ""
        if fin:
            notice = say("Votre connexion est terminée. Reconnectez-vous pour continuer.")
        elif parti:
            notice = say("Vous êtes déconnecté.")
        return await _sign_in_page(request, notice=notice)
    return RedirectResponse("/messages", 303)


@router.post("/connexion")
async def sign_in(request: Request) -> Response:
    """The development sign-in: an address that lives here is enough."""
    room = services(request)
    if not _development(room):
        raise HTTPException(404)
    fields = await form_of(request, request.cookies.get(FORM_COOKIE, ""))
    given = fields.get("adresse", "").strip()
    network = request.client.host if request.client else ""
    try:
        address = normalise(given)
        route = (await routes(room.pool, room.edge, [address])).get(address)
        if route is None or route.state is not OwnerState.ACTIVE:
            raise Refused(Reason.BAD_CREDENTIALS, "There is no such mailbox.")
    except (Refused, ProtocolViolation):
        metrics.SIGN_INS.labels("web", "refused").inc()
        async with connection(room.pool) as acquired:
            await room.audit.sign_in_refused(acquired, given[:ADDRESS], "web", Reason.BAD_CREDENTIALS, network)
        say = WORDS[language_of(request)].say
        error = say("Aucune boîte ouverte n’a cette adresse ici. Vérifiez ce que vous avez saisi, puis recommencez.")
        return await _sign_in_page(request, status=403, error=error, address=given[:ADDRESS])
    return await _welcome(request, route, SignIn.DEVELOPMENT, address)


@router.post("/deconnexion")
async def sign_out(request: Request, visitor: Visitor = Depends(signed_in)) -> Response:
    """End this session."""
    await form_of(request, visitor.token)
    await services(request).sessions.end(visitor.token)
    response = RedirectResponse("/?parti=1", 303)
    forget_session(response)
    # What the browser kept of the pages goes too: the next person at this desk finds nothing with "back".
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


async def _welcome(request: Request, route: Route, how: SignIn, address: str) -> Response:
    """Open the session of somebody whose identity `how` has just proved."""
    room = services(request)
    agent = request.headers.get("user-agent", "")
    opened = await room.sessions.open(route.owner_id, Proof(how), agent, request.cookies.get(SESSION_COOKIE))
    network = request.client.host if request.client else ""
    async with connection(room.pool) as acquired:
        await room.audit.signed_in(acquired, address, route.owner_id, "web", how, network)
    metrics.SIGN_INS.labels("web", "accepted").inc()
    metrics.CONNECTIONS.labels("web", route.kind).inc()
    response = RedirectResponse("/messages", 303)
    keep_session(response, opened)
    response.delete_cookie(FORM_COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return response


async def _sign_in_page(
    request: Request, *, status: int = 200, notice: str = "", error: str = "", address: str = ""
) -> Response:
    room = services(request)
    # Before there is a session, a random cookie of this browser stands in for it: no other site knows its form token.
    cookie = request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(32)
    development = _development(room)
    response = room.renderer.page(
        request,
        "accueil.html",
        status=status,
        room="",
        notice=notice,
        error=error,
        address=address,
        development=development,
        form_token=room.sessions.form_token(cookie),
        mailboxes=await _offered(room) if development else [],
    )
    response.set_cookie(FORM_COOKIE, cookie, path="/", secure=True, httponly=True, samesite="strict")
    return response


def _development(room: Services) -> bool:
    return room.settings.identity.development_sign_in and not room.settings.production


async def _offered(room: Services) -> list[Identity]:
    """Mailboxes to choose from, in development only: their names are opened with the keyring."""
    owners = [row["owner_id"] for row in await room.pool.fetch(queries.OWNERS, OFFERED)]
    return [await (await room.store.open(owner_id)).identity() for owner_id in owners]
