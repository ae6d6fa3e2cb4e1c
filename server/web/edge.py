"""The shell of the web role: uvicorn on the socket that was bound for it, HTTPS only, no access log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from server.app import Context, Running, Sockets
from server.base import clock
from server.base.limits import WEB_CONNECTIONS, WEB_HEADER_BYTES
from server.base.tls import server_context
from server.web.application import application, open_services
from server.web.protocol import BoundedProtocol
from server.web.services import Services

_START_SECONDS = 0.01  # between looks at whether uvicorn listens


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the role's own decide when to drain."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(context: Context, sockets: Sockets) -> Running:
    """Listen on "web"."""
    services = await open_services(context)
    edge = context.listener
    tls = server_context(context.settings.path(edge.certificate), context.settings.path(edge.private_key))
    config = uvicorn.Config(
        application(services),
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        ssl_context_factory=lambda config, default: tls,
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=WEB_HEADER_BYTES,
        limit_concurrency=WEB_CONNECTIONS,
    )
    web = WebEdge(_Server(config), services)
    await web.listen(sockets)
    return web


class WebEdge:
    """One worker's server and what its pages use."""

    def __init__(self, server: uvicorn.Server, services: Services) -> None:
        self._server = server
        self._services = services
        self._keys = services.store.follow()
        self._task: asyncio.Task[None] | None = None

    async def listen(self, sockets: Sockets) -> None:
        """Take connections from now on."""
        self._task = asyncio.create_task(self._server.serve([sockets["web"]]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise RuntimeError("the web server ended before it listened")
            await asyncio.sleep(_START_SECONDS)

    async def drain(self, deadline: float) -> None:
        """Take no new connection and let requests end, until the deadline."""
        self._server.config.timeout_graceful_shutdown = max(0, int(deadline - clock.monotonic()))
        await self._stop()

    async def close(self) -> None:
        """End all that is left, now."""
        self._server.force_exit = True
        await self._stop()

    async def _stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task
            self._task = None
            await self._services.policy.close()
            await self._services.acceptor.close()
            await self._services.trust.close()
            await self._keys.close()
