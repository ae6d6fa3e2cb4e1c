"""One SMTP connection: bytes, replies, time and TLS, on aiosmtpd's SMTP class. What commands mean stands in session.py.

From aiosmtpd: the life of the protocol (connection_made, the task of the dialogue, the timer), the table of methods
smtp_<VERB>, Session and Envelope. Mended here: bytes go through our Reader (bare LF, unbounded lines, DATA line by
line), an exception answers "temporary" and tells nothing (it answered 500 with the exception's text), TLS is our own
stream (server.base.tls_stream), the end of input does not cancel a transaction. The private names of aiosmtpd and
asyncio that this rests on are listed in tests/unit/smtp/test_aiosmtpd_contract.py.

Replies are collected and leave in one write when the dialogue waits for bytes: one packet for a pipelined group
(RFC 2920 §3.2).
"""

from __future__ import annotations

import asyncio
import ssl
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

from aiosmtpd.smtp import SMTP

from server.base import clock, ids, limits
from server.base.errors import CaduceeError, ProtocolViolation, Reason, TryLater
from server.base.metrics import SESSIONS
from server.base.tls_stream import TlsStream
from server.db.pool import trouble
from server.identity.throttle import network_of
from server.smtp import reply_codes as r
from server.smtp.reader import Reader
from server.smtp.replies import Objection, reply_to
from server.smtp.reply_codes import Reply
from server.smtp.service import Service


class Gone(Exception):
    """The connection ended, by either side: the dialogue stops without a word."""


