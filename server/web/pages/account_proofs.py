"""What proves a holder with a local account: passkeys, password, one-time codes. Each act asks for a recent proof.

Who changes a password may have lost the old one to somebody: all other sessions end with it.
"""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from server.base import clock
from server.base.errors import Reason, Refused
from server.identity.local import enrolment, passkeys
from server.identity.local.model import LOCAL_KINDS, Holder
from server.identity.local.passwords import WeakPassword
from server.mailbox.trouble import connection
from server.web.enrol import (
    add_passkey,
    authenticator,
    codes_page,
    device_name,
    forget_ticket,
    keep_ticket,
    passkey_options,
    set_password,
    ticket_of,
    why_weak,
)
from server.web.pages.account import account_page
from server.web.renderer import words_of
from server.web.services import services
from server.web.visitor import Visitor, form_of, recently_proven, signed_in

router = APIRouter(prefix="/compte")


async def holder_of_account(visitor: Visitor = Depends(signed_in)) -> Visitor:
    """Dependency: the mailbox that is open is the visitor's, and its kind has local accounts."""
    if visitor.mailbox.kind not in LOCAL_KINDS or visitor.delegate is not None:
        raise Refused(Reason.NOT_ALLOWED, "This mailbox has no local account.")
    return visitor


async def own_account(visitor: Visitor = Depends(holder_of_account), _: Visitor = Depends(recently_proven)) -> Visitor:
    """The same, proven a moment ago."""
    return visitor


@router.get("/cle")
async def new_passkey_page(request: Request, visitor: Visitor = Depends(own_account)) -> Response:
    """Where another passkey is made."""
    return await _passkey_page(request, visitor)


@router.post("/cle")
async def new_passkey(request: Request, visitor: Visitor = Depends(own_account)) -> Response:
    """Keep it."""
    fields = await form_of(request, visitor.token)
    # A session stands behind it: no code is used up.
    ticket = enrolment.ticket(_holder(visitor), b"", clock.now())
    try:
        await add_passkey(request, visitor.token, ticket, fields.get("reponse", ""), fields.get("nom", ""))
    except Refused:
        return await _passkey_page(request, visitor, words_of(request).say("La clé d’accès n’a pas été créée."))
    return RedirectResponse("/compte#cles", 303)


@router.post("/cles/{number}/fin")
async def remove_passkey(request: Request, number: int, visitor: Visitor = Depends(own_account)) -> Response:
    """Take one away, but for the last proof."""
    await form_of(request, visitor.token)
    room, holder = services(request), _holder(visitor)
    try:
        async with connection(room.pool) as acquired:
            await passkeys.remove(acquired, room.edge, holder.owner_id, number, holder.address)
    except Refused:
        say = words_of(request).say
        sentence = say("C’est votre seul moyen de vous connecter : créez-en d’abord un autre.")
        return await account_page(request, visitor, sentence)
    return RedirectResponse("/compte#cles", 303)


@router.get("/mot-de-passe")
async def password_page(request: Request, visitor: Visitor = Depends(own_account)) -> Response:
    """Where a password is set together with an authenticator application, the first time or anew."""
    return await _password_page(request, visitor)


@router.post("/mot-de-passe")
async def enrol_password(request: Request, visitor: Visitor = Depends(holder_of_account)) -> Response:
    """Set both; the recovery codes are the answer. The ticket is proof enough: an application takes time to install."""
    fields = await form_of(request, visitor.token)
    ticket = ticket_of(request, visitor.token)
    if ticket is None or ticket.holder != _holder(visitor):
        return RedirectResponse("/compte/mot-de-passe", 303)
    try:
        codes = await set_password(request, ticket, fields.get("motdepasse", ""), fields.get("code", ""))
    except WeakPassword as error:
        return await _password_page(request, visitor, why_weak(request, error))
    except Refused:
        sentence = words_of(request).say("Le code à six chiffres n’est pas celui attendu.")
        return await _password_page(request, visitor, sentence)
    await _end_others(request, visitor)
    response = codes_page(request, codes, "/compte")
    forget_ticket(response)
    return response


@router.post("/mot-de-passe/autre")
async def change_password(request: Request, visitor: Visitor = Depends(own_account)) -> Response:
    """Another password with the same application."""
    fields = await form_of(request, visitor.token)
    passwords, own = services(request).passwords, tuple(visitor.identity.name.split())
    try:
        await passwords.change(_holder(visitor), fields.get("motdepasse", ""), own)
    except WeakPassword as error:
        return await account_page(request, visitor, why_weak(request, error))
    await _end_others(request, visitor)
    return RedirectResponse("/compte#mot-de-passe", 303)


@router.post("/codes")
async def new_codes(request: Request, visitor: Visitor = Depends(own_account)) -> Response:
    """Recovery codes in place of those before."""
    await form_of(request, visitor.token)
    room = services(request)
    async with connection(room.pool) as acquired, acquired.transaction():
        codes = await room.passwords.new_recovery_codes(acquired, _holder(visitor))
    return codes_page(request, codes, "/compte")


async def _passkey_page(request: Request, visitor: Visitor, error: str = "") -> Response:
    return services(request).renderer.page(
        request,
        "compte_cle.html",
        status=422 if error else 200,
        room="compte",
        error=error,
        options=await passkey_options(request, visitor.token, _holder(visitor)),
        label=device_name(request),
    )


async def _password_page(request: Request, visitor: Visitor, error: str = "") -> Response:
    # A secret that was shown stays the one to be set while the page is corrected.
    ticket = ticket_of(request, visitor.token) or enrolment.ticket(_holder(visitor), b"", clock.now())
    response = services(request).renderer.page(
        request,
        "compte_mot_de_passe.html",
        status=422 if error else 200,
        room="compte",
        error=error,
        address=visitor.identity.address,
        **await authenticator(request, ticket),
    )
    keep_ticket(request, response, visitor.token, ticket)
    return response


def _holder(visitor: Visitor) -> Holder:
    return Holder(visitor.mailbox.owner_id, visitor.identity.address, visitor.mailbox.kind)


async def _end_others(request: Request, visitor: Visitor) -> None:
    await services(request).sessions.end_others(visitor.session.person_id, visitor.token)
