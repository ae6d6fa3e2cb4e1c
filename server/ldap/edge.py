"""The shell around LDAP sessions: sockets, TLS, time. All rules are in `session`."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from contextlib import suppress
from typing import Any, cast

from directory.ldap.search import Search
from server.app import Context, Running, Sockets
from server.base import clock
from server.base.limits import (
    LDAP_CONNECTIONS,
    LDAP_HANDSHAKE_SECONDS,
    LDAP_IDLE_SECONDS,
    LDAP_NETWORK_CONNECTIONS,
    LDAP_SEND_SECONDS,
    LDAP_SIGNED_IN_SECONDS,
)
from server.base.metrics import SESSIONS
from server.base.tls import server_context
from server.base.tls_stream import TlsStream
from server.identity.accounts import Accounts
from server.identity.throttle import network_of
from server.ldap import answers
from server.ldap.answers import Code, Result
from server.ldap.conversation import Conversation
from server.ldap.grammar import Request
from server.ldap.pki import PkiServer, Publisher
from server.ldap.service import Service
from server.ldap.session import Ask, Close, Send, Session, StartTls, answer_to

_READ_BYTES = 16 * 1024
_UNSENT_BYTES = 64 * 1024  # past it whoever writes waits for the reader
# A client that went away, did not shake hands, or said or took nothing for too long: nothing to tell anyone.
_GONE = OSError


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
        assert context.edge is not None  # noqa: S101 -- the role has the part of it that signs people in
        settings = context.settings
        self._service = Service(
            context.pool,
            Accounts(context.pool, context.edge),
            Search(settings.domain),
            settings.directory.anonymous,
        )
        self._publisher = Publisher(settings.home / "pki")
        self._log = context.log
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._of_network: Counter[str] = Counter()

    async def listen(self, sockets: Sockets) -> None:
        """Take connections from now on."""
        loop = asyncio.get_running_loop()
        self._servers += [
            await loop.create_server(self._protocol, sock=sockets["ldap"]),
            await loop.create_server(
                lambda: TlsStream(self._protocol(), self._tls, LDAP_HANDSHAKE_SECONDS), sock=sockets["ldap_tls"]
            ),
        ]
        if "pki" in sockets:
            http = PkiServer(self._publisher, self._log)
            self._servers.append(await asyncio.start_server(http.taken, sock=sockets["pki"], limit=_READ_BYTES))

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(_READ_BYTES), self._taken)

    async def drain(self, deadline: float) -> None:
        """Take no new connection; sessions hold nothing that is half done, so they are told goodbye at once."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections.values()):
            connection.writer.write(connection.session.goodbye())
        await self._end(max(0.0, deadline - clock.monotonic()))

    async def close(self) -> None:
        """End all that is left, now."""
        for server in self._servers:
            server.close()
        await self._end(0.0)

    async def _end(self, patience: float) -> None:
        for connection in list(self._connections.values()):
            connection.writer.close()
        if self._connections:
            _, late = await asyncio.wait(list(self._connections), timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ip = writer.get_extra_info("peername", ("",))[0]
        network = network_of(ip)
        if len(self._connections) >= LDAP_CONNECTIONS or self._of_network[network] >= LDAP_NETWORK_CONNECTIONS:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- asyncio runs this in a task
        connection = _Connection(self._service, self._tls, self._log, reader, writer, ip)
        self._connections[task] = connection
        self._of_network[network] += 1
        SESSIONS.labels("ldap").inc()
        try:
            await connection.serve()
        except _GONE:
            pass
        except Exception as error:
            self._log.error("ldap_connection_failed", error=error)
        finally:
            SESSIONS.labels("ldap").dec()
            del self._connections[task]
            self._of_network[network] -= 1
            if not self._of_network[network]:
                del self._of_network[network]
            connection.writer.close()
            with suppress(_GONE):
                await connection.writer.wait_closed()


class _Connection:
    """One connection: what comes is read while what was asked is answered, in its order."""

    def __init__(
        self,
        service: Service,
        tls: ssl.SSLContext,
        log: Any,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ip: str,
    ) -> None:
        self.writer = writer
        self.session = Session(secure=writer.get_extra_info("ssl_object") is not None)
        self._conversation = Conversation(service, ip)
        self._tls = tls
        self._log = log
        self._reader = reader
        self._asked: asyncio.Queue[Request] = asyncio.Queue()  # `Session` lets in LDAP_OPERATIONS
        writer.transport.set_write_buffer_limits(_UNSENT_BYTES)

    async def serve(self) -> None:
        """Until the client leaves, or is left."""
        both = [asyncio.create_task(self._read()), asyncio.create_task(self._answer())]
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _read(self) -> None:
        while True:
            async with asyncio.timeout(LDAP_SIGNED_IN_SECONDS if self._conversation.who else LDAP_IDLE_SECONDS):
                data = await self._reader.read(_READ_BYTES)
            if not data:
                return
            for action in self.session.feed(data):
                match action:
                    case Send(answer):
                        await self._send(answer)
                    case Ask(request):
                        self._asked.put_nowait(request)
                    case StartTls():
                        await self._start_tls()
                    case Close():
                        return

    async def _start_tls(self) -> None:
        plain = cast(asyncio.Transport, self.writer.transport)
        protocol = cast(asyncio.StreamReaderProtocol, plain.get_protocol())
        stream = TlsStream(protocol, self._tls, LDAP_HANDSHAKE_SECONDS)
        await stream.upgrade(plain)
        self.writer = asyncio.StreamWriter(stream, protocol, self._reader, asyncio.get_running_loop())
        self.session.secured()

    async def _answer(self) -> None:
        while True:
            request = await self._asked.get()
            if self.session.wanted(request):
                try:
                    async for piece in self._conversation.answer(request, secure=self.session.secure):
                        if not self.session.wanted(request):
                            break
                        await self._send(piece)
                except _GONE:
                    raise
                except Exception as error:  # ours: said to be temporary, told to the log by type and place
                    self._log.error("ldap_request_failed", error=error)
                    ended = Result(Code.UNAVAILABLE, "it could not be answered; try again later")
                    await self._send(answers.result(request.message_id, answer_to(request), ended))
            await self._send(self.session.done(request))
            if self._conversation.hopeless:
                self.writer.close()
                return

    async def _send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(LDAP_SEND_SECONDS):
            await self.writer.drain()
