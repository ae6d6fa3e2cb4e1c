"""The console's pages. Every form carries the session's token and comes from our origin; every look is in the trail.

Addresses (a patient's is their INS) come by POST alone, so that none stands in a URL or a browser's history.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from server.base import clock
from server.base.errors import CaduceeError, ProtocolViolation, Reason, Refused
from server.base.limits import MB
from server.console.acts import Acts
from server.http.guard import same_origin
from server.identity.local import totp
from server.identity.operators import requests
from server.identity.operators.accounts import OperatorAccounts
from server.identity.operators.model import REQUESTERS, Act, Operator, Right, Role
from server.identity.operators.sessions import OperatorSessions
from server.identity.throttle import network_of

SESSION_COOKIE = "__Host-console"
BROWSER_COOKIE = "__Host-console-navigateur"
FIELDS = 20  # of one form
_STATUSES = {
    Reason.BAD_CREDENTIALS: 403,
    Reason.NOT_ALLOWED: 403,
    Reason.MALFORMED: 400,
    Reason.TOO_LARGE: 413,
    Reason.UNKNOWN_RECIPIENT: 404,
    Reason.NO_SUCH_MESSAGE: 404,
    Reason.THROTTLED: 429,
    Reason.INTERNAL: 500,
}
# What each role and act is called, French first.
NAMES = {
    Role.SUPPORT: "Assistance / Support",
    Role.SECURITY_OFFICER: "Responsable de la sécurité / Security officer",
    Role.AUDITOR: "Auditeur / Auditor",
    Act.INVITE: "Inviter un patient / Invite a patient",
    Act.RESET: "Réinitialiser l’accès d’un patient / Reset a patient’s access",
    Act.DELEGATE: "Déléguer au nom du titulaire / Delegate on the holder’s behalf",
    Act.OPERATOR_INVITE: "Inviter un opérateur / Invite an operator",
    Act.OPERATOR_ROLE: "Changer le rôle d’un opérateur / Change an operator’s role",
    Act.OPERATOR_REVOKE: "Révoquer un opérateur / Revoke an operator",
    Act.MAILBOX_CLOSE: "Fermer une boîte / Close a mailbox",
    Act.KEYS_DESTROY: "Détruire des clés / Destroy keys",
    Act.KEYS_EXPORT: "Exporter les clés / Export keys",
}
_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True, undefined=StrictUndefined
)
_PAGES.globals.update(NAMES=NAMES, Right=Right, Role=Role, MB=MB)

router = APIRouter()


@router.get("/")
async def home(request: Request) -> Response:
    """The search, or the sign-in."""
    operator = await _operator(request)
    if operator is None:
        return _page(request, "connexion.html", None)
    return _page(request, "accueil.html", operator, seen=None)


@router.post("/connexion")
async def sign_in(request: Request) -> Response:
    """A name, a password and a one-time code."""
    given = await _form(request, _browser(request))
    operator = await _accounts(request).sign_in(
        given.get("nom", ""), given.get("mot", ""), given.get("code", ""), _network(request)
    )
    token = await _sessions(request).open(operator.name, request.cookies.get(SESSION_COOKIE, ""))
    response = RedirectResponse("/", 303)
    response.set_cookie(SESSION_COOKIE, token, path="/", secure=True, httponly=True, samesite="strict")
    return response


@router.get("/activation")
async def activation(request: Request) -> Response:
    """Where a code is shown."""
    return _page(request, "activation.html", None, secret="", given={})


@router.post("/activation")
async def activate(request: Request) -> Response:
    """The code, then with it password and first one-time code."""
    given = await _form(request, _browser(request))
    name, code = given.get("nom", ""), given.get("invitation", "")
    if "mot" in given:
        await _accounts(request).enrol(name, code, given["mot"], given.get("code", ""), _network(request))
        return RedirectResponse("/", 303)
    secret = await _accounts(request).show(name, code, _network(request))
    letters, link = base64.b32encode(secret).decode(), totp.uri(secret, "Caducée console", name)
    return _page(request, "activation.html", None, secret=letters, link=link, given=given)


@router.post("/deconnexion")
async def sign_out(request: Request) -> Response:
    """End the session."""
    await _signed_in(request)
    await _sessions(request).end(request.cookies[SESSION_COOKIE])
    response = RedirectResponse("/", 303)
    response.delete_cookie(SESSION_COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return response


@router.post("/boite")
async def mailbox(request: Request) -> Response:
    """A mailbox as it stands, after what was ordered of it."""
    operator, given = await _signed_in(request)
    acts, address, order = _acts(request), given.get("adresse", ""), given.get("ordre", "")
    if order in ("suspendre", "reprendre"):
        await acts.suspend(operator, address, order == "suspendre")
    elif order == "couper":
        await acts.end(operator, address)
    elif order.startswith("certificat-") and order.removeprefix("certificat-").isdecimal():
        await acts.remove_certificate(operator, address, int(order.removeprefix("certificat-")))
    elif order:
        raise ProtocolViolation(Reason.MALFORMED, "There is no such order.")
    return _page(request, "accueil.html", operator, seen=await acts.look(operator, address))


@router.get("/demandes")
async def asked(request: Request) -> Response:
    """What was asked for."""
    operator = await _operator(request)
    return RedirectResponse("/", 303) if operator is None else await _requests(request, operator)


@router.post("/demandes")
async def decide(request: Request) -> Response:
    """Ask for an act, approve or withdraw a request."""
    operator, given = await _signed_in(request)
    pool, edge, order = request.app.state.pool, request.app.state.edge, given.get("ordre", "")
    if order == "demander":
        if given.get("acte") not in set(Act):
            raise ProtocolViolation(Reason.MALFORMED, "There is no such act.")
        act = Act(given["acte"])
        requests.may_ask(operator, act)
        target, facts, owner_id = await _acts(request).prepared(act, given)
        async with pool.acquire() as connection:
            await requests.ask(connection, edge, operator, act, target, facts, given.get("motif", ""), owner_id)
        return RedirectResponse("/demandes", 303)
    number = int(given["numero"]) if given.get("numero", "").isdecimal() and len(given["numero"]) < 12 else 0
    if order == "approuver":
        result = await requests.approve(pool, edge, operator, number, _acts(request).carry_out)
        return await _requests(request, operator, done=number, result=result)
    if order == "retirer":
        await requests.withdraw(pool, edge, operator, number)
        return RedirectResponse("/demandes", 303)
    raise ProtocolViolation(Reason.MALFORMED, "There is no such order.")


@router.get("/operateurs")
async def operators(request: Request) -> Response:
    """All operators."""
    operator = await _operator(request)
    if operator is None:
        return RedirectResponse("/", 303)
    return _page(request, "operateurs.html", operator, everyone=await _acts(request).everyone(operator))


@router.get("/trace")
async def trace(request: Request) -> Response:
    """Whose trail to read."""
    operator = await _operator(request)
    if operator is None:
        return RedirectResponse("/", 303)
    return _page(request, "trace.html", operator, lines=None)


@router.post("/trace")
async def read_trace(request: Request) -> Response:
    """The trail of a mailbox or of an operator."""
    operator, given = await _signed_in(request)
    lines = await _acts(request).trail(operator, given.get("qui", "").strip())
    return _page(request, "trace.html", operator, lines=lines)


def refusal(request: Request, error: CaduceeError) -> Response:
    """What was not done, told to the person."""
    return _page(request, "refus.html", None, status=_STATUSES.get(error.reason, 503), error=error)


async def _requests(request: Request, operator: Operator, done: int = 0, result: str = "") -> Response:
    found = await requests.listed(request.app.state.pool, request.app.state.edge, operator)
    mine = [act for act in Act if operator.role and act in REQUESTERS[operator.role]]
    now = clock.now()
    return _page(request, "demandes.html", operator, found=found, acts=mine, done=done, result=result, now=now)


def _page(request: Request, template: str, operator: Operator | None, *, status: int = 200, **values: Any) -> Response:
    browser = _browser(request) or secrets.token_urlsafe(32)
    bound = request.cookies.get(SESSION_COOKIE, "") if operator else browser
    token = _sessions(request).form_token(bound)
    text = _PAGES.get_template(template).render(jeton=token, operator=operator, **values)
    response = HTMLResponse(text, status)
    response.set_cookie(BROWSER_COOKIE, browser, path="/", secure=True, httponly=True, samesite="strict")
    return response


async def _operator(request: Request) -> Operator | None:
    return await _sessions(request).find(request.cookies.get(SESSION_COOKIE, ""))


async def _signed_in(request: Request) -> tuple[Operator, Mapping[str, str]]:
    """Who sent this form, and what is in it. Raises Refused(NOT_ALLOWED)."""
    operator = await _operator(request)
    if operator is None:
        raise Refused(Reason.NOT_ALLOWED, "Your session has ended: sign in again.")
    return operator, await _form(request, request.cookies[SESSION_COOKIE])


async def _form(request: Request, bound: str) -> Mapping[str, str]:
    """A form that a page of ours gave to who holds the secret `bound`. Raises Refused, ProtocolViolation."""
    same_origin(request)
    try:
        given = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=FIELDS))
    except ValueError:
        raise ProtocolViolation(Reason.MALFORMED, "This form cannot be read.") from None
    right = _sessions(request).form_token(bound).encode()
    if not bound or not hmac.compare_digest(right, given.get("jeton", "").encode("utf-8", "surrogatepass")):
        raise Refused(Reason.NOT_ALLOWED, "This form is not of this session.")
    return given


def _browser(request: Request) -> str:
    return request.cookies.get(BROWSER_COOKIE, "")


def _network(request: Request) -> str:
    return network_of(request.client.host) if request.client else ""


def _accounts(request: Request) -> OperatorAccounts:
    found: OperatorAccounts = request.app.state.accounts
    return found


def _sessions(request: Request) -> OperatorSessions:
    found: OperatorSessions = request.app.state.sessions
    return found


def _acts(request: Request) -> Acts:
    found: Acts = request.app.state.acts
    return found
