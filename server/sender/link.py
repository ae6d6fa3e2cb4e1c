"""One connection to another operator's server: TLS with both certificates, then messages, several one after the other.

Invariants:
- Nothing but EHLO, STARTTLS and QUIT is said in clear; what the peer said before TLS counts for nothing after it.
- The peer is who its certificate says: a path to the anchors, and a subject that the trust space lists for the
  recipients' domain. Its host name proves nothing and is not compared.
- Every recipient ends in exactly one Outcome. What is not surely final is to be tried again; `unsure` says that the
  peer may have taken the message without our hearing it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from server.base import limits
from server.base.errors import ProtocolViolation
from server.sender.replies import Replies, Reply
from server.transport.envelope import Body, Returned
from server.transport.queued import Addressee, Queued
from server.trust.members import Peer

GREETING_SECONDS: Final = 60  # RFC 5321 §4.5.3.2.1 says five minutes: a peer that needs so long is as good as away
COMMAND_SECONDS: Final = 120  # §4.5.3.2.2, 3: five minutes, for the same reason less
FINAL_SECONDS: Final = 600  # §4.5.3.2.6: ten minutes; giving up early is what doubles messages
CONNECT_SECONDS: Final = 30
PIECE: Final = 256 * limits.KIB  # of a body, written at a time
RECIPIENTS: Final = 100  # RFC 5321 §4.5.3.1.8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient: delivered, or why not. `status` (RFC 3463), `text` filtered, `relayed`: delivered
    to a server that sends no notification of delivery."""

    delivered: bool
    permanent: bool
    status: str
    text: str
    relayed: bool = False
    unsure: bool = False


def refused(status: str, text: str) -> Outcome:
    """A final no of our own: the peer cannot take what this message needs."""
    return Outcome(False, True, status, text)


class LinkLost(Exception):
    """The connection ended or failed, in a way that says nothing of a message; `text` is for the queue's listing."""

    def __init__(self, text: str, status: str = "4.4.2") -> None:
        super().__init__(text)
        self.text = text
        self.status = status


