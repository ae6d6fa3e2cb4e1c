"""The shell of the web role."""

from __future__ import annotations

from server.app import Context, Running, Sockets
from server.base.tls import server_context
from server.http.server import HttpsServer
from server.web.application import application, open_services
from server.web.services import Services


async def serve(context: Context, sockets: Sockets) -> Running:
    """Listen on "web"."""
    services = await open_services(context)
    edge = context.listener
    tls = server_context(context.settings.path(edge.certificate), context.settings.path(edge.private_key))
    server = HttpsServer(application(services), tls)
    await server.listen(sockets["web"])
    return WebEdge(server, services)


class WebEdge:
    """One worker's server and what its pages use."""

    def __init__(self, server: HttpsServer, services: Services) -> None:
        self._server = server
        self._services = services
        self._keys = services.store.follow()
        self._open = True

    async def drain(self, deadline: float) -> None:
        """Take no new connection and let requests end, until the deadline."""
        await self._server.drain(deadline)
        await self._end()

    async def close(self) -> None:
        """End all that is left, now."""
        await self._server.close()
        await self._end()

    async def _end(self) -> None:
        if self._open:
            self._open = False
            await self._services.policy.close()
            await self._services.acceptor.close()
            await self._services.trust.close()
            await self._keys.close()
