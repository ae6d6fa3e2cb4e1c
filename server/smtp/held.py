"""HTTPS of the relay: what is held for other operators, to each what is its own, from any octet on.

Invariants:
- Only an operator whose certificate the trust space lists for the recipients' domain gets it, and only by naming one
  of its recipients; to everybody else, and of what has ended, the answer is the same: there is no such thing.
- What is served is ciphertext: its key left with the pointer. A part of a piece is in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import asyncpg
import h11

from crypto.blind_index import token
from crypto.edge import EdgeKeys
from server.base import clock
from server.base.errors import CaduceeError, TryLater
from server.base.limits import KIB
from server.base.tls import verified_path
from server.mail.addresses import normalise
from server.mailbox.content import PIECE
from server.mailbox.trouble import connection
from server.smtp.arrival import Arrival
from server.smtp.service import Service
from server.transport import queries
from server.transport.pointer import PATH, RECIPIENT

CONNECTIONS: Final = 100
REQUEST_SECONDS: Final = 20.0  # its header, after the handshake
WRITE_SECONDS: Final = 60.0  # without an octet taken
HEADER_BYTES: Final = 8 * KIB
PART: Final = 256 * KIB  # divides PIECE
_TARGET: Final = re.compile(re.escape(PATH) + "([0-9a-f]{32})")
_RANGE: Final = re.compile(rb"bytes=(\d{1,18})-")


@dataclass(frozen=True, slots=True)
class Found:
    """A blob of `size` octets, wanted from `offset` on."""

    held_id: bytes
    size: int
    offset: int


class HeldEdge:
    """The listener of one worker and its connections."""

    def __init__(self, service: Service, pool: asyncpg.Pool, edge: EdgeKeys) -> None:
        self._service = service
        self._pool = pool
        self._edge = edge
        self._server: asyncio.Server | None = None
        self._arrivals: set[Arrival] = set()
        self._serving: set[asyncio.Task[None]] = set()

    async def listen(self, sock: socket.socket) -> None:
        """Take connections from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._arrival, sock=sock)

    async def drain(self, deadline: float) -> None:
        """Take no new connection, let what is being served end, until `deadline`."""
        if self._server is not None:
            self._server.close()
        if self._serving:
            await asyncio.wait(self._serving, timeout=max(0.0, deadline - clock.monotonic()))

    async def close(self) -> None:
        """End all that is left: who fetches takes it up elsewhere."""
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _arrival(self) -> Arrival:
        reader = asyncio.StreamReader(limit=HEADER_BYTES)
        return Arrival(asyncio.StreamReaderProtocol(reader, self._connected), self._service.tls, self._arrivals)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._serving) >= CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            wire = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES)
            async with asyncio.timeout(REQUEST_SECONDS):
                request = await _request(reader, wire)
            found = await self._find(writer, request)
            if isinstance(found, int):
                await _answer(writer, wire, found)
            else:
                await self._send(writer, wire, found)
        except (TimeoutError, OSError, ssl.SSLError, h11.ProtocolError):
            pass  # a client that is slow, gone or no client: nothing is owed to it
        except Exception as error:  # whatever one connection meets, the others go on
            self._service.log.error("held_failed", error=error)
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()

    async def _find(self, writer: asyncio.StreamWriter, request: h11.Request) -> Found | int:
        """What is asked for, or the status that says no."""
        target = _TARGET.fullmatch(request.target.decode("latin-1"))
        path = verified_path(writer.get_extra_info("ssl_object"))
        if not path:
            return 403
        if target is None or request.method != b"GET":
            return 404
        headers = dict(request.headers)
        recipient = headers.get(RECIPIENT.lower().encode(), b"").decode("utf-8", "replace")
        span = _RANGE.fullmatch(headers.get(b"range", b"bytes=0-"))
        held_id = bytes.fromhex(target[1])
        try:
            peer = self._service.policy.peer(path)
            wanted = token(self._edge.address, normalise(recipient))
            async with connection(self._pool) as acquired:
                row = await acquired.fetchrow(queries.HELD, held_id, wanted, clock.now())
        except TryLater:
            return 503
        except (CaduceeError, ValueError):  # no address, or a certificate that nobody can read
            return 404
        if row is None or not self._service.policy.may_fetch(peer, row["domain"]):
            return 404
        if span is None or int(span[1]) >= row["size"]:
            return 416
        self._service.log.info("held_fetched", held=target[1], offset=int(span[1]))
        return Found(held_id, row["size"], int(span[1]))

    async def _send(self, writer: asyncio.StreamWriter, wire: h11.Connection, found: Found) -> None:
        headers = [
            ("Content-Type", "application/octet-stream"),
            ("Content-Length", str(found.size - found.offset)),
            ("Content-Range", f"bytes {found.offset}-{found.size - 1}/{found.size}"),
            ("Connection", "close"),
        ]
        writer.write(wire.send(h11.Response(status_code=206, headers=headers)) or b"")
        async for part in self._parts(found):
            writer.write(wire.send(h11.Data(data=part)) or b"")
            async with asyncio.timeout(WRITE_SECONDS):
                await writer.drain()
        writer.write(wire.send(h11.EndOfMessage()) or b"")
        # All of it is given to the socket before the end: a client that is slow then loses none of it.
        writer.transport.set_write_buffer_limits(high=0)
        async with asyncio.timeout(WRITE_SECONDS):
            await writer.drain()

    async def _parts(self, found: Found) -> AsyncIterator[bytes]:
        """No connection to the database is held between two. Ends early where the blob has been removed meanwhile."""
        offset = found.offset
        while offset < found.size:
            number, within = divmod(offset, PIECE)
            async with connection(self._pool) as acquired:
                part = await acquired.fetchval(queries.HELD_PART, found.held_id, number, within, PART)
            if not part:
                raise OSError("it was removed")
            yield bytes(part)
            offset += len(part)


async def _request(reader: asyncio.StreamReader, wire: h11.Connection) -> h11.Request:
    """Raises OSError: the client left."""
    while (event := wire.next_event()) is h11.NEED_DATA:
        wire.receive_data(await reader.read(HEADER_BYTES))
    if not isinstance(event, h11.Request):
        raise OSError("no request came")
    return event


async def _answer(writer: asyncio.StreamWriter, wire: h11.Connection, status: int) -> None:
    response = h11.Response(status_code=status, headers=[("Content-Length", "0"), ("Connection", "close")])
    writer.write((wire.send(response) or b"") + (wire.send(h11.EndOfMessage()) or b""))
    async with asyncio.timeout(WRITE_SECONDS):
        await writer.drain()
