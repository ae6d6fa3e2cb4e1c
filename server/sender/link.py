"""One connection to another operator's server: TLS with both certificates, then messages, several one after the other.

Invariants:
- Nothing but EHLO, STARTTLS and QUIT is said in clear; what the peer said before TLS counts for nothing after it.
- The peer is who its certificate says: a path to the anchors, and a subject that the trust space lists for the
  recipients' domain. Its host name proves nothing and is not compared.
- A reply to what was not asked ends the connection: no later question is answered by it.
- Every recipient ends in exactly one Outcome. What is not surely final is to be tried again; `unsure` says that the
  peer may have taken the message without our hearing it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, cast

from server.base import limits
from server.base.errors import ProtocolViolation
from server.base.tls import verified_path
from server.sender.dialogue import DotStuffing, Outcome, Transaction, answer, extensions, postponed
from server.sender.replies import Replies, Reply

GREETING_SECONDS: Final = 60  # RFC 5321 §4.5.3.2.1 says five minutes: a peer that needs so long is as good as away
COMMAND_SECONDS: Final = 120  # §4.5.3.2.2, 3: five minutes, for the same reason less
FINAL_SECONDS: Final = 600  # §4.5.3.2.6: ten minutes; giving up early is what doubles messages
DRAINING_SECONDS: Final = 180  # §4.5.3.2.5: three minutes for each block of the content
CONNECT_SECONDS: Final = 20
QUIT_SECONDS: Final = 5
WRITTEN: Final = 256 * limits.KIB  # of a content, at a time
RECIPIENTS: Final = 100  # RFC 5321 §4.5.3.1.8


class LinkLost(Exception):
    """The connection ended or failed, in a way that says nothing of a message; `text` is for the queue's listing."""

    def __init__(self, text: str, status: str = "4.4.2") -> None:
        super().__init__(text)
        self.text = text
        self.status = status


class Stale(Exception):
    """A connection that had served before was closed when the next message began: nothing was said of that one."""


