"""The provider role: one process, HTTPS on one port, all its state in memory."""

from __future__ import annotations

import secrets
import ssl
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from server.app import Context, Sockets, ports
from server.base import clock
from server.base.errors import CaduceeError, Reason
from server.base.tls import client_context, server_context
from server.http.guard import Guard
from server.http.server import HttpsServer
from server.provider import clients, endpoints, pages, people
from server.provider.addresses import host_of, issuer, web_addresses
from server.provider.keys import SigningKeys
from server.provider.model import ProtocolError
from server.provider.provider import Provider

_STATUSES = {Reason.TOO_LARGE: 413, Reason.NOT_ALLOWED: 403, Reason.MALFORMED: 400}


async def serve(context: Context, sockets: Sockets) -> HttpsServer:
    """Listen on "provider"."""
    settings, section = context.settings, context.settings.provider
    names = people.file_of(settings)
    provider = Provider(
        issuer(settings, sockets.ports["provider"]),
        clients.read_clients(clients.file_of(settings), web_addresses(settings, ports(settings, "web")["web"])),
        lambda: people.read_people(names),
        SigningKeys(clock.now()),
    )
    trusted = client_context(*(settings.path(anchor) for anchor in settings.trust.anchors))
    hosts = frozenset({host_of(settings), "localhost", "127.0.0.1", "[::1]", section.host})
    server = HttpsServer(
        application(provider, hosts, trusted, context.log),
        server_context(settings.path(section.certificate), settings.path(section.private_key)),
    )
    await server.listen(sockets["provider"])
    return server


def application(provider: Provider, hosts: frozenset[str], tls: ssl.SSLContext, log: Any) -> ASGIApp:
    """The provider behind its guard."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.provider, app.state.tls, app.state.log = provider, tls, log
    app.state.form_key = secrets.token_bytes(32)
    app.include_router(endpoints.router)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).with_name("static")))
    app.add_exception_handler(ProtocolError, _refused)
    app.add_exception_handler(HTTPException, _not_served)

    async def failed(scope: Scope, error: BaseException) -> Response:
        if not isinstance(error, CaduceeError):
            log.error("provider_request_failed", error=error)
        status = _STATUSES.get(error.reason, 503) if isinstance(error, CaduceeError) else 500
        known = error.sentence if isinstance(error, CaduceeError) else "Something failed here."
        return _told(
            Request(scope), ProtocolError("server_error" if status >= 500 else "invalid_request", known, status)
        )

    app.add_middleware(Guard, hosts=hosts, failed=failed)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProtocolError)  # noqa: S101 -- registered for it alone
    return _told(request, error)


async def _not_served(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _told(request, ProtocolError("invalid_request", "Nothing is served here.", status))


def _told(request: Request, error: ProtocolError) -> Response:
    """A page for people, JSON for programs."""
    if "text/html" in request.headers.get("accept", ""):
        return pages.mistake(request, error)
    return endpoints.refusal(error)
