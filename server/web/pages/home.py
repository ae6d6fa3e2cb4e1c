"""The front page, with the ways to sign in, and the one of them that asks for no proof.

The development sign-in is refused by the settings in production, and this file checks again.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from server.base.errors import ProtocolViolation, Reason, Refused
from server.base.limits import ADDRESS
from server.identity.sessions import queries
from server.identity.sessions.model import Proof, SignIn
from server.mail.addresses import normalise
from server.mailbox.model import Identity, OwnerState
from server.mailbox.routes import routes
from server.web.language import WORDS
from server.web.renderer import language_of
from server.web.services import Services, services
from server.web.visitor import NotSignedIn, browser_of, form_of, form_page, signed_in
from server.web.welcome import refused, welcome

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
        return await sign_in_page(request, notice=notice)
    return RedirectResponse("/messages", 303)


@router.post("/connexion")
async def sign_in(request: Request) -> Response:
    """The development sign-in: an address that lives here is enough."""
    room = services(request)
    if not _development(room):
        raise HTTPException(404)
    fields = await form_of(request, browser_of(request))
    given = fields.get("adresse", "").strip()
    try:
        address = normalise(given)
        route = (await routes(room.pool, room.edge, [address])).get(address)
        if route is None or route.state is not OwnerState.ACTIVE:
            raise Refused(Reason.BAD_CREDENTIALS, "There is no such mailbox.")
    except (Refused, ProtocolViolation):
        await refused(request, given[:ADDRESS], Reason.BAD_CREDENTIALS)
        say = WORDS[language_of(request)].say
        error = say("Aucune boîte ouverte n’a cette adresse ici. Vérifiez ce que vous avez saisi, puis recommencez.")
        return await sign_in_page(request, status=403, error=error, address=given[:ADDRESS])
    return await welcome(request, route.owner_id, Proof(SignIn.DEVELOPMENT))


async def sign_in_page(
    request: Request, *, status: int = 200, notice: str = "", error: str = "", address: str = ""
) -> Response:
    """The front page of who is not signed in."""
    room = services(request)
    return form_page(
        request,
        "accueil.html",
        status=status,
        notice=notice,
        error=error,
        address=address,
        development=_development(room),
        providers=room.settings.identity.providers,
        mailboxes=await _offered(room) if _development(room) else [],
    )


def _development(room: Services) -> bool:
    return room.settings.identity.development_sign_in and not room.settings.production


async def _offered(room: Services) -> list[Identity]:
    """Mailboxes to choose from, in development only: their names are opened with the keyring."""
    owners = [row["owner_id"] for row in await room.pool.fetch(queries.OWNERS, OFFERED)]
    return [await (await room.store.open(owner_id)).identity() for owner_id in owners]
