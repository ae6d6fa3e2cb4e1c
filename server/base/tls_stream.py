"""TLS on a connection through memory buffers: a protocol towards the socket, a transport towards the edge.

The event loops' own TLS keeps up to some hundred kilobytes for each connection as long as it lives, and practices idle
in IMAP by the thousand. Here a connection that waits holds OpenSSL's state and little else: OpenSSL frees its record
buffers between records (SSL_MODE_RELEASE_BUFFERS, which Python sets), and what passes the two memory buffers passes a
record at a time, so that they never grow past one (figures in docs/performance.md).

Rules:
1. Nothing is kept here for a slow peer: `pause_reading`, `pause_writing` and their limits are the socket's own.
2. The edge's protocol hears of a connection when the handshake is done, and of its end once.
3. Bytes that came in clear before STARTTLS are the edge's to refuse; from `upgrade` on every byte is TLS or ends it.
4. After `close` the peer has TLS_CLOSE_SECONDS at a time to take what was said. What it still sends is read and thrown
   away: a socket closed with unread bytes in it is reset, and our last words with it.
5. An end without close_notify (RFC 8446 §6.1) ends the connection as one with it: a command or a content that was cut
   short is never complete, so that an attacker who cuts gains nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Any, cast

from server.base.limits import TLS_CLOSE_SECONDS, TLS_UNASKED_BYTES

_RECORD = 16_384  # RFC 8446 §5.1: plain octets in a record
_SEALED_RECORD = 5 + _RECORD + 256  # RFC 8446 §5.2: its header, and the most that sealing adds


class TlsStream(asyncio.Protocol, asyncio.Transport):
    """The server's side of one connection."""

    # No dictionary: thousands of them wait.
    __slots__ = (
        "_closing",
        "_context",
        "_incoming",
        "_loop",
        "_outgoing",
        "_patience",
        "_protocol",
        "_shaken",
        "_ssl",
        "_timer",
        "_transport",
        "_unsent",
        "_upgraded",
    )

    def __init__(self, protocol: asyncio.Protocol, context: ssl.SSLContext, patience: float) -> None:
        """To be given to a plain socket as its protocol; `patience` is how many seconds the handshake may take."""
        self._protocol = protocol
        self._context = context
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._upgraded: asyncio.Future[None] | None = None  # of `upgrade`, until its caller goes on
        self._shaken = False
        self._closing = False
        self._unsent = 0  # octets the socket still held when the end was looked at last

    async def upgrade(self, transport: asyncio.Transport) -> None:
        """Put TLS under a protocol that has talked in clear on `transport` (STARTTLS); it is not told of it again.

        Raises ssl.SSLError or ConnectionError when the handshake fails or takes too long; the socket is then closed.
        """
        self._upgraded = self._loop.create_future()
        transport.set_protocol(self)
        self.connection_made(transport)
        transport.resume_reading()
        await self._upgraded

    @property
    def shaken(self) -> bool:
        """Whether the handshake is done."""
        return self._shaken

    # Towards the socket.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = self._loop.call_later(self._patience, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        if len(data) <= _SEALED_RECORD:
            self._take(data)
            return
        with memoryview(data) as view:
            for start in range(0, len(view), _SEALED_RECORD):
                self._take(view[start : start + _SEALED_RECORD])

    def eof_received(self) -> bool:
        if self._shaken and not self._closing:
            self._ended()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self._stop_timer()
        if self._shaken:
            self._protocol.connection_lost(error)
        else:
            self._failed(error or ConnectionResetError("no handshake"))

    def pause_writing(self) -> None:
        if self._shaken:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._shaken:
            self._protocol.resume_writing()

    def _take(self, sealed: bytes | memoryview) -> None:
        if self._closing:
            return
        self._incoming.write(sealed)
        try:
            if not self._shaken:
                self._shake()
            # In an upgrade the edge goes on first: what came with the end of the handshake belongs behind it.
            while self._incoming.pending and self._upgraded is None and not self._closing:
                plain = self._ssl.read(_RECORD)
                if plain:
                    self._protocol.data_received(plain)
                else:
                    self._ended()
        except ssl.SSLWantReadError:
            self._flush()
            # RFC 8446 §4.6.3: a key update may ask for one in return; who asks and never reads is let go.
            if self._transport.get_write_buffer_size() > TLS_UNASKED_BYTES:
                self.abort()
        except ssl.SSLError as error:
            self._flush()  # the alert that says why
            self._failed(error)
            self._closing = True
            self._transport.close()

    def _shake(self) -> None:
        """A step of the handshake; raises ssl.SSLWantReadError while there is more of it to come."""
        self._ssl.do_handshake()
        self._flush()
        self._shaken = True
        self._stop_timer()
        if self._upgraded is None:
            self._protocol.connection_made(self)
        elif not self._upgraded.done():
            self._upgraded.set_result(None)  # which calls who awaits `upgrade` soon, that is before the next line does
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._upgraded = None
        self._take(b"")

    def _failed(self, error: Exception) -> None:
        if self._upgraded is not None and not self._upgraded.done():
            self._upgraded.set_exception(error)

    def _ended(self) -> None:
        """Nothing more comes. Half a TLS connection is of no use to anybody here: ours ends too."""
        self._protocol.eof_received()
        self.close()

    # Towards the edge.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        if len(data) <= _RECORD:
            self._ssl.write(data)
            self._flush()
            return
        sealed = []
        with memoryview(data) as view:
            for start in range(0, len(view), _RECORD):
                self._ssl.write(view[start : start + _RECORD])
                sealed.append(self._outgoing.read())
        self._transport.write(b"".join(sealed))

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())

    def close(self) -> None:
        """Say close_notify, give the peer time to take what was said, and end. Safe to call twice."""
        if self._closing:
            return
        self._closing = True
        if self._transport.is_closing():
            return
        # It says ours, and complains that theirs is not there yet: RFC 8446 §6.1 lets us not wait for it.
        with suppress(ssl.SSLError):
            self._ssl.unwrap()
        self._flush()
        with suppress(OSError):  # ENOTCONN: the peer is gone already, as reading tells next
            self._transport.write_eof()
        self._transport.resume_reading()
        self._linger()

    def _linger(self) -> None:
        unsent = self._transport.get_write_buffer_size()
        if self._timer is not None and not 0 < unsent < self._unsent:
            self._transport.abort()
            return
        self._unsent = unsent
        self._timer = self._loop.call_later(TLS_CLOSE_SECONDS, self._linger)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abort(self) -> None:
        self._closing = True
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As asyncio has it: "ssl_object", "sslcontext", "cipher"; all else is the socket's."""
        if name == "ssl_object":
            return self._ssl
        if name == "sslcontext":
            return self._context
        if name == "cipher":
            return self._ssl.cipher()
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()