class Connection(SMTP):
    """Bytes in, replies out. `_obey` does one command line."""

    def __init__(self, service: Service) -> None:
        super().__init__(
            None,
            hostname=service.hostname,
            data_size_limit=service.max_message_bytes,
            enable_SMTPUTF8=True,
            tls_context=service.tls,
            timeout=limits.SMTP_IDLE_SECONDS,
            loop=asyncio.get_running_loop(),
        )
        self.service = service
        self.trace_id = ids.trace_id()
        self.ip = self.network = ""  # of the client
        self.tls = False
        self.identified = False
        self._log = service.log.bind(session=self.trace_id)
        self._incoming = Reader(limits.SMTP_LINE)
        self._waiter: asyncio.Future[None] | None = None
        self._replies: list[bytes] = []
        self._unread = 0
        self._reading_paused = False
        self._ended = False  # no more bytes will come
        self._held = 0  # octets of the worker's budget
        self._from_stranger = 0
        self._sign_in_until = clock.monotonic() + limits.SMTP_SIGN_IN_SECONDS
        self._until = self._sign_in_until  # when what is being read now must have come whole
        self._errors = 0
        self._when_read: Callable[[], None] | None = None  # called when the client shows that it read the last reply

    @abstractmethod
    async def _obey(self, line: bytes) -> None:
        """Do one command; what it raises becomes a reply."""

    @property
    @abstractmethod
    def in_transaction(self) -> bool:
        """Whether a message is on its way: a stop waits for it."""

    # The protocol's side: called by the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.tls = transport.get_extra_info("sslcontext") is not None
        peer = transport.get_extra_info("peername")
        self.ip = str(peer[0]) if isinstance(peer, tuple) else ""
        self.network = network_of(self.ip)
        super().connection_made(transport)
        self.service.sessions.add(self)
        SESSIONS.labels(self.service.kind).inc()

    def data_received(self, data: bytes) -> None:
        self._incoming.feed(data)
        self._unread += len(data)
        if not self.identified:
            self._from_stranger += len(data)
        if self._unread > limits.SMTP_READ_AHEAD and not self._reading_paused:
            self._reading_paused = True
            self._stream().pause_reading()
        self._wake()

    def eof_received(self) -> bool | None:
        self._ended = True
        self._wake()
        # Half-closed: replies still go out; over TLS there is no such thing.
        return not self.tls

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        self.transport = None
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        self._sign_off()
        # The dialogue is not cancelled: an accept under way ends as it ends, and the next wait finds nobody.
        self._wake()

    def _timeout_cb(self) -> None:
        if self._waiter is None or self._waiter.done():
            self._reset_timeout()  # it is us who are slow
        else:
            self.hang_up(r.IDLE)

    # The dialogue's side.

    async def _handle_client(self) -> None:
        try:
            if len(self.service.sessions) > self.service.max_sessions or self._is_crowd():
                self.say(r.TOO_MANY_SESSIONS)
                return
            self.say(r.GREETING.saying(f"{self.hostname} {r.GREETING.text}"))
            while True:
                try:
                    await self._obey(await self._line())
                except Gone:
                    return
                except Objection as objection:
                    self.object(objection)
                except Exception as error:
                    self.say(self._reply_to(error))
                if self._errors >= limits.SMTP_BAD_COMMANDS:
                    self.say(r.TOO_MANY_ERRORS)
                    return
        finally:
            self._release()
            self._leave()
            # A failed handshake ends below us: connection_lost is then told to TLS alone.
            self._sign_off()

    def _is_crowd(self) -> bool:
        """Whether too many that are nobody yet come from where this one does."""
        if len(self.service.sessions) <= limits.SMTP_STRANGERS:
            return False
        strangers = (one for one in self.service.sessions if not one.identified and one.network == self.network)
        return sum(1 for _ in strangers) > limits.SMTP_STRANGERS

    def _sign_off(self) -> None:
        """This session is over: it counts no more."""
        if self in self.service.sessions:
            self.service.sessions.remove(self)
            SESSIONS.labels(self.service.kind).dec()
            if not self.service.sessions:
                self.service.emptied.set()

    def _reply_to(self, error: Exception) -> Reply:
        """The reply to what was raised; unknown trouble is temporary and told to our log alone."""
        if isinstance(error, ProtocolViolation):
            self._errors += 1
            if error.reason in (Reason.MALFORMED, Reason.BARE_LINE_ENDING):
                return r.MALFORMED_COMMAND.saying(error.sentence)
        return reply_to(self._known(error))

    def _known(self, error: Exception) -> CaduceeError:
        """What was raised, as one of the kinds that have a reply."""
        known = error if isinstance(error, CaduceeError) else trouble(error)
        if known is None or known.reason in (Reason.STORE_AWAY, Reason.STORE_FULL, Reason.INTERNAL):
            self._log.error("smtp_trouble", error=error.__cause__ or error)
        return known or TryLater(Reason.INTERNAL, "Something went wrong here.")

    def say(self, reply: Reply) -> None:
        """Say it with the next flush."""
        self._replies.append(reply.encode())

    def object(self, objection: Objection) -> None:
        """Say a refusal of something that no program in order sends; too many of them end the session."""
        self._errors += 1
        self.say(objection.reply)

    def hang_up(self, reply: Reply) -> None:
        """Say a last word now and close."""
        self.say(reply)
        self._leave()
        self._ended = True
        self._wake()

    def stop_when_idle(self) -> None:
        """The worker stops: say so now when no message is on its way, else after it."""
        if not self.in_transaction and self._waiter is not None:
            self.hang_up(r.SHUTTING_DOWN)

    async def _line(self) -> bytes:
        """The next command line. Raises Gone, ProtocolViolation."""
        if self.service.draining and not self.in_transaction:
            self.hang_up(r.SHUTTING_DOWN)
            raise Gone
        self._until = clock.monotonic() + limits.SMTP_IDLE_SECONDS
        while (line := self._incoming.line()) is None:
            await self._more()
        return line

    async def _content(self, add: Callable[[bytes], Awaitable[None]]) -> None:
        """Give the content after 354 to `add`, in one part or several. Raises Gone, what Reader.content raises and what
        `add` raised, when all of it was read; BUSY past the worker's memory.
        """
        self._until = clock.monotonic() + limits.SMTP_CONTENT_SECONDS
        self._incoming.start_content(self.service.max_message_bytes)
        while True:
            grown = self._incoming.buffered - self._held
            if grown > 0 and not self._hold(grown):
                self._incoming.doom(TryLater(Reason.BUSY, "Too much mail in flight."))
            if (part := self._incoming.content()) is not None:
                try:
                    await add(part)
                except Gone:
                    raise
                except Exception as error:
                    if not self._incoming.in_content:
                        raise
                    # Not before its end: what follows is content and never a command.
                    self._incoming.doom(self._known(error))
                if not self._incoming.in_content:
                    return
                continue
            if self._incoming.dropped > 2 * self.service.max_message_bytes:
                # Who goes on for as long again will not hear the reply at the end either.
                self.hang_up(r.TOO_LARGE)
            await self._more()

    async def _chunk(self, octets: int) -> AsyncIterator[bytes]:
        """The octets behind a BDAT, as they come. Raises Gone."""
        self._until = clock.monotonic() + limits.SMTP_CONTENT_SECONDS
        while octets:
            if piece := self._incoming.take(octets):
                octets -= len(piece)
                yield piece
            else:
                await self._more()

    async def _skip(self, octets: int, refusal: Reply) -> None:
        """Read past the octets behind a BDAT that is refused, so that none of them is a command. Raises Gone."""
        if octets > self.service.max_message_bytes:
            self.hang_up(refusal)
            raise Gone
        async for _ in self._chunk(octets):
            pass

    def _hold(self, octets: int) -> bool:
        """Count so much more of a message against the worker's memory; False when it does not fit."""
        held = self.service.budget.take(octets)
        if held:
            self._held += octets
        return held

    def _release(self) -> None:
        """Give the memory of a message back."""
        self.service.budget.give(self._held)
        self._held = 0

    async def _more(self) -> None:
        """Send what was said, wait for bytes. Raises Gone."""
        await self._flush()
        if self._ended or self.transport is None:
            raise Gone
        if self._from_stranger > limits.SMTP_UNAUTHENTICATED_BYTES and not self.identified:
            self.hang_up(r.TOO_MUCH_BEFORE_SIGN_IN)
            raise Gone
        self._unread = 0
        if self._reading_paused:
            self._reading_paused = False
            self._stream().resume_reading()
        self._waiter = self.loop.create_future()
        self._arm()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._when_read is not None and self._unread:
            self._when_read()
            self._when_read = None

    def _arm(self) -> None:
        """Start the clock of this wait. Who drips gains nothing: a command, a content and all that comes before the
        sign-in have a time as a whole.
        """
        until = self._until if self.identified else min(self._until, self._sign_in_until)
        left = until - clock.monotonic()
        self._reset_timeout(max(0.001, min(limits.SMTP_IDLE_SECONDS, left)))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _flush(self) -> None:
        if self._replies and self.transport is not None and not self.transport.is_closing():
            said, self._replies = b"".join(self._replies), []
            self._stream().write(said)
            try:
                # A client that asks and never reads is made to wait.
                await self._drain_helper()  # type: ignore[attr-defined]
            except ConnectionError:
                raise Gone from None

    def _leave(self) -> None:
        """Write what was said and close, without waiting."""
        if self.transport is not None and not self.transport.is_closing():
            self._stream().write(b"".join(self._replies))
            self._replies = []
            self.transport.close()

    async def _start_tls(self) -> None:
        """Answer 220 and put TLS under this connection. Raises Gone when the handshake fails."""
        stream = self._stream()
        await self._flush()
        # From here to `upgrade` nothing is awaited: a byte that came in clear is either in the Reader, and was refused,
        # or goes into the handshake, which it spoils (RFC 3207 §6; CVE-2011-0411).
        stream.write(r.READY_FOR_TLS.encode())
        secured = TlsStream(self, self.service.tls, limits.SMTP_HANDSHAKE_SECONDS)
        try:
            await secured.upgrade(stream)
        except (OSError, ssl.SSLError) as error:
            self._log.info("tls_failed", error=error)
            raise Gone from None
        self.transport = secured
        self.tls = True
        self._incoming.clear()

    def _stream(self) -> asyncio.Transport:
        if self.transport is None:
            raise Gone
        return cast(asyncio.Transport, self.transport)
