"""The pages that people see: sign-in, the telephone's application (CIBA), logout.

Every form proves that this browser got it from here: a cookie of its own, a token made of cookie and form, and the
origin. Nothing is remembered of a page that was only looked at, but the request that it was shown for.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from server.base import clock
from server.http.guard import PAGE_POLICY, same_origin
from server.provider.addresses import APPLICATION, AUTHORIZE, LOGOUT
from server.provider.authorization import (
    ACR,
    AuthorizationRequest,
    ToBeRedirected,
    answer,
    reaches,
    read_parameters,
    read_request,
)
from server.provider.endpoints import form, provider_of
from server.provider.model import ProtocolError
from server.provider.notices import post

SESSION_COOKIE = "__Host-fournisseur-session"
BROWSER_COOKIE = "__Host-fournisseur-navigateur"
# How one proves who one is at Pro Santé Connect, and the level that gives.
MEANS = {"eidas1": "Application e-CPS", "eidas3": "Carte CPS"}
_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True, undefined=StrictUndefined
)

router = APIRouter()


@router.get(AUTHORIZE)
async def authorize(request: Request) -> Response:
    """The authorization endpoint (RFC 6749 §3.1)."""
    return _authorize(request, read_parameters(request.scope["query_string"]))


@router.post(AUTHORIZE)
async def authorize_posted(request: Request) -> Response:
    """The same by POST (OpenID Connect Core §3.1.2.1)."""
    return _authorize(request, await form(request))


def _authorize(request: Request, given: dict[str, str]) -> Response:
    provider, now = provider_of(request), clock.now()
    try:
        asked = read_request(given, provider.clients)
        session = provider.session(request.cookies.get(SESSION_COOKIE, ""), now)
        place = provider.authorize(asked, session, now)
    except ToBeRedirected as error:
        values = {"error": error.error, "error_description": error.description}
        place = answer(error.redirect_uri, provider.issuer, error.state, **values)
    return RedirectResponse(place, 303) if place else _choose(request, asked, provider.hold(asked, now))


def _choose(request: Request, asked: AuthorizationRequest, name: str) -> Response:
    people = sorted(provider_of(request).people().values(), key=lambda one: (one.family_name, one.given_name))
    hinted = [one for one in people if one.national_id == asked.login_hint]
    # The answer to the form leads to the client, which CSP counts as where the form goes (CSP 3, §6.4.2).
    place = urlsplit(asked.redirect_uri)
    policy = PAGE_POLICY.replace("form-action 'self'", f"form-action 'self' {place.scheme}://{place.netloc}")
    means = {acr: name for acr, name in MEANS.items() if reaches(acr, asked.acr)}
    return _page(
        request, "connexion.html", policy, client=asked.client, demande=name, people=hinted or people, means=means
    )


@router.post("/connexion")
async def sign_in(request: Request) -> Response:
    """Somebody was chosen, or the person goes back."""
    given = await _own_form(request)
    provider, name = provider_of(request), given.get("demande", "")
    if "annuler" in given:
        return RedirectResponse(provider.cancel(name, clock.now()), 303)
    acr = given.get("moyen", ACR[0])
    if acr not in MEANS:
        raise ProtocolError("invalid_request", "There is no such means.")
    cookie, place = provider.sign_in(name, given.get("personne", ""), acr, clock.now())
    response = RedirectResponse(place, 303)
    response.set_cookie(SESSION_COOKIE, cookie, path="/", secure=True, httponly=True, samesite="lax")
    return response


@router.get(APPLICATION)
async def application(request: Request) -> Response:
    """The e-CPS application's stand-in: what each person is asked to agree to."""
    provider, now = provider_of(request), clock.now()
    waiting = [
        (person, asked) for person in provider.people().values() for asked in provider.waiting(person.national_id, now)
    ]
    return _page(request, "application.html", waiting=waiting, done=request.query_params.get("fait") == "1")


@router.post(APPLICATION)
async def decide(request: Request) -> Response:
    """The person's word."""
    given = await _own_form(request)
    agrees = "refuser" not in given
    provider_of(request).decide(given.get("personne", ""), given.get("demande", ""), agrees, clock.now())
    return RedirectResponse(f"{APPLICATION}?fait=1", 303)


@router.get(LOGOUT)
async def log_out(request: Request) -> Response:
    """RP-initiated logout §2."""
    return await _log_out(request, read_parameters(request.scope["query_string"]), confirmed=False)


@router.post(LOGOUT)
async def log_out_posted(request: Request) -> Response:
    """The same by POST; without a hint only from our own page."""
    given = await form(request)
    ours = "jeton" in given
    if ours:
        _check(request, given)
    return await _log_out(request, given, confirmed=ours)


async def _log_out(request: Request, given: dict[str, str], *, confirmed: bool) -> Response:
    cookie = request.cookies.get(SESSION_COOKIE, "")
    ended = provider_of(request).log_out(given, cookie, confirmed, clock.now())
    if ended is None:
        kept = {name: given[name] for name in ("client_id", "post_logout_redirect_uri", "state") if name in given}
        return _page(request, "deconnexion.html", ended=False, kept=kept)
    await post(request.app.state.tls, ended.notices, request.app.state.log)
    response: Response
    if ended.redirect:
        response = RedirectResponse(ended.redirect, 303)
    else:
        response = _page(request, "deconnexion.html", ended=True, kept={})
    response.delete_cookie(SESSION_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return response


def mistake(request: Request, error: ProtocolError) -> Response:
    """An error that leads nowhere, told to the person."""
    return _page(request, "erreur.html", status=error.status, error=error)


def _page(request: Request, template: str, policy: str = PAGE_POLICY, *, status: int = 200, **values: Any) -> Response:
    browser = request.cookies.get(BROWSER_COOKIE) or secrets.token_urlsafe(32)
    text = _PAGES.get_template(template).render(jeton=_form_token(request, browser), **values)
    response = HTMLResponse(text, status, {"Content-Security-Policy": policy})
    response.set_cookie(BROWSER_COOKIE, browser, path="/", secure=True, httponly=True, samesite="lax")
    return response


async def _own_form(request: Request) -> dict[str, str]:
    given = await form(request)
    _check(request, given)
    return given


def _check(request: Request, given: dict[str, str]) -> None:
    """Raises Refused or ProtocolError when the form is none that this browser got from here."""
    same_origin(request)
    browser = request.cookies.get(BROWSER_COOKIE, "")
    given_token = given.get("jeton", "").encode("utf-8", "surrogatepass")
    if not browser or not hmac.compare_digest(_form_token(request, browser).encode(), given_token):
        raise ProtocolError("access_denied", "This form is not of this browser.", 403)


def _form_token(request: Request, browser: str) -> str:
    """Its key is of this process: a form outlives no restart."""
    return hmac.new(request.app.state.form_key, browser.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
