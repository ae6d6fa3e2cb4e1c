"""The step at which somebody sets a password or makes a passkey: at the activation, and later on the account's page."""

from __future__ import annotations

import base64
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from server.base import clock
from server.base.limits import ENROLMENT_SECONDS, LABEL_CHARACTERS, RECOVERY_CODES
from server.identity.chosen import SHORTEST, Weakness
from server.identity.local import enrolment, passkeys, totp
from server.identity.local.enrolment import Ticket
from server.identity.local.model import Holder
from server.identity.local.passwords import WeakPassword
from server.identity.sessions.sessions import describe_agent
from server.mailbox.trouble import connection
from server.web.ceremony import ENROL, place_of
from server.web.plain_text import clean_line
from server.web.qr import draw
from server.web.renderer import words_of
from server.web.services import services

_TICKET = "__Host-inscription"
_GROUP = 4  # letters of the secret between spaces, for who has to type it


def keep_ticket(request: Request, response: Response, browser: str, ticket: Ticket) -> None:
    """Give the browser of this secret its ticket."""
    sealed = enrolment.sealed(services(request).edge, browser, ticket)
    response.set_cookie(
        _TICKET, sealed, max_age=ENROLMENT_SECONDS, path="/", secure=True, httponly=True, samesite="strict"
    )


def ticket_of(request: Request, browser: str) -> Ticket | None:
    """The ticket of this browser; None when it has none (any more)."""
    return enrolment.read(services(request).edge, browser, request.cookies.get(_TICKET, ""), clock.now())


def forget_ticket(response: Response) -> None:
    """It was used."""
    response.delete_cookie(_TICKET, path="/", secure=True, httponly=True, samesite="strict")


async def name_of(request: Request, holder: Holder) -> str:
    """What others see of the mailbox's holder."""
    return (await (await services(request).store.open(holder.owner_id)).identity()).name


async def passkey_options(request: Request, browser: str, holder: Holder) -> str:
    """What the browser needs to make a passkey for this holder, as JSON."""
    room, name = services(request), await name_of(request, holder)
    async with connection(room.pool) as acquired:
        place = place_of(request, browser, ENROL)
        return await passkeys.options(acquired, room.edge, place, holder, name, room.settings.domain)


async def add_passkey(request: Request, browser: str, ticket: Ticket, answer: str, label: str) -> None:
    """Keep the passkey that the browser made. Raises Refused: BAD_CREDENTIALS, LIMIT_REACHED."""
    room, place = services(request), place_of(request, browser, ENROL)
    await passkeys.add(room.pool, room.edge, place, ticket, answer, label_of(label) or device_name(request))


async def authenticator(request: Request, ticket: Ticket) -> dict[str, Any]:
    """What a page shows of the secret for an authenticator application: a QR code, and its letters."""
    issuer = services(request).settings.domain
    letters = base64.b32encode(ticket.secret).decode()
    return {
        "qr": draw(totp.uri(ticket.secret, issuer, await name_of(request, ticket.holder))),
        "letters": " ".join(letters[start : start + _GROUP] for start in range(0, len(letters), _GROUP)),
        "shortest": SHORTEST,
    }


async def set_password(request: Request, ticket: Ticket, password: str, typed: str) -> list[str]:
    """Set the password with the ticket's secret; the recovery codes. Raises as `LocalPasswords.enrol`."""
    own = tuple((await name_of(request, ticket.holder)).split())
    return await services(request).passwords.enrol(ticket, password, typed, own)


def why_weak(request: Request, error: WeakPassword) -> str:
    """Why a password is not taken, and what would be."""
    say = words_of(request).say
    if error.weakness is Weakness.SHORT:
        return say("Ce mot de passe est trop court : il faut %(shortest)s caractères ou plus.", shortest=SHORTEST)
    if error.weakness is Weakness.LONG:
        return say("Ce mot de passe est trop long.")
    if error.weakness is Weakness.OWN:
        return say("Ce mot de passe contient votre nom ou votre adresse : choisissez-en un autre.")
    return say("Ce mot de passe est parmi les plus faciles à deviner : choisissez par exemple quatre mots au hasard.")


def codes_page(request: Request, codes: list[str], to: str) -> Response:
    """The recovery codes, shown this once."""
    room = services(request)
    return room.renderer.page(request, "codes_secours.html", room="compte", codes=codes, count=RECOVERY_CODES, to=to)


def device_name(request: Request) -> str:
    """What a passkey is called whose holder gave it no name."""
    return describe_agent(request.headers.get("user-agent", "")) or words_of(request).say("Clé d’accès")


def label_of(given: str) -> str:
    """What a holder calls something, on one line and not too long."""
    return clean_line(given).strip()[:LABEL_CHARACTERS]
