"""What another operator holds, over HTTPS: both certificates, bounded, from any octet on; a part in memory.

The way there is the domain's own: its exchangers by DNS, one port for all operators, and a certificate whose subject
the trust space lists for the domain. Nothing in a pointer leads a connection elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import h11

from server.base.limits import KIB
from server.base.tls import verified_path
from server.sender.mx import Exchangers
from server.transport.pointer import RECIPIENT, Pointer

CONNECT_SECONDS: Final = 20.0
READ_SECONDS: Final = 60.0  # without an octet: the connection is as good as lost
PART: Final = 256 * KIB
GONE: Final = frozenset({403, 404, 410, 416})  # no later attempt would be answered otherwise


class Lost(Exception):
    """The connection failed, or the peer cannot answer now; the text is for the queue's listing."""


class NotHeld(Exception):
    """The peer does not hold it, not for this recipient, or not any more."""


@dataclass(frozen=True, slots=True)
class Source:
    """Who serves it: the name of the host, its certificates (DER), the cipher."""

    host: str
    path: tuple[bytes, ...]
    tls: str


class Downloads:
    """The connections of one worker. `why_not` says why a peer is not to be trusted for a domain, None when it is."""

    def __init__(
        self,
        exchangers: Exchangers,
        tls: ssl.SSLContext,
        port: int,
        local: str,
        why_not: Callable[[str, Sequence[bytes]], str | None],
    ) -> None:
        self._exchangers = exchangers
        self._tls = tls
        self._port = port
        self._local = (local, 0) if local else None
        self._why_not = why_not

    @asynccontextmanager
    async def open(
        self, domain: str, pointer: Pointer, recipient: str, offset: int
    ) -> AsyncIterator[tuple[Source, AsyncIterator[bytes]]]:
        """The blob from its octet `offset` on. Raises Lost, NotHeld, NoHost; so does what is iterated."""
        reader, writer, host = await self._connect(domain)
        try:
            tls = writer.get_extra_info("ssl_object")
            path = verified_path(tls)
            objection = self._why_not(domain, path) if path else "the peer shows no certificate"
            if objection is not None:
                raise Lost(objection)
            cipher = tls.cipher() or ("", "")
            wire = h11.Connection(h11.CLIENT)
            named = [("Host", domain), (RECIPIENT, recipient), ("Connection", "close")]
            request = h11.Request(method="GET", target=pointer.path, headers=[*named, ("Range", f"bytes={offset}-")])
            writer.write((wire.send(request) or b"") + (wire.send(h11.EndOfMessage()) or b""))
            await _check(reader, wire)
            yield Source(host, path, f"{cipher[1]} {cipher[0]}"), _octets(reader, wire)
        except (OSError, ssl.SSLError):
            raise Lost("the connection was lost") from None
        except h11.ProtocolError:
            raise Lost("the peer speaks no HTTP") from None
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()

    async def _connect(self, domain: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        for host in await self._exchangers.of(domain):
            for address in host.addresses:
                with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
                    async with asyncio.timeout(CONNECT_SECONDS):
                        opened = await asyncio.open_connection(
                            address, self._port, ssl=self._tls, local_addr=self._local, limit=PART
                        )
                    return *opened, host.name
        raise Lost("cannot connect")


async def _check(reader: asyncio.StreamReader, wire: h11.Connection) -> None:
    event = await _next(reader, wire)
    if not isinstance(event, h11.Response):
        raise Lost("the peer gave no answer")
    if event.status_code in GONE:
        raise NotHeld
    if event.status_code != 206:  # whole, when a part was asked for, is another document
        raise Lost(f"the peer answers {event.status_code}")


async def _octets(reader: asyncio.StreamReader, wire: h11.Connection) -> AsyncIterator[bytes]:
    while not isinstance(event := await _next(reader, wire), h11.EndOfMessage):
        if not isinstance(event, h11.Data):
            raise Lost("the connection was lost")
        yield bytes(event.data)


async def _next(reader: asyncio.StreamReader, wire: h11.Connection) -> object:
    while (event := wire.next_event()) is h11.NEED_DATA:
        try:
            async with asyncio.timeout(READ_SECONDS):
                wire.receive_data(await reader.read(PART))
        except TimeoutError:
            raise Lost("the peer sends nothing") from None
    return event
