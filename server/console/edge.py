"""The console role: one process, HTTPS on a port of its own, by default on loopback alone. It holds no keyring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from crypto.edge import EdgeKeys
from server.app import Context, Sockets
from server.base.errors import CaduceeError, Reason, Refused
from server.base.tls import server_context
from server.console import pages
from server.console.acts import Acts
from server.http.guard import Guard
from server.http.server import HttpsServer
from server.identity.operators.accounts import OperatorAccounts
from server.identity.operators.sessions import OperatorSessions


async def serve(context: Context, sockets: Sockets) -> HttpsServer:
    """Listen on "console"."""
    settings, section = context.settings, context.settings.console
    assert context.edge is not None  # noqa: S101 -- the role has them (roles.py)
    hosts = frozenset({section.name or settings.domain, "localhost", "127.0.0.1", "[::1]", section.host})
    server = HttpsServer(
        application(context.pool, context.edge, hosts, context.log),
        server_context(settings.path(section.certificate), settings.path(section.private_key)),
    )
    await server.listen(sockets["console"])
    return server


def application(pool: asyncpg.Pool, edge: EdgeKeys, hosts: frozenset[str], log: Any) -> ASGIApp:
    """The pages behind their guard."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.pool, app.state.edge = pool, edge
    app.state.accounts = OperatorAccounts(pool, edge)
    app.state.sessions = OperatorSessions(pool, edge)
    app.state.acts = Acts(pool, edge)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).with_name("static")))
    app.add_exception_handler(HTTPException, _not_served)

    async def failed(scope: Scope, error: BaseException) -> Response:
        if not isinstance(error, CaduceeError):
            log.error("console_request_failed", error=error)
            error = CaduceeError(Reason.INTERNAL, "Something failed here.")
        return pages.refusal(Request(scope), error)

    app.add_middleware(Guard, hosts=hosts, failed=failed)
    return app


async def _not_served(request: Request, error: Exception) -> Response:
    return pages.refusal(request, Refused(Reason.NO_SUCH_MESSAGE, "Nothing is served here."))
