"""HTTP/1.1 on a connection: uvicorn's h11 protocol, with the one bound that it lacks, the time to send a header, and
for each request the certificate that the client showed, with its path (DER).

h11 bounds the size of a header (WEB_HEADER_BYTES); a request once begun is bounded by the guard.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from server.base.limits import WEB_HEADER_SECONDS
from server.base.tls import verified_path


class BoundedProtocol(H11Protocol):
    """Closes a connection whose request header is not whole after WEB_HEADER_SECONDS (slow loris)."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Each request of the connection finds it as `request.state.shown` (RFC 8705 §2: the certificate of the client).
        self.app_state = {**self.app_state, "shown": verified_path(transport.get_extra_info("ssl_object"))}
        self._watch()

    def handle_events(self) -> None:
        super().handle_events()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def _watch(self) -> None:
        # RFC 9112 §9.3: after an answer h11 is IDLE again; uvicorn's own keep-alive timer ends with the first octet.
        if self.conn.their_state is not h11.IDLE:
            self._rest()
        elif self._timer is None:
            self._timer = self.loop.call_later(WEB_HEADER_SECONDS, self._late)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        self.transport.close()
