"""One socket of an IMAP client: hands bytes to the dialogue, sends its answers, keeps the deadlines.

A connection has a task only while something is being done, so that thousands may idle for little. Rules:
1. Input is read only while less than IMAP_INPUT_BYTES waits, or a literal that was admitted is coming.
2. Output is gathered and sent in one piece; a handler that `drain`s waits until the client takes what was sent, and a
   client that takes nothing for IMAP_SEND_SECONDS is cut: it never holds another's memory or turn.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from typing import cast

from server.base import clock
from server.base.limits import (
    IMAP_IDLE_SECONDS,
    IMAP_INPUT_BYTES,
    IMAP_LOGIN_SECONDS,
    IMAP_OUTPUT_BYTES,
    IMAP_SEND_SECONDS,
)
from server.base.metrics import SESSIONS
from server.base.tls import verified_path
from server.base.tls_stream import TlsStream
from server.imap.deflate import deflated
from server.imap.dialogue import Dialogue
from server.imap.responses import Desynchronised
from server.imap.session import Services, Session, State

_PIECE = 64 * 1024  # answers gathered before they are handed to the socket
_TURN = 32  # commands sent at once that are answered before others get a turn


class Connections:
    """The open connections of a worker."""

    def __init__(self) -> None:
        self._open: set[Connection] = set()
        self.none_left = asyncio.Event()
        self.none_left.set()

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._open))

    def enter(self, connection: Connection) -> None:
        self._open.add(connection)
        self.none_left.clear()
        SESSIONS.labels("imap").inc()

    def leave(self, connection: Connection) -> None:
        """Safe to call twice."""
        if connection in self._open:
            self._open.remove(connection)
            SESSIONS.labels("imap").dec()
        if not self._open:
            self.none_left.set()


class Connection(asyncio.Protocol):
    def __init__(self, services: Services, tls: ssl.SSLContext, secure: bool, known: Connections) -> None:
        """`tls` is for STARTTLS; `secure` when the socket is already under TLS; `known` the worker's connections."""
        self._services = services
        self._tls = tls
        self._secure = secure
        self._known = known
        self._loop = asyncio.get_running_loop()
        self._out = bytearray()
        self._compressed = False
        self._task: asyncio.Task[None] | None = None
        self._pushed = False
        self._reading = True
        self._writable: asyncio.Event | None = None  # set when the client took enough; None while nothing is held up
        self._deadline: asyncio.TimerHandle | None = None
        self._heard = self._began = clock.monotonic()  # last octets; when it was last known who speaks, or not
        self._stranger = True
        self._farewell = ""

    # --- asyncio.Protocol -------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=IMAP_OUTPUT_BYTES)
        peer = transport.get_extra_info("peername")
        network = str(peer[0]) if isinstance(peer, tuple) else ""
        self._session = Session(self._services, self, network, self._secure)
        self._session.wake = self._wake
        self._session.shown = verified_path(transport.get_extra_info("ssl_object"))
        self._dialogue = Dialogue(self._session)
        self._known.enter(self)
        self._dialogue.greet()
        self.flush()
        self._watch()

    def data_received(self, data: bytes) -> None:
        self._heard = clock.monotonic()
        self._dialogue.feed(data)
        # An admitted literal that is still coming needs no task for each of its pieces.
        if self._task is None and self._dialogue.missing:
            return
        self._start()
        if self._task is not None and self._reading and self._dialogue.buffered > IMAP_INPUT_BYTES:
            self._reading = False
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._end()
        if self._task is not None:
            self._task.cancel()  # a search nobody waits for ends; what was committed stays
        else:
            self._dialogue.close()

    def _end(self) -> None:
        """Leave the worker's books; safe to call twice."""
        self._known.leave(self)
        if self._deadline is not None:
            self._deadline.cancel()
        if self._writable is not None:
            self._writable.set()

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    # --- Output -----------------------------------------------------------------------------------------------
    def write(self, data: bytes) -> None:
        self._out += data
        if len(self._out) >= _PIECE:
            self.flush()

    async def drain(self) -> None:
        """Raises ConnectionAbortedError when the client is gone or takes nothing."""
        if len(self._out) >= _PIECE or self._writable is not None:
            self.flush()
        writable = self._writable
        if writable is not None:
            try:
                await asyncio.wait_for(writable.wait(), IMAP_SEND_SECONDS)
            except TimeoutError:
                self._transport.abort()
                raise ConnectionAbortedError from None
        if self._transport.is_closing():
            raise ConnectionAbortedError

    def flush(self) -> None:
        if self._out and not self._transport.is_closing():
            data = bytes(self._out)
            self._transport.write(deflated(data) if self._compressed else data)
        self._out.clear()

    def deflate(self) -> None:
        self.flush()
        self._compressed = True

    # --- work -------------------------------------------------------------------------------------------------
    def _wake(self) -> None:
        """News for an idling client."""
        self._pushed = True
        self._start()

    def _news(self) -> bool:
        return self._pushed

    def _start(self) -> None:
        if self._task is None and not self._transport.is_closing():
            self._task = self._loop.create_task(self._work())

    async def _work(self) -> None:
        dialogue = self._dialogue
        try:
            steps = 0
            while await dialogue.step() or self._news():
                if self._news():
                    self._pushed = False
                    await dialogue.push()
                steps += 1
                if steps % _TURN == 0:
                    await asyncio.sleep(0)
            if self._farewell:
                dialogue.say_bye(self._farewell, b"UNAVAILABLE")
            self.flush()
            if dialogue.wants_tls:
                await self._shake_hands()
        except (asyncio.CancelledError, ConnectionError, Desynchronised, ssl.SSLError, TimeoutError):
            # The client is gone, or only hanging up can tell it what happened; there is nobody to answer.
            self._transport.abort()
        except Exception as error:
            self._services.log.error("imap_connection_failed", error=error)
            self._transport.abort()
        finally:
            self._task = None
            self._know()
            if dialogue.closed or self._transport.is_closing():
                dialogue.close()
                self._transport.close()
            elif not self._reading:
                self._reading = True
                self._transport.resume_reading()

    async def _shake_hands(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        secured = TlsStream(self, self._tls, IMAP_LOGIN_SECONDS)
        try:
            await secured.upgrade(self._transport)
        except BaseException:
            self._end()  # nobody else tells us of a connection that was lost in the handshake
            raise
        self._transport = secured
        self._transport.set_write_buffer_limits(high=IMAP_OUTPUT_BYTES)
        self._session.shown = verified_path(secured.get_extra_info("ssl_object"))
        self._dialogue.tls_started()
        self._watch()

    # --- deadlines --------------------------------------------------------------------------------------------
    def _know(self) -> None:
        """Who signed in or out has another deadline."""
        stranger = self._session.state is State.NOT_AUTHENTICATED
        if stranger is not self._stranger:
            self._stranger, self._began = stranger, clock.monotonic()
            if self._deadline is not None and stranger:
                self._deadline.cancel()
                self._watch()

    def _watch(self) -> None:
        """One timer, looked at again when it rings: cheaper than one set anew with each command."""
        # A stranger has so long in all; who trickles octets gains nothing.
        ends = self._began + IMAP_LOGIN_SECONDS if self._stranger else self._heard + IMAP_IDLE_SECONDS
        left = ends - clock.monotonic()
        if self._session.over:
            self._start()  # the dialogue says so and closes
        if left > 0 or self._task is not None:
            self._deadline = self._loop.call_later(max(left, 1.0), self._watch)
            return
        # RFC 9051 §5.4
        self._dialogue.say_bye("Autologout; idle for too long")
        self.flush()
        self._transport.close()

    # --- shutdown ---------------------------------------------------------------------------------------------
    def farewell(self) -> None:
        """End when what is being done is done."""
        if self._task is None and not self._dialogue.busy:
            self._dialogue.say_bye("The server is restarting", b"UNAVAILABLE")
            self.flush()
            self._transport.close()
        else:
            self._farewell = "The server is restarting"

    def abort(self) -> None:
        self._transport.abort()
