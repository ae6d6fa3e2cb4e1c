"""A patient takes the mailbox that was made for them: code, then a passkey or a password with one-time codes.

Between the two steps the browser holds a sealed ticket; the code is used up by the second, so that who stops halfway
begins again with the same code. Nothing that names the patient stands in an address.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from server.base import clock
from server.base.errors import CaduceeError, Reason, Refused
from server.base.limits import ADDRESS
from server.identity.local import enrolment, invitations
from server.identity.local.enrolment import Ticket
from server.identity.local.passwords import WeakPassword
from server.identity.sessions.model import Proof, SignIn
from server.web.enrol import (
    add_passkey,
    authenticator,
    codes_page,
    device_name,
    forget_ticket,
    keep_ticket,
    name_of,
    passkey_options,
    set_password,
    ticket_of,
    why_weak,
)
from server.web.renderer import words_of
from server.web.services import services
from server.web.visitor import browser_of, form_of, form_page
from server.web.welcome import admit, network_of, refused_for, welcome

router = APIRouter(prefix="/activation")


@router.get("")
async def activation(request: Request, fin: str = "") -> Response:
    """Where the code is given; `fin`: the ticket has ended."""
    say = words_of(request).say
    notice = say("Le temps est écoulé : donnez de nouveau votre code, il reste valable.") if fin else ""
    return form_page(request, "activation.html", error="", notice=notice, address="")


@router.post("")
async def give_code(request: Request) -> Response:
    """The code opens the next step, and is not used up by it."""
    browser = browser_of(request)
    fields = await form_of(request, browser)
    room, address = services(request), fields.get("adresse", "").strip()
    try:
        invited = await invitations.redeem(
            room.pool, room.edge, room.passwords.throttle, address, fields.get("code", ""), network_of(request)
        )
    except CaduceeError as error:
        await refused_for(request, address, error)
        say = words_of(request).say
        if error.reason is Reason.THROTTLED:
            status, sentence = 429, say("Trop d’essais ont échoué. Réessayez dans un quart d’heure.")
        else:
            status, sentence = (
                403,
                say(
                    "Cette adresse et ce code ne vont pas ensemble, ou le code n’est plus valable. Vérifiez chaque "
                    "lettre ; si cela ne va toujours pas, demandez un autre code à qui vous l’a remis."
                ),
            )
        return form_page(
            request, "activation.html", status=status, error=sentence, notice="", address=address[:ADDRESS]
        )
    response = RedirectResponse("/activation/moyen", 303)
    keep_ticket(request, response, browser, enrolment.ticket(invited.holder, invited.mark, clock.now()))
    return response


@router.get("/moyen")
async def means(request: Request) -> Response:
    """The two ways to sign in from now on."""
    ticket = ticket_of(request, browser_of(request))
    return _gone() if ticket is None else await _page(request, ticket)


@router.post("/cle")
async def with_passkey(request: Request) -> Response:
    """A passkey: the browser has made it."""
    browser = browser_of(request)
    fields = await form_of(request, browser)
    ticket = ticket_of(request, browser)
    if ticket is None:
        return _gone()
    try:
        await add_passkey(request, browser, ticket, fields.get("reponse", ""), fields.get("nom", ""))
    except Refused as error:
        return await _page(request, ticket, _sentence(request, error))
    response = await welcome(request, ticket.holder.owner_id, Proof(SignIn.PASSKEY))
    forget_ticket(response)
    return response


@router.post("/mot-de-passe")
async def with_password(request: Request) -> Response:
    """A password and the first code of the application; the recovery codes are the answer."""
    browser = browser_of(request)
    fields = await form_of(request, browser)
    ticket = ticket_of(request, browser)
    if ticket is None:
        return _gone()
    try:
        codes = await set_password(request, ticket, fields.get("motdepasse", ""), fields.get("code", ""))
    except Refused as error:
        return await _page(request, ticket, _sentence(request, error))
    response = codes_page(request, codes, "/messages")
    await admit(request, response, ticket.holder.owner_id, Proof(SignIn.PASSWORD))
    forget_ticket(response)
    return response


def _gone() -> Response:
    return RedirectResponse("/activation?fin=1", 303)


async def _page(request: Request, ticket: Ticket, error: str = "") -> Response:
    return form_page(
        request,
        "activation_moyen.html",
        status=422 if error else 200,
        error=error,
        name=await name_of(request, ticket.holder),
        address=ticket.holder.address,
        options=await passkey_options(request, browser_of(request), ticket.holder),
        label=device_name(request),
        **await authenticator(request, ticket),
    )


def _sentence(request: Request, error: Refused) -> str:
    if isinstance(error, WeakPassword):
        return why_weak(request, error)
    return words_of(request).say(
        "Cela n’a pas réussi : le code à six chiffres ou la clé d’accès n’est pas celui attendu, ou votre code "
        "d’activation vient d’être utilisé. Recommencez."
    )