class Link(asyncio.Protocol):
    """A connection to one host that speaks for `domain`."""

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname
        self._replies = Replies()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._lost = False
        self.extensions: dict[str, str] = {}
        self.sent = 0  # messages over this connection

    @classmethod
    async def open(
        cls,
        address: str,
        port: int,
        hostname: str,
        tls: ssl.SSLContext,
        why_not: Callable[[Peer], str | None],
        source: str | None = None,
    ) -> Link:
        """Connect, secure, greet. `why_not` says why this peer is not to be trusted, None when it is.

        Raises LinkLost; nothing of a message was said then.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, link = await loop.create_connection(
                    lambda: cls(hostname), address, port, local_addr=(source, 0) if source else None
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
        self._replies.feed(data)
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
        return reply

    async def _say(self, data: bytes) -> None:
        if self._lost or self._transport is None:
            raise LinkLost("connection lost")
        self._transport.write(data)
        if self._drained is not None:
            try:
                async with asyncio.timeout(FINAL_SECONDS):
                    await self._drained
            except TimeoutError:
                raise LinkLost("the peer reads nothing") from None

    async def _ask(self, line: str) -> Reply:
        await self._say(f"{line}\r\n".encode())
        return await self._reply()

    # Before the first message

    async def _greet(self) -> None:
        greeting = await self._reply(GREETING_SECONDS)
        if not greeting.positive:
            raise LinkLost(greeting.text, f"4{greeting.status[1:]}")
        await self._hello()

    async def _hello(self) -> None:
        reply = await self._ask(f"EHLO {self._hostname}")
        if not reply.positive:
            raise LinkLost(reply.text, f"4{reply.status[1:]}")
        words = [line.partition(" ") for line in reply.lines[1:]]
        self.extensions = {name.upper(): parameters for name, _, parameters in words}

    async def _secure_with(self, tls: ssl.SSLContext) -> None:
        if "STARTTLS" not in self.extensions:
            raise LinkLost("the peer offers no TLS, and nothing is sent in clear", "4.7.4")
        reply = await self._ask("STARTTLS")
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

    def _identify(self, why_not: Callable[[Peer], str | None]) -> None:
        assert self._transport is not None  # noqa: S101 -- TLS has just begun on it
        certificate = self._transport.get_extra_info("ssl_object").getpeercert(True)
        objection = why_not(Peer.from_certificate(certificate))
        if objection is not None:
            raise LinkLost(objection, "4.7.5")

    # Messages

    async def send(self, envelope: Queued, recipients: Sequence[Addressee], data: bytes) -> list[Outcome]:
        """One transaction; an outcome for each recipient, in order. Never raises LinkLost: what is lost is an outcome.

        `recipients`: at most RECIPIENTS of the envelope's. `data`: RFC 5322 bytes with CRLF.
        """
        missing = self._missing(envelope, data)
        if missing is not None:
            return [missing] * len(recipients)
        outcomes: list[Outcome | None] = [None] * len(recipients)
        handed_over = False
        try:
            taken = await self._open_transaction(envelope, recipients, len(data), outcomes)
            if taken:
                handed_over = True
                final = await self._content(envelope, data)
                handed_over = False
                for number in taken:
                    outcomes[number] = self._outcome(final)
            self.sent += 1
        except LinkLost as lost:
            failed = Outcome(False, False, lost.status, lost.text, unsure=handed_over)
            outcomes = [failed if outcome is None else outcome for outcome in outcomes]
            self.abort()
        return [outcome for outcome in outcomes if outcome is not None]

    def _missing(self, envelope: Queued, data: bytes) -> Outcome | None:
        """What the message needs and this server has not."""
        offered = self.extensions
        addresses = [envelope.reverse_path, *(one.address for one in envelope.recipients.values())]
        if not all(map(str.isascii, addresses)) and "SMTPUTF8" not in offered:
            return refused("5.6.7", "the recipient's server takes no international addresses")
        if envelope.require_tls and "REQUIRETLS" not in offered:
            return refused("5.7.30", "the recipient's server does not support REQUIRETLS")
        if envelope.body is Body.BINARY and not {"BINARYMIME", "CHUNKING"} <= offered.keys():
            return refused("5.6.1", "the recipient's server takes no binary content")
        size = offered.get("SIZE", "")
        if size.isdigit() and 0 < int(size[:20]) < len(data):
            return refused("5.3.4", f"the recipient's server takes messages of at most {int(size[:20])} octets")
        return None

    async def _open_transaction(
        self, envelope: Queued, recipients: Sequence[Addressee], size: int, outcomes: list[Outcome | None]
    ) -> list[int]:
        """MAIL and RCPT; which recipients were taken. The refused ones get their outcome."""
        commands = [self._mail(envelope, size), *(self._rcpt(one) for one in recipients)]
        replies: deque[Reply] = deque()
        if "PIPELINING" in self.extensions:
            await self._say("".join(commands).encode())
            replies.extend([await self._reply() for _ in commands])
        else:
            for command in commands:
                await self._say(command.encode())
                replies.append(await self._reply())
                if not replies[0].positive:
                    break
        sender = replies.popleft()
        if not sender.positive:
            outcomes[:] = [self._outcome(sender)] * len(outcomes)
        for number, reply in enumerate(replies):
            if outcomes[number] is None and not reply.positive:
                outcomes[number] = self._outcome(reply)
        taken = [number for number, outcome in enumerate(outcomes) if outcome is None]
        if not taken:
            await self._ask("RSET")
        return taken

    def _mail(self, envelope: Queued, size: int) -> str:
        words = [f"MAIL FROM:<{envelope.reverse_path}>"]
        offered = self.extensions
        if "SIZE" in offered:
            words.append(f"SIZE={size}")
        if envelope.body is Body.BINARY:
            words.append("BODY=BINARYMIME")
        elif "8BITMIME" in offered:
            words.append("BODY=8BITMIME")
        if "SMTPUTF8" in offered and envelope.utf8:
            words.append("SMTPUTF8")
        if envelope.require_tls:
            words.append("REQUIRETLS")
        if "DSN" in offered:
            words += [f"RET={envelope.returned or Returned.HEADERS}"]
            words += [f"ENVID={envelope.envelope_id}"] if envelope.envelope_id else []
        return f"{' '.join(words)}\r\n"

    def _rcpt(self, recipient: Addressee) -> str:
        words = [f"RCPT TO:<{recipient.address}>"]
        if "DSN" in self.extensions:
            words += [f"NOTIFY={','.join(sorted(recipient.notify))}"] if recipient.notify else []
            words += [f"ORCPT={recipient.original}"] if recipient.original else []
        return f"{' '.join(words)}\r\n"

    async def _content(self, envelope: Queued, data: bytes) -> Reply:
        """The bytes, by BDAT where the peer takes it: nothing to stuff, no end to look for."""
        if "CHUNKING" in self.extensions:
            await self._say(b"BDAT %d LAST\r\n" % len(data))
            await self._pieces(data)
        else:
            go = await self._ask("DATA")
            if go.code != 354:
                return go if not go.positive else Reply(451, ("4.5.0 unexpected reply to DATA",))
            # RFC 5321 §4.5.2: a leading dot is doubled; the content ends with CRLF before the final dot.
            stuffed = data.replace(b"\r\n.", b"\r\n..")
            if stuffed.startswith(b"."):
                stuffed = b"." + stuffed
            await self._pieces(stuffed)
            await self._say(b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n")
        return await self._reply(FINAL_SECONDS)

    async def _pieces(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), PIECE):
            await self._say(bytes(view[start : start + PIECE]))

    def _outcome(self, reply: Reply) -> Outcome:
        return Outcome(
            reply.positive,
            reply.permanent,
            reply.status,
            reply.text,
            relayed=reply.positive and "DSN" not in self.extensions,
        )

    # The end

    @property
    def usable(self) -> bool:
        """Whether another message may go over this connection."""
        return not self._lost and self._transport is not None and not self._transport.is_closing()

    async def quit(self) -> None:
        """Say goodbye and close; the peer's answer changes nothing."""
        try:
            await self._ask("QUIT")
        except LinkLost:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.close()
