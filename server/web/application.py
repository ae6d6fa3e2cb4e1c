"""The application: which pages there are, and what happens when one of them fails."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from server.app import Context
from server.audit.trail import Audit
from server.base.harvest import Harvest
from server.base.ids import trace_id
from server.base.settings import Settings
from server.db.pool import trouble
from server.http.guard import Guard
from server.identity.accounts import Accounts
from server.identity.facility.sign_in import facility_tokens
from server.identity.local.passwords import LocalPasswords
from server.identity.questions import asker
from server.identity.sessions.sessions import Sessions
from server.identity.tokens import verifier
from server.mailbox.store import Store
from server.record.prescriptions import Prescriptions
from server.record.record import Record
from server.record.signatures import Signatures
from server.transport.accept import Acceptor
from server.transport.policy import Policy
from server.trust.follow import Follower
from server.web import fhir
from server.web.language import WORDS
from server.web.pages import (
    account,
    account_proofs,
    activation,
    attachment,
    directory,
    home,
    linking,
    listing,
    local_sign_in,
    mailboxes,
    message,
    prescription,
    provider,
    public,
    record,
    reply,
    sessions,
    write,
)
from server.web.problems import Problem, document, is_ours, problem_of, problem_of_status, reason_of, wants_a_page
from server.web.renderer import Renderer, language_of
from server.web.services import Services, services
from server.web.visitor import NotRecent, NotSignedIn, NotTheirs, forget_session

STATIC = Path(__file__).with_name("static")
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


async def open_services(context: Context) -> Services:
    """Open the rooms below for this worker."""
    anchors, stampers = context.anchors, context.timestamp_anchors
    if context.edge is None or context.keyring is None or anchors is None or stampers is None:
        raise RuntimeError("the web role needs edge keys, the keyring and trust anchors")
    acceptor = Acceptor(context.pool, context.edge, anchors, context.settings)
    await acceptor.start()
    trust = await Follower.start(context.pool, context.settings.trust, anchors, context.log)
    audit = Audit(context.edge)
    return Services(
        settings=context.settings,
        pool=context.pool,
        edge=context.edge,
        audit=audit,
        policy=Policy(context.pool, context.edge, context.settings, trust.space),
        trust=trust,
        store=Store(context.pool, context.edge, context.keyring, anchors),
        accounts=Accounts(
            context.pool,
            context.edge,
            tokens=verifier(context.settings, context.pool, context.edge),
            facilities=facility_tokens(context.settings, context.pool, context.edge, trust.space),
            trust=trust.space,
        ),
        sessions=Sessions(context.pool, context.edge),
        passwords=LocalPasswords(context.pool, context.edge),
        record=Record(context.pool),
        signatures=Signatures(context.pool, anchors, stampers),
        prescriptions=Prescriptions(context.pool, context.edge, audit),
        acceptor=acceptor,
        renderer=Renderer(context.settings),
        harvest=Harvest(),
        asker=asker(context.settings),
        log=context.log,
    )


def application(opened: Services) -> ASGIApp:
    """The whole site behind its guard."""
    # No generated documentation: it would bring scripts from elsewhere, and this is no public API.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.services = opened
    pages = (public, home, local_sign_in, activation, provider, account, account_proofs, linking, sessions, mailboxes)
    for page in (*pages, listing, message, attachment, reply, write, directory, record, prescription, fhir):
        app.include_router(page.router)
    app.mount("/static", _Static(directory=STATIC))
    app.add_exception_handler(HTTPException, _refused_by_framework)
    app.add_exception_handler(RequestValidationError, _refused_by_framework)
    app.add_exception_handler(NotSignedIn, _not_signed_in)
    app.add_exception_handler(NotTheirs, _not_theirs)
    app.add_exception_handler(NotRecent, _not_recent)
    app.add_middleware(Guard, hosts=host_names(opened.settings), failed=_failed)
    return app


def host_names(settings: Settings) -> frozenset[str]:
    """The names that browsers may ask this server for."""
    names = {settings.domain, f"www.{settings.domain}", f"autoconfig.{settings.domain}", *settings.web.names}
    if settings.web.name:
        names.add(settings.web.name)
    if not settings.production:
        names |= _LOCAL_NAMES | {settings.web.host}
    return frozenset(names)


class _Static(StaticFiles):
    """Style and pictures: the only thing of ours that a browser may keep."""

    def file_response(self, *given: object, **named: object) -> Response:
        response = super().file_response(*given, **named)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response


async def _failed(scope: Scope, error: BaseException) -> Response:
    """The answer to an exception: the domain's own kinds by the table, all else as temporary trouble of ours."""
    request = Request(scope)
    known = trouble(error) or error
    trace = trace_id()
    if is_ours(known):
        services(request).log.error("web_request_failed", error=error, trace=trace)
    return answer(request, problem_of(known), reason_of(known), trace)


async def _refused_by_framework(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404  # a number in a path that is none
    return answer(request, problem_of_status(status), f"http-{status}", trace_id())


async def _not_signed_in(request: Request, error: Exception) -> Response:
    if not wants_a_page(request):
        return answer(request, Problem(401, "Connectez-vous d’abord.", "login"), "authentication-required", trace_id())
    ended = isinstance(error, NotSignedIn) and error.had_one
    response = RedirectResponse("/?fin=1" if ended else "/", 303)
    if ended:
        forget_session(response)
    return response


async def _not_theirs(request: Request, error: Exception) -> Response:
    if not wants_a_page(request):
        return answer(request, problem_of_status(404), "not-theirs", trace_id())
    return RedirectResponse("/boites?fin=1", 303)


async def _not_recent(request: Request, error: Exception) -> Response:
    return RedirectResponse("/connexion/encore?suite=/compte", 303)


def answer(request: Request, problem: Problem, reason: str, trace: str) -> Response:
    """A problem as a page for a person, as a document for a program."""
    if not wants_a_page(request):
        return document(request, problem, reason)
    sentence = WORDS[language_of(request)].say(problem.sentence)
    return services(request).renderer.page(
        request, "erreur.html", status=problem.status, sentence=sentence, trace=trace, room=""
    )
