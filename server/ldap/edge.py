"""The shell around LDAP sessions: sockets, TLS, time. All rules are in `session`."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

from server.app import Context, Running, Sockets
from server.base import clock
from server.base.limits import LDAP_CONNECTIONS, LDAP_HANDSHAKE_SECONDS, LDAP_IDLE_SECONDS
from server.base.metrics import SESSIONS
from server.base.tls import server_context
from server.ldap.pki import PkiServer, Publisher
from server.ldap.session import Close, Send, Session, StartTls

_READ_BYTES = 16 * 1024
# A client that went away, did not shake hands, or said nothing for too long: nothing to tell anyone.
_GONE = (ConnectionError, TimeoutError, ssl.SSLError)


async def serve(context: Context, sockets: Sockets) -> Running:
    """Listen on "ldap" (StartTLS, RFC 4511 §4.14) and "ldap_tls" (TLS from the first octet)."""
    edge = context.listener
    tls = server_context(context.settings.path(edge.certificate), context.settings.path(edge.private_key))
    directory = LdapEdge(context, tls)
    await directory.listen(sockets)
    return directory


class LdapEdge:
    """The listeners of one worker and the connections they took."""

    def __init__(self, context: Context, tls: ssl.SSLContext) -> None:
        self._domain = context.settings.domain
        self._publisher = Publisher(context.settings.home / "pki")
        self._log = context.log
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self._connections: dict[asyncio.Task[None], Session] = {}
        self._writers: dict[Session, asyncio.StreamWriter] = {}

    async def listen(self, sockets: Sockets) -> None:
        """Take connections from now on."""
        for name, tls in (("ldap", None), ("ldap_tls", self._tls)):
            timeout = LDAP_HANDSHAKE_SECONDS if tls else None
            server = await asyncio.start_server(
                self._taken, sock=sockets[name], ssl=tls, ssl_handshake_timeout=timeout, limit=_READ_BYTES
            )
            self._servers.append(server)
        if "pki" in sockets:
            http = PkiServer(self._publisher, self._log)
            self._servers.append(await asyncio.start_server(http.taken, sock=sockets["pki"], limit=_READ_BYTES))

    async def drain(self, deadline: float) -> None:
        """Take no new connection; sessions hold nothing that is half done, so they are told goodbye at once."""
        for server in self._servers:
            server.close()
        for session, writer in list(self._writers.items()):
            writer.write(session.goodbye())
        await self._end(max(0.0, deadline - clock.monotonic()))

    async def close(self) -> None:
        """End all that is left, now."""
        for server in self._servers:
            server.close()
        await self._end(0.0)

    async def _end(self, patience: float) -> None:
        for writer in list(self._writers.values()):
            writer.close()
        if self._connections:
            _, late = await asyncio.wait(list(self._connections), timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= LDAP_CONNECTIONS:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- asyncio runs this in a task
        secure = writer.get_extra_info("ssl_object") is not None
        session = Session(self._domain, start_tls=True, secure=secure)
        self._connections[task] = session
        self._writers[session] = writer
        SESSIONS.labels("ldap").inc()
        try:
            await self._talk(session, reader, writer)
        except _GONE:
            pass
        except Exception as error:
            self._log.error("ldap_connection_failed", error=error)
        finally:
            SESSIONS.labels("ldap").dec()
            del self._connections[task], self._writers[session]
            writer.close()
            with suppress(*_GONE):
                await writer.wait_closed()

    async def _talk(self, session: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(LDAP_IDLE_SECONDS):
                data = await reader.read(_READ_BYTES)
                if not data:
                    return
                for action in session.feed(data):
                    match action:
                        case Send(answer):
                            writer.write(answer)
                            await writer.drain()
                        case StartTls():
                            await writer.start_tls(self._tls, ssl_handshake_timeout=LDAP_HANDSHAKE_SECONDS)
                            session.secured()
                        case Close():
                            return
