"""Mail transactions: MAIL, RCPT, DATA and BDAT (RFC 5321 §3.3, RFC 3030), and the message handed over to accept.

A verb that returns has succeeded and the table's next state holds; a refusal is raised and changes nothing. The end of
a content is different: whatever the reply to it, the transaction is over.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import NamedTuple

from aiosmtpd.smtp import Envelope as Holder

from server.base import clock, ids, limits
from server.base.errors import CaduceeError, ProtocolViolation, Reason, Refused, TryLater
from server.identity.model import Principal
from server.mailbox.beside.handed import Handed
from server.smtp import commands, parameters
from server.smtp import reply_codes as r
from server.smtp.auth import Authentication
from server.smtp.connection import Gone
from server.smtp.content import Content
from server.smtp.replies import Objection, reply_to
from server.smtp.reply_codes import Reply
from server.smtp.service import Service
from server.smtp.states import TRANSACTION, State
from server.transport.envelope import Body, Envelope, Recipient, Source, SourceKind
from server.transport.policy import Answer
from server.transport.policy import Content as Found
from server.trust.members import Peer

_RCPT = b"RCPT TO:"


class Transaction(Holder):
    """What MAIL and RCPT said, and what BDAT brought, until the message is handed over."""

    def __init__(self) -> None:
        super().__init__()
        self.said = parameters.NOTHING_OF_MAIL
        self.recipients: list[Recipient] = []
        self.chunks: Content | None = None


class _Wanted(NamedTuple):
    """A recipient asked for."""

    address: str
    said: parameters.Rcpt


class Transfer(Authentication):
    """The transactions of one client."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._reached = State.CONNECTED
        self._host = ""  # what the client calls itself
        self._extended = False  # it came with EHLO
        self._transaction = Transaction()

    @property
    def _state(self) -> State:
        return self._reached

    @_state.setter
    def _state(self, state: State) -> None:
        before, self._reached = self.in_transaction, state
        if self.in_transaction != before:
            self.service.acceptor.underway(-1 if before else 1)

    @property
    def in_transaction(self) -> bool:
        return self._reached in TRANSACTION

    async def _handle_client(self) -> None:
        try:
            await super()._handle_client()
        finally:
            self._reset()

    def _reset(self) -> None:
        """Forget the transaction."""
        self._release()
        self._transaction = Transaction()
        if self.in_transaction:
            self._state = State.READY

    async def smtp_MAIL(self, arg: str | None) -> None:
        path = commands.parse(arg or "", "FROM:")
        holds = self.service.kind is SourceKind.SUBMISSION
        said = parameters.mail(self._parameters(path), self.service.max_message_bytes, holds=holds)
        # RFC 6531 §3.5
        if not (path.address.isascii() or said.utf8):
            raise Objection(r.NEEDS_SMTPUTF8)
        try:
            await self.service.policy.sender(self._speaker, path.address)
        except CaduceeError as error:
            self._log.info("sender_refused", reason=error.reason)
            if error.reason is Reason.BAD_ADDRESS:
                raise Objection(r.BAD_SENDER) from error
            raise
        self._transaction.mail_from = path.address
        self._transaction.said = said
        self.say(r.SENDER_OK)

    def _parameters(self, path: commands.Path) -> dict[str, str]:
        # RFC 5321 §4.1.1.1: who came with HELO has no extension.
        if path.parameters and not self._extended:
            raise Objection(r.UNKNOWN_PARAMETER)
        return path.parameters

    async def smtp_RCPT(self, arg: str | None) -> State:
        """This recipient and those pipelined behind it: one question for all, an answer for each, in order."""
        taken = self._transaction.recipients
        wanted: list[_Wanted | Objection] = [self._recipient(arg or "")]
        # One that is malformed ends the group: it may be one error too many, and then nothing behind it counts.
        while isinstance(wanted[-1], _Wanted) and len(taken) + len(wanted) < limits.SMTP_RECIPIENTS:
            another = self._next_rcpt()
            if another is None:
                break
            wanted.append(another)
        room = limits.SMTP_RECIPIENTS - len(taken)
        asked = [one for one in wanted if isinstance(one, _Wanted)][:room]
        answers = iter(await self._judge([one.address for one in asked]) if asked else ())
        for one in wanted:
            if isinstance(one, Objection):
                self.object(one)
                continue
            route = next(answers, None)
            if route is None:
                self.say(r.TOO_MANY_RECIPIENTS)
            elif isinstance(route, CaduceeError):
                self._log.info("recipient_refused", recipient=self._name(one.address), reason=route.reason)
                self.say(reply_to(route))
            else:
                taken.append(Recipient(one.address, route, notify=one.said.notify, original=one.said.original))
                self.say(r.RECIPIENT_OK)
        return State.ADDRESSED if taken else State.SENDER

    async def _judge(self, addresses: list[str]) -> list[Answer]:
        transaction = self._transaction
        return await self.service.policy.recipients(
            self._speaker, addresses, reverse_path=transaction.mail_from or "", size=transaction.said.size
        )

    def _next_rcpt(self) -> _Wanted | Objection | None:
        try:
            line = self._incoming.line(_RCPT)
        except ProtocolViolation as error:
            return Objection(r.MALFORMED_COMMAND.saying(error.sentence))
        if line is None:
            return None
        return self._recipient(line[len("RCPT ") :].decode("utf-8", "surrogateescape").strip(" "))

    def _recipient(self, argument: str) -> _Wanted | Objection:
        utf8 = self._transaction.said.utf8
        try:
            path = commands.parse(argument, "TO:")
            said = parameters.rcpt(self._parameters(path), utf8=utf8)
        except ProtocolViolation as error:
            return Objection(r.SYNTAX if error.reason is Reason.MALFORMED else reply_to(error))
        except Objection as objection:
            return objection
        if not path.address.isascii() and not utf8:
            return Objection(r.NEEDS_SMTPUTF8)
        # RFC 5321 §4.5.1: the only name that needs no domain.
        whole = f"{path.address}@{self.hostname}" if path.address.lower() == "postmaster" else path.address
        return _Wanted(whole, said)

    async def smtp_DATA(self, arg: str) -> None:
        content = self._begin(ids.trace_id())
        self.say(r.START_CONTENT)
        await self._finish(content, self._content(content.add))

    async def smtp_BDAT(self, arg: str) -> State:
        """A chunk (RFC 3030 §2): all its octets are read whatever becomes of them, then there is one reply."""
        octets, last = self._announced(arg)
        content = self._chunks()
        taken = r.CHUNK_TAKEN.saying(f"{octets} {r.CHUNK_TAKEN.text}")
        return await self._part(content, self._add(content, octets), last, taken)

    async def smtp_BURL(self, arg: str) -> State:
        """A part of the message that a URL hands over (RFC 4468 §3), beside what BDAT brings."""
        handed = self.service.handed
        if handed is None:
            raise Objection(r.UNKNOWN_COMMAND)
        said, content = commands.burl(arg), self._chunks()
        return await self._part(content, self._fetch(handed, content, said), said.last, r.URL_TAKEN)

    def _chunks(self) -> Content:
        """The content that comes in parts."""
        if self._transaction.chunks is None:
            self._transaction.chunks = self._begin(ids.trace_id(), chunked=True)
        return self._transaction.chunks

    async def _part(self, content: Content, received: Awaitable[None], last: bool, taken: Reply) -> State:
        if last:
            await self._finish(content, received)
            return State.READY
        try:
            await received
        except CaduceeError as error:
            self._transaction.chunks = None
            self._release()
            self._log.info("chunk_refused", reason=error.reason)
            self.say(reply_to(error))
            return State.SPOILED
        self.say(taken)
        return State.CHUNKS

    async def _fetch(self, handed: Handed, content: Content, said: commands.Burl) -> None:
        """Add what a URL hands over. Raises Refused(NO_SUCH_MESSAGE), and as `_add`."""
        # RFC 4467 §3: "submit+" names who may have it sent.
        if not isinstance(self._speaker, Principal) or said.holder != self._speaker.address:
            raise Refused(Reason.NO_SUCH_MESSAGE, "This URL is for somebody else.")
        size = await handed.size(said.url)
        if content.octets + size > self.service.max_message_bytes:
            raise Refused(Reason.TOO_LARGE, "message larger than this server takes")
        async for piece in handed.octets(said.url, size):
            if not content.is_large and not self._hold(len(piece)):
                raise TryLater(Reason.BUSY, "Too much mail in flight.")
            await content.add(piece)

    def _announced(self, argument: str) -> commands.Chunk:
        try:
            return commands.chunk(argument)
        except ProtocolViolation:
            # How much of what follows is content nobody knows.
            self.hang_up(r.SYNTAX)
            raise Gone from None

    async def _add(self, content: Content, octets: int) -> None:
        """Add a chunk. Raises Gone; when all of it was read TOO_LARGE, BUSY past the memory, and as Content.add."""
        if content.octets + octets > self.service.max_message_bytes:
            await self._skip(octets, r.TOO_LARGE)
            raise Refused(Reason.TOO_LARGE, "message larger than this server takes")
        refusal: CaduceeError | None = None
        async for piece in self._chunk(octets):
            if refusal is None:
                try:
                    if not content.is_large and not self._hold(len(piece)):
                        raise TryLater(Reason.BUSY, "Too much mail in flight.")
                    await content.add(piece)
                except Gone:
                    raise
                except Exception as error:
                    refusal = self._known(error)
        if refusal is not None:
            raise refusal

    def _begin(self, trace_id: str, *, chunked: bool = False) -> Content:
        """The content that comes next, for the recipients that were accepted."""
        transaction = self._transaction
        return Content(
            self.service,
            trace_id,
            self._speaker,
            transaction.mail_from or "",
            tuple(transaction.recipients),
            partial(self._envelope, trace_id),
            self._hold,
            chunked=chunked,
            binary=transaction.said.body is Body.BINARY,
        )

    async def _finish(self, content: Content, received: Awaitable[None]) -> None:
        """Hand over the content when all of it was `received`; whatever the reply, the transaction is over.

        The positive reply is said after the end returned, that is after COMMIT.
        """
        trace_id = content.trace_id
        try:
            await received
            accepted = await content.end()
            self._log.info(
                "message_accepted",
                trace=trace_id,
                octets=content.octets,
                recipients=len(accepted.outcomes),
                repeated=accepted.repeated,
            )
            self.say(r.ACCEPTED.saying(f"{r.ACCEPTED.text} {trace_id}"))
            if not self._incoming.buffered:
                # Only what comes after the reply left shows that it was read; what was sent ahead shows nothing.
                self._when_read = partial(self.service.acceptor.arrived, accepted)
        except CaduceeError as error:
            self._log.info("message_refused", trace=trace_id, reason=error.reason)
            self.say(reply_to(error))
        finally:
            self._reset()

    def _envelope(self, trace_id: str, found: Found) -> Envelope:
        transaction, said = self._transaction, self._transaction.said
        return Envelope(
            transaction.mail_from or "",
            tuple(transaction.recipients),
            self._source(said.utf8),
            clock.now(),
            trace_id,
            said.envelope_id,
            said.returned,
            said.body,
            said.utf8,
            said.require_tls,
            said.not_before,
            turn=found.turn,
            unproven=found.unproven,
            registration=found.registration,
        )

    def _source(self, wide: bool) -> Source:
        name = f"{self._host} ([{self.ip}])"
        cipher = self._stream().get_extra_info("cipher")
        tls = f"{cipher[1]} {cipher[0]}" if cipher else ""
        # RFC 3848, RFC 6531 §4.3
        protocol = "UTF8SMTPS" if wide else "ESMTPS"
        who = self._speaker
        if isinstance(who, Principal):
            return Source(SourceKind.SUBMISSION, who.actor, name, who.owner_id, tls, protocol + "A", who.kind)
        return Source(SourceKind.RELAY, who.text, name, None, tls, protocol)

    @property
    def _speaker(self) -> Principal | Peer:
        if self._who is None:
            raise Refused(Reason.AUTHENTICATION_REQUIRED, "Nobody is known to speak.")
        return self._who

    def _name(self, address: str) -> str:
        return self.service.pseudonyms.of(address)
