"""uvicorn on a socket that was bound for it: HTTPS only, bounded, no access log."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from server.base import clock
from server.base.limits import WEB_CONNECTIONS, WEB_HEADER_BYTES
from server.http.protocol import BoundedProtocol

_START_SECONDS = 0.01  # between looks at whether uvicorn listens


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the role's own decide when to drain."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpsServer:
    """One application on one socket."""

    def __init__(self, app: ASGIApp, tls: ssl.SSLContext) -> None:
        config = uvicorn.Config(
            app,
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
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def listen(self, bound: socket.socket) -> None:
        """Take connections from now on."""
        self._task = asyncio.create_task(self._server.serve([bound]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise RuntimeError("the web server ended before it listened")
            await asyncio.sleep(_START_SECONDS)

    async def drain(self, deadline: float) -> None:
        """Take no new connection and let requests end, until the deadline (of clock.monotonic())."""
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
