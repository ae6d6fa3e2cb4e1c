"""The verbs of SMTP, one function each. When each is legal stands in states.py, what may be said to whom in
server.transport.policy; here the command is parsed, the question asked and the answer said.

A verb that returns has succeeded and the table's next state holds; a refusal is raised and changes nothing.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final

from aiosmtpd.smtp import Envelope as Holder

from server.base import clock, ids, limits
from server.base.errors import CaduceeError, ProtocolViolation, Reason, Refused, TryLater
from server.base.metrics import SIGN_INS
from server.identity.model import Principal
from server.smtp import commands, sasl
from server.smtp import reply_codes as r
from server.smtp.connection import Connection, Gone
from server.smtp.replies import Objection, reply_to
from server.smtp.service import Service
from server.smtp.states import VERBS, State, objection
from server.transport.envelope import Envelope, Recipient, Source, SourceKind
from server.transport.policy import Answer
from server.trust.members import Peer

# Announced by every EHLO; SIZE, STARTTLS and AUTH depend on the connection. docs/rfc.md holds each.
EXTENSIONS: Final = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
SIZE_EXTENSION: Final = "SIZE"
STARTTLS_EXTENSION: Final = "STARTTLS"
AUTH_EXTENSION: Final = "AUTH"

# RFC 5321 §4.1.3, loosely: what a client calls itself goes into Received, so nothing that could end a comment there.
_HOST = re.compile(r"[\w.:\[\]-]{1,255}")
_RCPT = b"RCPT TO:"
_MAIL_PARAMETERS = frozenset({"SIZE", "BODY", "SMTPUTF8", "AUTH"})


class Transaction(Holder):
    """Sender and recipients between MAIL and the end of DATA."""

    def __init__(self) -> None:
        super().__init__()
        self.recipients: list[Recipient] = []
        self.size = 0  # octets, as MAIL said (RFC 1870); 0 when it did not


class Session(Connection):
    """The dialogue of one client."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._state = State.CONNECTED
        self._who: Principal | Peer | None = None
        self._host = ""  # what the client calls itself
        self._failed_sign_ins = 0
        self._transaction = Transaction()

    @property
    def in_transaction(self) -> bool:
        return self._state is State.TRANSACTION

    async def _obey(self, line: bytes) -> None:
        word, _, argument = line.decode("utf-8", "surrogateescape").partition(" ")
        command, argument = word.upper(), argument.strip(" ")
        refusal = objection(command, argument, self._state, self.tls, self.identified)
        if command == "DATA" and refusal is None and not self._transaction.recipients:
            refusal = r.NO_VALID_RECIPIENT
        if refusal is not None:
            if command == "DATA" and self._incoming.buffered:
                # Content that did not wait for 354 must never be read as commands.
                self.hang_up(refusal)
                raise Gone
            if refusal is r.AUTHENTICATION_REQUIRED and self.service.kind is SourceKind.RELAY:
                refusal = r.CERTIFICATE_REQUIRED
            raise Objection(refusal)
        await self._smtp_methods[command](argument)
        then = VERBS[command].then
        if then is not None:
            self._state = then

    def _reset(self) -> None:
        """Forget the transaction."""
        self._transaction = Transaction()
        if self.in_transaction:
            self._state = State.READY

    # Greeting

    async def smtp_EHLO(self, arg: str) -> None:
        self._greet(arg)
        names = [self.hostname, *EXTENSIONS, f"{SIZE_EXTENSION} {self.service.max_message_bytes}"]
        if not self.tls:
            names.append(STARTTLS_EXTENSION)
        elif self.service.accounts is not None and not self.identified:
            # RFC 4954 §4.3: no plain-text mechanism is announced without TLS.
            names.append(f"{AUTH_EXTENSION} {' '.join(sasl.MECHANISMS)}")
        self.say(r.EHLO.saying("\n".join(names)))

    async def smtp_HELO(self, arg: str) -> None:
        self._greet(arg)
        self.say(r.EHLO.saying(self.hostname))

    def _greet(self, host: str) -> None:
        if not _HOST.fullmatch(host):
            raise Objection(r.SYNTAX)
        self._host = host
        self._reset()  # RFC 5321 §4.1.4
        if self.tls and self.service.kind is SourceKind.RELAY and self._who is None:
            # A relay's peer is who its certificate says; TLS has verified the path.
            certificate = self._stream().get_extra_info("ssl_object").getpeercert(True)
            if certificate is not None:
                self._who = Peer.from_certificate(certificate)
                self.identified = True

    async def smtp_STARTTLS(self, arg: str) -> None:
        if self.tls:
            raise Objection(r.TLS_ALREADY)
        if self._incoming.buffered:
            self.hang_up(r.TLS_PIPELINED)
            raise Gone
        await self._start_tls()
        self._host = ""

    # Sign-in

    async def smtp_AUTH(self, arg: str) -> None:
        if self.service.accounts is None:
            raise Objection(r.NOT_IMPLEMENTED)
        if self.identified:
            raise Objection(r.AUTH_ALREADY)
        mechanism, _, initial = arg.partition(" ")
        try:
            given = await self._credentials(mechanism.upper(), initial.encode("utf-8", "surrogateescape"))
        except ProtocolViolation as error:
            raise Objection(r.AUTH_MALFORMED if error.reason is Reason.MALFORMED else reply_to(error)) from error
        try:
            self._who = await self.service.accounts.app_password(given.address, given.password, self._ip)
        except (Refused, TryLater) as error:
            self._sign_in_refused(given.address, error)
        SIGN_INS.labels("submission", "ok").inc()
        self.identified = True
        self.say(r.SIGNED_IN)

    async def _credentials(self, mechanism: str, initial: bytes) -> sasl.Credentials:
        """The exchange of one mechanism (RFC 4954 §4)."""
        if mechanism == "PLAIN":
            return sasl.plain(sasl.decode(initial) if initial else await self._challenge(b""))
        if mechanism == "LOGIN":
            name = sasl.decode(initial) if initial else await self._challenge(sasl.LOGIN_NAME)
            return sasl.credentials(name, await self._challenge(sasl.LOGIN_PASSWORD))
        raise Objection(r.AUTH_UNKNOWN_MECHANISM)

    async def _challenge(self, words: bytes) -> bytes:
        self.say(r.CHALLENGE.saying(sasl.encode(words)))
        response = await self._line()
        if response == sasl.CANCEL:
            raise Objection(r.AUTH_CANCELLED)
        return sasl.decode(response)

    def _sign_in_refused(self, address: str, error: CaduceeError) -> None:
        SIGN_INS.labels("submission", error.reason).inc()
        self._log.info("sign_in_refused", account=self.service.pseudonyms.of(address), reason=error.reason)
        ours = isinstance(error, TryLater) and error.reason is not Reason.THROTTLED
        reply = r.AUTH_TEMPORARY if ours else reply_to(error)
        self._failed_sign_ins += 1
        if self._failed_sign_ins >= limits.SMTP_SIGN_INS:
            self.say(reply)
            self.hang_up(r.TOO_MANY_ERRORS)
            raise Gone
        raise Objection(reply) from error

    # A transaction

    async def smtp_MAIL(self, arg: str | None) -> None:
        path = commands.parse(arg or "", "FROM:")
        self._check_mail_parameters(path.parameters)
        transaction = Transaction()
        transaction.mail_from = path.address
        transaction.smtp_utf8 = "SMTPUTF8" in path.parameters
        transaction.size = int(path.parameters.get("SIZE", "0"))
        # RFC 6531 §3.5
        if not (path.address.isascii() or transaction.smtp_utf8):
            raise Objection(r.NEEDS_SMTPUTF8)
        try:
            await self.service.policy.sender(self._speaker, path.address)
        except CaduceeError as error:
            self._log.info("sender_refused", reason=error.reason)
            if error.reason is Reason.BAD_ADDRESS:
                raise Objection(r.BAD_SENDER) from error
            raise
        self._transaction = transaction
        self.say(r.SENDER_OK)

    def _check_mail_parameters(self, parameters: dict[str, str]) -> None:
        # AUTH= is taken and not believed (RFC 4954 §5): who speaks is known better.
        if not parameters.keys() <= _MAIL_PARAMETERS:
            raise Objection(r.UNKNOWN_PARAMETER)
        # RFC 6152 §3
        if parameters.get("BODY", "7BIT").upper() not in ("7BIT", "8BITMIME") or parameters.get("SMTPUTF8"):
            raise Objection(r.SYNTAX)
        size = parameters.get("SIZE")
        if size is not None:
            # RFC 1870 §4: one to twenty digits.
            if not re.fullmatch(r"[0-9]{1,20}", size):
                raise Objection(r.SYNTAX)
            if int(size) > self.service.max_message_bytes:
                raise Objection(r.TOO_LARGE)

    async def smtp_RCPT(self, arg: str | None) -> None:
        """This recipient and those pipelined behind it: one question for all, an answer for each, in order."""
        wanted: list[str | Objection] = [self._recipient(arg or "")]
        while len(self._transaction.recipients) + len(wanted) <= limits.SMTP_RECIPIENTS:
            line = self._next_rcpt()
            if line is None:
                break
            wanted.append(line)
        good = [address for address in wanted if isinstance(address, str)]
        room = limits.SMTP_RECIPIENTS - len(self._transaction.recipients)
        answers = iter(await self._judge(good[:room]) if good else ())
        for address in wanted:
            if isinstance(address, Objection):
                self.object(address)
                continue
            route = next(answers, None)
            if route is None:
                self.say(r.TOO_MANY_RECIPIENTS)
            elif isinstance(route, CaduceeError):
                self._log.info("recipient_refused", recipient=self._name(address), reason=route.reason)
                self.say(reply_to(route))
            else:
                self._transaction.recipients.append(Recipient(address, route))
                self.say(r.RECIPIENT_OK)

    async def _judge(self, addresses: list[str]) -> list[Answer]:
        transaction = self._transaction
        return await self.service.policy.recipients(
            self._speaker, addresses, reverse_path=transaction.mail_from or "", size=transaction.size
        )

    def _next_rcpt(self) -> str | Objection | None:
        try:
            line = self._incoming.line(_RCPT)
        except ProtocolViolation as error:
            return Objection(self._reply_to(error))
        if line is None:
            return None
        return self._recipient(line[len("RCPT ") :].decode("utf-8", "surrogateescape").strip(" "))

    def _recipient(self, argument: str) -> str | Objection:
        try:
            path = commands.parse(argument, "TO:")
        except ProtocolViolation as error:
            return Objection(r.SYNTAX if error.reason is Reason.MALFORMED else reply_to(error))
        if path.parameters:
            return Objection(r.UNKNOWN_PARAMETER)
        if not path.address.isascii() and not self._transaction.smtp_utf8:
            return Objection(r.NEEDS_SMTPUTF8)
        # RFC 5321 §4.5.1: the only name that needs no domain.
        return f"{path.address}@{self.hostname}" if path.address.lower() == "postmaster" else path.address

    async def smtp_DATA(self, arg: str) -> None:
        trace_id = ids.trace_id()
        self.say(r.START_CONTENT)
        try:
            data = await self._content()
            await self._take(data, trace_id)
        except CaduceeError as error:
            self._log.info("message_refused", trace=trace_id, reason=error.reason)
            self.say(reply_to(error))
        finally:
            self._release()
            self._transaction = Transaction()
            self._state = State.READY

    async def _take(self, data: bytes, trace_id: str) -> None:
        """Hand the message over; the positive reply is said after accept returned, that is after COMMIT."""
        transaction = self._transaction
        reverse_path, recipients = transaction.mail_from or "", tuple(transaction.recipients)
        content = await self.service.policy.content(self._speaker, reverse_path, recipients, data)
        envelope = Envelope(
            reverse_path,
            recipients,
            self._source(transaction.smtp_utf8),
            clock.now(),
            trace_id,
            turn=content.turn,
            unproven=content.unproven,
        )
        accepted = await self.service.acceptor.accept(envelope, data)
        self._log.info(
            "message_accepted",
            trace=trace_id,
            octets=len(data),
            recipients=len(envelope.recipients),
            repeated=accepted.repeated,
        )
        self.say(r.ACCEPTED.saying(f"{r.ACCEPTED.text} {trace_id}"))
        if not self._incoming.buffered:
            # Only what comes after the reply left shows that it was read; what was sent ahead shows nothing.
            self._when_read = partial(self.service.acceptor.arrived, accepted)

    def _source(self, wide: bool) -> Source:
        name = f"{self._host} ([{self._ip}])"
        cipher = self._stream().get_extra_info("cipher")
        tls = f"{cipher[1]} {cipher[0]}" if cipher else ""
        # RFC 3848, RFC 6531 §4.3
        protocol = "UTF8SMTPS" if wide else "ESMTPS"
        who = self._speaker
        if isinstance(who, Principal):
            return Source(SourceKind.SUBMISSION, who.address, name, who.owner_id, tls, protocol + "A")
        return Source(SourceKind.RELAY, who.text, name, None, tls, protocol)

    # The rest

    async def smtp_RSET(self, arg: str) -> None:
        self._reset()
        self.say(r.OK)

    async def smtp_NOOP(self, arg: str) -> None:
        self.say(r.OK)

    async def smtp_HELP(self, arg: str) -> None:
        self.say(r.HELP)

    async def smtp_VRFY(self, arg: str) -> None:
        # RFC 5321 §7.3: who exists is told to a sender, one message at a time.
        self.say(r.CANNOT_VERIFY)

    async def smtp_QUIT(self, arg: str) -> None:
        self.hang_up(r.BYE)
        raise Gone

    @property
    def _speaker(self) -> Principal | Peer:
        if self._who is None:
            raise Refused(Reason.AUTHENTICATION_REQUIRED, "Nobody is known to speak.")
        return self._who

    @property
    def _ip(self) -> str:
        peer = self.session.peer if self.session is not None else None
        return str(peer[0]) if isinstance(peer, tuple) else ""

    def _name(self, address: str) -> str:
        return self.service.pseudonyms.of(address)