class Link(asyncio.Protocol):
    """A connection to one host that speaks for a domain."""

    def __init__(self, host: str, own_name: str) -> None:
        self.host = host
        self._own_name = own_name
        self._replies = Replies()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._lost = False
        self._answered = False  # since the message now being sent began
        self._handed_over = False  # its last octets were given away: from here on it may be taken
        self.extensions: dict[str, str] = {}
        self.sent = 0  # messages over this connection

    @classmethod
    async def open(
        cls,
        host: str,
        address: str,
        port: int,
        own_name: str,
        tls: ssl.SSLContext,
        why_not: Callable[[Sequence[bytes]], str | None],
        source: str | None = None,
    ) -> Link:
        """Connect, secure, greet. `why_not` says why this peer is not to be trusted, None when it is.

        Raises LinkLost; nothing of a message was said then.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, link = await loop.create_connection(
                    lambda: cls(host, own_name), address, port, local_addr=(source, 0) if source else None
                )
        except (OSError, TimeoutError):
            raise LinkLost("cannot connect", "4.4.1") from None
        try:
            await link._greet()
            await link._secure_with(tls)
            link._identify(why_not)
            await link._hello()
        except BaseException:
            link.abort()
            raise
        return link

    # The wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._replies.feed(data)
        except ProtocolViolation:
            self._lost = True
            self.abort()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._wake()

    def pause_writing(self) -> None:
        self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._lost:
            self.resume_writing()

    async def _reply(self, seconds: float = COMMAND_SECONDS) -> Reply:
        """The next reply. Raises LinkLost."""
        try:
            async with asyncio.timeout(seconds):
                while (reply := self._replies.next()) is None:
                    if self._lost:
                        raise LinkLost("connection lost")
                    self._waiter = asyncio.get_running_loop().create_future()
                    await self._waiter
        except TimeoutError:
            raise LinkLost("no reply in time") from None
        except ProtocolViolation as error:
            raise LinkLost("malformed reply", "4.5.0") from error
        if reply.code == 421:  # RFC 5321 §3.8: the service is closing the channel, whatever was asked
            raise LinkLost(reply.text, reply.status)
        self._answered = True
        return reply

    async def _say(self, data: bytes) -> None:
        """Write, no faster than the peer reads. Raises LinkLost."""
        if self._lost or self._transport is None:
            raise LinkLost("connection lost")
        self._transport.write(data)
        if self._drained is not None:
            try:
                async with asyncio.timeout(DRAINING_SECONDS):
                    await self._drained
            except TimeoutError:
                raise LinkLost("the peer reads nothing") from None

    def _expect_silence(self) -> None:
        """Before a question: what lies there already answers nothing that was asked. Raises LinkLost."""
        if not self._replies.empty:
            raise LinkLost("a reply to nothing", "4.5.0")

    async def _ask(self, command: bytes) -> Reply:
        self._expect_silence()
        await self._say(command)
        return await self._reply()

    # Before the first message

    async def _greet(self) -> None:
        greeting = await self._reply(GREETING_SECONDS)
        if not greeting.positive:
            raise LinkLost(greeting.text, f"4{greeting.status[1:]}")
        await self._hello()

    async def _hello(self) -> None:
        reply = await self._ask(f"EHLO {self._own_name}\r\n".encode())
        if not reply.positive:
            raise LinkLost(reply.text, f"4{reply.status[1:]}")
        self.extensions = extensions(reply)

    async def _secure_with(self, tls: ssl.SSLContext) -> None:
        if "STARTTLS" not in self.extensions:
            raise LinkLost("the peer offers no TLS, and nothing is sent in clear", "4.7.4")
        reply = await self._ask(b"STARTTLS\r\n")
        if not reply.positive:
            raise LinkLost(reply.text, f"4{reply.status[1:]}")
        # RFC 3207 §6: what came in clear behind the reply would be read as if it had come under TLS.
        if not self._replies.empty or self._transport is None:
            raise LinkLost("bytes in clear after STARTTLS", "4.7.0")
        try:
            upgraded = await asyncio.get_running_loop().start_tls(
                self._transport,
                self,
                tls,
                ssl_handshake_timeout=limits.SMTP_HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=limits.TLS_CLOSE_SECONDS,
            )
        except ssl.SSLCertVerificationError as error:
            raise LinkLost(f"the peer's certificate does not hold: {error.verify_message}", "4.7.5") from None
        except (OSError, ssl.SSLError):
            raise LinkLost("TLS failed", "4.7.5") from None
        if upgraded is None or not self._replies.empty:
            raise LinkLost("TLS failed", "4.7.5")
        self._transport = upgraded
        self.extensions = {}

    def _identify(self, why_not: Callable[[Sequence[bytes]], str | None]) -> None:
        tls = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        path = verified_path(tls) if tls is not None else ()
        if not path:
            raise LinkLost("the peer shows no certificate", "4.7.5")
        objection = why_not(path)
        if objection is not None:
            raise LinkLost(objection, "4.7.5")

    # Messages

    async def send(self, transaction: Transaction, content: AsyncIterator[bytes]) -> list[Outcome]:
        """One transaction of at most RECIPIENTS; an outcome for each, in order. What is lost is an outcome as well.

        `content`: RFC 5322 bytes with CRLF, `transaction.size` of them. What it raises goes through, and ends the
        connection in the middle of the content, so that the peer takes nothing. Raises Stale.
        """
        objection = transaction.objection(self.extensions)
        if objection is not None:
            return [objection] * len(transaction.recipients)
        outcomes: list[Outcome | None] = [None] * len(transaction.recipients)
        self._handed_over = self._answered = begun = False
        try:
            outcomes = await self._open_transaction(transaction)
            if None in outcomes:
                final = await self._start_content(transaction)
                if final is None:
                    begun = True
                    await self._content(transaction, content)
                    final = await self._reply(FINAL_SECONDS)
                judged = answer(final, self.extensions)
                outcomes = [judged if outcome is None else outcome for outcome in outcomes]
            self.sent += 1
        except LinkLost as lost:
            self.abort()
            if self.sent and not self._answered:
                raise Stale from lost
            refusal = self._refused_meanwhile() if begun else None
            # 421 in place of the final reply is an answer: it was not taken.
            unsure = self._handed_over and not lost.text.startswith("421")
            failed = answer(refusal, {}) if refusal else postponed(lost.status, lost.text, unsure=unsure)
            outcomes = [failed if outcome is None else outcome for outcome in outcomes]
        except BaseException:
            self.abort()
            raise
        return [outcome for outcome in outcomes if outcome is not None]

    async def _open_transaction(self, transaction: Transaction) -> list[Outcome | None]:
        """MAIL and RCPT; the outcome of each that was refused. Raises LinkLost."""
        commands = transaction.commands(self.extensions)
        replies: list[Reply] = []
        self._expect_silence()
        if "PIPELINING" in self.extensions:  # RFC 2920
            await self._say(b"".join(commands))
            replies += [await self._reply() for _ in commands]
        else:
            for command in commands:
                replies.append(await self._ask(command))
                if not replies[0].positive:
                    break
        outcomes = transaction.judged(replies)
        if None not in outcomes:
            await self._ask(b"RSET\r\n")
        return outcomes

    async def _start_content(self, transaction: Transaction) -> Reply | None:
        """BDAT where the peer takes it (RFC 3030: nothing to stuff, no end to look for), else DATA; a refusal of it."""
        if "CHUNKING" in self.extensions:
            self._expect_silence()
            await self._say(b"BDAT %d LAST\r\n" % transaction.size)
            return None
        go = await self._ask(b"DATA\r\n")
        if go.code == 354:
            return None
        if go.positive:
            raise LinkLost("success instead of 354", "4.5.0")
        return go

    async def _content(self, transaction: Transaction, content: AsyncIterator[bytes]) -> None:
        stuffing = None if "CHUNKING" in self.extensions else DotStuffing()
        left = transaction.size
        async for piece in content:
            left -= len(piece)
            self._handed_over = not left
            await self._write(piece if stuffing is None else stuffing.update(piece))
        if left:
            raise ValueError("the content has another size than was announced")
        if stuffing is not None:
            await self._say(stuffing.end())

    def _refused_meanwhile(self) -> Reply | None:
        """What a peer said that did not want all of the content and closed."""
        try:
            reply = self._replies.next()
        except ProtocolViolation:
            return None
        return reply if reply is not None and reply.code >= 400 else None

    async def _write(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), WRITTEN):
            await self._say(bytes(view[start : start + WRITTEN]))

    # The end

    @property
    def usable(self) -> bool:
        """Whether another message may go over this connection: it is open, and the peer has said nothing unasked."""
        return (
            not self._lost and self._replies.empty and self._transport is not None and not self._transport.is_closing()
        )

    async def quit(self) -> None:
        """Say goodbye and close; the peer's answer changes nothing."""
        try:
            async with asyncio.timeout(QUIT_SECONDS):
                await self._ask(b"QUIT\r\n")
        except (LinkLost, TimeoutError):
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()
