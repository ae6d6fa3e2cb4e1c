"""HTTPS for facilities' servers: one address, POST /oauth2/token, and JSON for every answer (RFC 6749 §5)."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Scope

from server.app import Context, Sockets
from server.base.errors import CaduceeError, Reason, TryLater
from server.base.limits import FACILITY_FORM_BYTES
from server.base.settings import Settings
from server.base.tls import server_context
from server.db.pool import trouble
from server.facility import form
from server.facility.form import NotGiven
from server.facility.service import TokenService
from server.http.guard import Guard
from server.http.server import HttpsServer
from server.identity.facility.tokens import SECONDS
from server.trust.follow import Follower

PATH = "/oauth2/token"
_STATUSES = {Reason.TOO_LARGE: 413}
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


async def serve(context: Context, sockets: Sockets) -> FacilityEdge:
    """Listen on "facility". A client certificate under the configured anchors is asked for, and needed."""
    if context.edge is None or context.anchors is None:
        raise ValueError("the facility role needs the edge keys that sign in, and the anchors")
    settings, section = context.settings, context.listener
    # Of the trust space only what is known of revocations: nobody speaks for a domain here.
    known = settings.trust.model_copy(update={"white_list": ""})
    trust = await Follower.start(context.pool, known, context.anchors, context.log)
    anchors = [settings.path(anchor) for anchor in settings.trust.anchors]
    tls = server_context(settings.path(section.certificate), settings.path(section.private_key), anchors)
    service = TokenService(context.pool, context.edge, trust.space, context.log)
    server = HttpsServer(application(service, _host_names(settings), context.log), tls)
    await server.listen(sockets["facility"])
    return FacilityEdge(server, trust)


class FacilityEdge:
    """One worker's server and what it follows."""

    def __init__(self, server: HttpsServer, trust: Follower) -> None:
        self._server = server
        self.trust = trust

    async def drain(self, deadline: float) -> None:
        """Take no new connection and let requests end, until the deadline."""
        await self._server.drain(deadline)

    async def close(self) -> None:
        """End all that is left, now."""
        await self._server.close()
        await self.trust.close()


def application(service: TokenService, hosts: frozenset[str], log: Any) -> ASGIApp:
    """The one address behind its guard."""

    async def token(request: Request) -> Response:
        if request.url.query:  # RFC 6749 §3.2 takes none, and an address stands in other people's logs
            raise NotGiven("invalid_request", "Parameters belong into the body.")
        asked = form.read(request.headers.get("content-type", ""), await _body(request))
        network = request.client.host if request.client else ""
        given = await service.give(request.state.shown, network, asked)
        content = {"access_token": given.token, "token_type": "Bearer", "expires_in": SECONDS, "scope": given.scope}
        return JSONResponse(content, headers={"Pragma": "no-cache"})  # RFC 6749 §5.1; the guard says no-store

    async def failed(scope: Scope, error: BaseException) -> Response:
        known = trouble(error) or error
        if isinstance(known, TryLater):
            return _refusal(NotGiven("temporarily_unavailable", "It is not possible now; try again later.", 503, 30))
        if isinstance(known, CaduceeError):
            return _refusal(NotGiven("invalid_request", known.sentence, _STATUSES.get(known.reason, 400)))
        log.error("facility_request_failed", error=error)
        return _refusal(NotGiven("temporarily_unavailable", "Something failed here; try again later.", 503, 30))

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, NotGiven)  # noqa: S101 -- registered for it alone
        log.info("facility_refused", error=error.error, status=error.status)
        return _refusal(error)

    async def not_served(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        return _refusal(NotGiven("invalid_request", f"POST to {PATH} is all that is served here.", status))

    app = Starlette(
        routes=[Route(PATH, token, methods=["POST"])],
        middleware=[Middleware(Guard, hosts=hosts, failed=failed)],
        exception_handlers={NotGiven: refused, HTTPException: not_served},
    )
    app.router.redirect_slashes = False
    return app


async def _body(request: Request) -> bytes:
    """Raises NotGiven: it is longer than a form can be."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > FACILITY_FORM_BYTES:
            raise NotGiven("invalid_request", f"The form has {FACILITY_FORM_BYTES} octets at most.", 413)
    return bytes(body)


def _refusal(error: NotGiven) -> Response:
    headers = {"Pragma": "no-cache"} | ({"Retry-After": str(error.wait)} if error.wait else {})
    content = {"error": error.error, "error_description": error.description}
    return JSONResponse(content, error.status, headers)


def _host_names(settings: Settings) -> frozenset[str]:
    section = settings.facility
    names = {settings.domain, section.name or settings.domain, section.host}
    return frozenset(names if settings.production else names | _LOCAL_NAMES)
