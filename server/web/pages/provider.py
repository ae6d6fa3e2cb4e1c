"""Sign-in and sign-out at an identity provider: to it, back from it, and what it says when a session ended there.

It begins with a link and not a form: form-action would stop the way to the provider after a POST. Each provider has its
own address to come back to, so that the answer of one is never taken for another's.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from server.base import clock
from server.base.errors import TryLater
from server.base.limits import RECENT_SECONDS
from server.http.guard import PAGE_POLICY
from server.identity import holders
from server.identity.oidc import flow
from server.identity.oidc.faults import Fault, NotProven
from server.identity.oidc.flow import Transaction
from server.identity.questions import Asker
from server.identity.sessions.model import Proof, SignIn
from server.web.pages.home import sign_in_page
from server.web.pages.linking import bind_if_asked
from server.web.renderer import words_of
from server.web.services import Services, services
from server.web.visitor import Visitor, forget_session, form_of, signed_in
from server.web.welcome import refused, welcome

router = APIRouter()

COOKIE: Final = "__Host-connexion"
_AGAIN = (
    "Nous ne pouvons pas accepter la réponse du fournisseur d’identité. Recommencez, ou prévenez-nous si cela dure."
)
# What a person is told, by what was wrong.
SENTENCES: Final[dict[Fault, str]] = {
    Fault.DENIED: "Vous avez interrompu la connexion, ou le fournisseur d’identité l’a refusée.",
    Fault.NOT_OURS: "Cette connexion a expiré, a déjà servi, ou a commencé dans un autre navigateur. Recommencez ici.",
    Fault.NOT_THEIRS: _AGAIN,
    Fault.MALFORMED: _AGAIN,
    Fault.SIGNATURE: _AGAIN,
    Fault.ISSUER: _AGAIN,
    Fault.AUDIENCE: _AGAIN,
    Fault.TIME: "La réponse du fournisseur d’identité est arrivée trop tard, ou date de trop longtemps. Recommencez.",
    Fault.NONCE: _AGAIN,
    Fault.BINDING: _AGAIN,
    Fault.TOO_WEAK: "Ce moyen de connexion n’est pas assez sûr ici. Utilisez votre carte ou votre application e-CPS.",
    Fault.INACTIVE: "Cette connexion a expiré chez le fournisseur d’identité. Recommencez.",
    Fault.NO_IDENTITY: "Le fournisseur d’identité ne nous a pas donné votre identifiant national.",
    Fault.NOT_PROFESSIONAL: "Vous n’êtes pas inscrit comme professionnel en exercice : aucune boîte ne s’ouvre.",
    Fault.NO_MAILBOX: "Aucune boîte n’existe ici à votre nom. Demandez-la à votre établissement.",
    Fault.LEFT: "Le registre national ne vous mentionne plus depuis longtemps : vos boîtes ne s’ouvrent plus.",
}


@router.get("/connexion/encore")
async def again(request: Request, suite: str = "", visitor: Visitor = Depends(signed_in)) -> Response:
    """Have who is signed in prove it anew, then go on to `suite`."""
    name = visitor.session.provider
    if name not in services(request).settings.identity.providers:
        return RedirectResponse(f"/connexion/preuve?{urlencode({'suite': suite})}", 303)  # who signed in here
    return await _begin(request, name, suite, again=True)


@router.get("/connexion/{provider}")
async def begin(request: Request, provider: str, suite: str = "") -> Response:
    """To the provider; `suite` is the page of ours to go on to afterwards."""
    return await _begin(request, provider, suite, again=False)


@router.get("/connexion/{provider}/retour")
async def back(request: Request, provider: str) -> Response:
    """Back from the provider."""
    room, asker = _asked(request, provider)
    query = dict(request.query_params)
    try:
        if len(query) != len(request.query_params.multi_items()):
            raise NotProven(Fault.MALFORMED)
        begun = Transaction.opened(room.edge, request.cookies.get(COOKIE, ""), clock.now())
        code = flow.code(begun, provider, query)
        if not await room.sessions.spend("state", begun.state, clock.now() + flow.LIFE):
            raise NotProven(Fault.NOT_OURS)
        proven = await asker.exchange(
            provider,
            code,
            iss=query.get("iss"),
            redirect_uri=begun.redirect_uri,
            verifier=begun.verifier,
            nonce=begun.nonce,
            again=begun.again,
        )
        person = holders.named(room.settings, provider, proven.subject, proven.national_id)
        await bind_if_asked(request, provider, person)
        held = await holders.admitted(room.pool, room.edge, person)
    except NotProven as fault:
        await refused(request, provider, fault.fault)
        page = await sign_in_page(request, status=403, error=words_of(request).say(SENTENCES[fault.fault]))
        _forget(page)
        return page
    proof = Proof(SignIn.PROVIDER, proven.at, provider, proven.acr, held.token, proven.sid, proven.subject, proven.hint)
    page_after = "/boites" if held.missing_since else begun.page
    response = await welcome(request, held.owner_ids[0], proof, page_after)
    _forget(response)
    return response


@router.post("/connexion/{provider}/fin")
async def ended_there(request: Request, provider: str) -> Response:
    """OpenID Connect Back-Channel Logout 1.0 §2.5: the provider itself asks, and its signature proves it."""
    room, asker = _asked(request, provider)
    async with request.form(max_files=0, max_fields=5) as form:
        token = form.get("logout_token")
    try:
        if not isinstance(token, str):
            raise NotProven(Fault.MALFORMED)
        ended = await asker.ended(provider, token)
        if not await room.sessions.spend(f"logout {provider}", ended.jti, ended.until):
            raise NotProven(Fault.NOT_OURS)
    except NotProven as fault:
        room.log.warning("logout_refused", provider=provider, fault=fault.fault)
        return Response(status_code=400)  # §2.8
    count = await room.sessions.end_of_provider(provider, ended.sid, ended.subject)
    room.log.info("logout_by_provider", provider=provider, sessions=count)
    return Response(status_code=200)


@router.get("/connexion/{provider}/fin")
async def ended_in_frame(request: Request, provider: str, iss: str = "", sid: str = "") -> Response:
    """OpenID Connect Front-Channel Logout 1.0 §3: only the provider knows `sid`; no cookie comes into its frame."""
    room, _ = _asked(request, provider)
    if iss != room.settings.identity.providers[provider].issuer or not sid:
        return Response(status_code=400)
    await room.sessions.end_of_provider(provider, sid, "")
    return Response(status_code=200)


@router.post("/deconnexion")
async def sign_out(request: Request, visitor: Visitor = Depends(signed_in)) -> Response:
    """End this session; at the provider too, if the person wants."""
    await form_of(request, visitor.token)
    room = services(request)
    ended = await room.sessions.end(visitor.token)
    response: Response = RedirectResponse("/?parti=1", 303)
    if ended is not None and room.asker is not None and ended[0] in room.settings.identity.providers:
        response = await _leave(request, room.asker, *ended) or response
    forget_session(response)
    # What the browser kept of the pages goes too: the next person at this desk finds nothing with "back".
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


async def _leave(request: Request, asker: Asker, provider: str, hint: str) -> Response | None:
    """The page that offers to sign out at the provider too (RP-Initiated Logout 1.0 §2); None where that cannot be."""
    try:
        address = await asker.sign_out(provider)
    except TryLater:
        address = ""  # who signs out here does so whatever the provider does
    if not address:
        return None
    room, there = services(request), urlsplit(address)
    fields = {"client_id": room.settings.identity.providers[provider].client_id}
    fields["post_logout_redirect_uri"] = f"https://{request.headers['host']}/"
    fields |= {"id_token_hint": hint} if hint else {}
    request.state.visitor = None
    policy = PAGE_POLICY.replace("form-action 'self'", f"form-action 'self' {there.scheme}://{there.netloc}")
    return room.renderer.page(
        request,
        "depart.html",
        headers={"Content-Security-Policy": policy},
        room="",
        address=address,
        fields=fields,
        label=room.settings.identity.providers[provider].label,
    )


async def _begin(request: Request, provider: str, suite: str, *, again: bool) -> Response:
    room, asker = _asked(request, provider)
    redirect_uri = f"https://{request.headers['host']}/connexion/{provider}/retour"
    begun = Transaction.begin(provider, redirect_uri, suite, clock.now(), again=again)
    asked = {
        "redirect_uri": redirect_uri,
        "state": begun.state,
        "nonce": begun.nonce,
        "code_challenge": flow.challenge(begun.verifier),
    }
    asked |= {"prompt": "login", "max_age": str(RECENT_SECONDS)} if again else {}
    response = RedirectResponse(await asker.begin(provider, **asked), 303)
    cookie = begun.sealed(room.edge)
    # Lax: the provider's redirect, which comes from another site, must bring it.
    response.set_cookie(
        COOKIE, cookie, int(flow.LIFE.total_seconds()), path="/", secure=True, httponly=True, samesite="lax"
    )
    return response


def _asked(request: Request, provider: str) -> tuple[Services, Asker]:
    room = services(request)
    if room.asker is None or provider not in room.settings.identity.providers:
        raise HTTPException(404)
    return room, room.asker


def _forget(response: Response) -> None:
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
