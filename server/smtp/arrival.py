"""A connection that speaks TLS from its first octet, on its way to a session."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from server.base import limits
from server.base.tls_stream import TlsStream
from server.identity.throttle import network_of


class Arrival(TlsStream):
    """A connection that speaks TLS from the first octet: no session until the handshake is done, and a stranger's."""

    __slots__ = ("_arrivals", "_network")

    def __init__(self, protocol: asyncio.Protocol, context: ssl.SSLContext, arrivals: set[Arrival]) -> None:
        super().__init__(protocol, context, limits.SMTP_HANDSHAKE_SECONDS)
        self._arrivals = arrivals
        self._network = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self._network = network_of(str(peer[0]))
        waiting = [one for one in self._arrivals if not one.shaken]
        crowd = sum(1 for one in waiting if one._network == self._network)
        if crowd >= limits.SMTP_STRANGERS or len(waiting) >= limits.SMTP_SESSIONS:
            cast(asyncio.Transport, transport).abort()
            return
        self._arrivals.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._arrivals.discard(self)
        super().connection_lost(error)
