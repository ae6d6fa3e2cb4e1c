"""Sign-in by a local account, and the proof asked for again before a sensitive act: by passkey, or password and code.

Each is one form and one answer: nobody learns here whether an address exists, a password is right, or a code was.
"""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from server.base.errors import CaduceeError, Reason, Refused, TryLater
from server.base.limits import ADDRESS
from server.identity.local import passkeys, standing
from server.identity.local.model import Holder
from server.identity.local.passwords import StrongerProofNeeded
from server.identity.oidc.flow import page_of_ours
from server.identity.sessions.model import Proof, SignIn
from server.mailbox.trouble import connection
from server.web.ceremony import SIGN_IN, place_of, request_options
from server.web.renderer import words_of
from server.web.services import services
from server.web.visitor import (
    Visitor,
    browser_of,
    form_of,
    form_page,
    new_browser,
    signed_in,
)
from server.web.welcome import device_of, network_of, refused_for, welcome

router = APIRouter()


@router.get("/connexion/compte")
async def sign_in_page(request: Request) -> Response:
    """The two ways in."""
    return _page(request)


@router.post("/connexion/cle")
async def by_passkey(request: Request) -> Response:
    """Sign in with a passkey: it says whose it is."""
    fields = await form_of(request, browser_of(request))
    try:
        person_id = await _passkey(request, browser_of(request), fields.get("reponse", ""))
    except CaduceeError as error:
        await refused_for(request, "", error)
        return _page(request, error=error)
    return await welcome(request, person_id, Proof(SignIn.PASSKEY))


@router.post("/connexion/mot-de-passe")
async def by_password(request: Request) -> Response:
    """Sign in with a password and a code."""
    fields = await form_of(request, browser_of(request))
    address = fields.get("adresse", "").strip()
    try:
        holder = await _password(request, address, fields.get("motdepasse", ""), fields.get("code", ""))
    except CaduceeError as error:
        await refused_for(request, address, error)
        return _page(request, error=error, address=address[:ADDRESS])
    return await welcome(request, holder.owner_id, Proof(SignIn.PASSWORD))


@router.get("/connexion/preuve")
async def again(request: Request, suite: str = "", visitor: Visitor = Depends(signed_in)) -> Response:
    """Who is signed in proves it again, and goes on to `suite`, a page of ours."""
    return await _again_page(request, visitor, page_of_ours(suite))


@router.post("/connexion/preuve/cle")
async def again_by_passkey(request: Request, visitor: Visitor = Depends(signed_in)) -> Response:
    """By passkey."""
    fields = await form_of(request, visitor.token)
    to = page_of_ours(fields.get("suite", ""))
    try:
        person_id = await _passkey(request, visitor.token, fields.get("reponse", ""))
        return await _proven(request, visitor, person_id, SignIn.PASSKEY, to)
    except CaduceeError as error:
        await refused_for(request, visitor.identity.address, error)
        return await _again_page(request, visitor, to, error)


@router.post("/connexion/preuve/mot-de-passe")
async def again_by_password(request: Request, visitor: Visitor = Depends(signed_in)) -> Response:
    """By password and code."""
    fields = await form_of(request, visitor.token)
    address, to = visitor.identity.address, page_of_ours(fields.get("suite", ""))
    try:
        holder = await _password(request, address, fields.get("motdepasse", ""), fields.get("code", ""))
        return await _proven(request, visitor, holder.owner_id, SignIn.PASSWORD, to)
    except CaduceeError as error:
        await refused_for(request, address, error)
        return await _again_page(request, visitor, to, error)


@router.post("/connexion/preuve/essai")
async def again_in_development(request: Request, visitor: Visitor = Depends(signed_in)) -> Response:
    """By the development sign-in, which asks for no proof: for who came by it, where there is one."""
    fields = await form_of(request, visitor.token)
    settings = services(request).settings
    if settings.production or not settings.identity.development_sign_in or visitor.session.how != SignIn.DEVELOPMENT:
        raise HTTPException(404)
    to = page_of_ours(fields.get("suite", ""))
    return await welcome(request, visitor.session.person_id, Proof(SignIn.DEVELOPMENT), to)


async def _passkey(request: Request, browser: str, answer: str) -> int:
    """The number of the own mailbox of whoever shows it."""
    room = services(request)
    return await passkeys.sign_in(room.pool, room.edge, place_of(request, browser, SIGN_IN), answer)


async def _password(request: Request, address: str, password: str, typed: str) -> Holder:
    passwords = services(request).passwords
    return await passwords.sign_in(address, password, typed, network_of(request), device_of(request))


async def _proven(request: Request, visitor: Visitor, person_id: int, how: SignIn, to: str) -> Response:
    """Raises Refused(BAD_CREDENTIALS): it is another person's proof."""
    if person_id != visitor.session.person_id:
        raise Refused(Reason.BAD_CREDENTIALS, "This proves somebody else.")
    return await welcome(request, person_id, Proof(how), to)


def _page(request: Request, *, error: CaduceeError | None = None, address: str = "") -> Response:
    browser = browser_of(request) or new_browser()
    return form_page(
        request,
        "connexion_compte.html",
        browser=browser,
        status=_status(error),
        error=_sentence(request, error),
        address=address,
        options=request_options(request, browser),
    )


async def _again_page(request: Request, visitor: Visitor, to: str, error: CaduceeError | None = None) -> Response:
    room, person = services(request), visitor.session.person_id
    async with connection(room.pool) as acquired:
        kept = await standing.of_mailbox(acquired, person)
        keys = await passkeys.of_mailbox(acquired, room.edge, person)
    return room.renderer.page(
        request,
        "connexion_preuve.html",
        status=_status(error),
        room="compte",
        to=to,
        error=_sentence(request, error),
        options=request_options(request, visitor.token) if keys else "",
        has_password=kept.password_set_at is not None,
        how=visitor.session.how,
    )


def _status(error: CaduceeError | None) -> int:
    if error is None:
        return 200
    return 503 if error.reason is Reason.BUSY else 429 if isinstance(error, TryLater) else 403


def _sentence(request: Request, error: CaduceeError | None) -> str:
    say = words_of(request).say
    if error is None:
        return ""
    if isinstance(error, StrongerProofNeeded):
        return say(
            "Trop d’essais ont échoué aujourd’hui pour cette adresse. Depuis un navigateur que vous n’avez jamais "
            "utilisé ici, donnez un code de secours à la place des six chiffres, ou utilisez une clé d’accès."
        )
    if error.reason is Reason.BUSY:
        return say("Le service est momentanément indisponible. Réessayez dans quelques instants.")
    if error.reason is Reason.THROTTLED:
        return say("Trop d’essais ont échoué. Réessayez dans un quart d’heure, ou depuis un appareil déjà connu.")
    return say("Connexion refusée. Vérifiez ce que vous avez saisi, puis recommencez avec un nouveau code.")
