"""AUTH: who speaks, by the SASL exchange of RFC 4954 §4. What each mechanism says stands in server.identity.sasl.

No mechanism is offered without TLS (RFC 4954 §4.3), EXTERNAL only to who showed a client certificate. Whatever was
wrong with a sign-in, the reply is one. No password, token or address reaches a log.
"""

from __future__ import annotations

from typing import NoReturn

from server.base import clock, limits
from server.base.errors import CaduceeError, ProtocolViolation, Reason, Refused, TryLater
from server.base.metrics import CONNECTIONS, SIGN_INS
from server.base.tls import verified_path
from server.identity import sasl
from server.identity.model import Principal
from server.smtp import reply_codes as r
from server.smtp.connection import Connection, Gone
from server.smtp.replies import Objection, reply_to
from server.smtp.reply_codes import Reply
from server.smtp.service import Service
from server.trust.members import Peer


class Authentication(Connection):
    """A connection that learns who speaks: by AUTH, or from a relay's certificate (session.py)."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._who: Principal | Peer | None = None
        self._failed_sign_ins = 0

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What AUTH offers now; LOGIN last, for clients that know nothing else."""
        if self.service.accounts is None or not self.tls or self.identified:
            return ()
        return (*self.service.accounts.mechanisms(self._shown()), sasl.LOGIN)

    async def smtp_AUTH(self, arg: str) -> None:
        accounts = self.service.accounts
        if accounts is None:
            raise Objection(r.NOT_IMPLEMENTED)
        if self.identified:
            raise Objection(r.AUTH_ALREADY)
        mechanism, _, initial = arg.partition(" ")
        mechanism = mechanism.upper()
        if mechanism not in self.mechanisms:
            raise Objection(r.AUTH_UNKNOWN_MECHANISM)
        given = await self._given(mechanism, initial.encode("utf-8", "surrogateescape"))
        try:
            principal = await accounts.sign_in(given, self.ip, self._shown())
        except (Refused, TryLater) as error:
            reply = self._sign_in_refused(given, error)
            if isinstance(given, sasl.Bearer) and error.reason is Reason.BAD_CREDENTIALS:
                reply = await self._say_why(mechanism, reply)
            self._refuse(reply)
        SIGN_INS.labels("submission", "ok").inc()
        CONNECTIONS.labels("submission", principal.kind).inc()
        self._who = principal
        self.identified = True
        self.say(r.SIGNED_IN)

    async def _given(self, mechanism: str, initial: bytes) -> sasl.Given:
        """The exchange of one mechanism."""
        try:
            if mechanism == sasl.LOGIN:
                name = sasl.decode(initial or await self._answer(sasl.LOGIN_NAME))
                return sasl.login(name, sasl.decode(await self._answer(sasl.LOGIN_PASSWORD)))
            return sasl.read(mechanism, sasl.decode(initial or await self._answer(b"")))
        except ProtocolViolation as error:
            raise Objection(r.AUTH_MALFORMED if error.reason is Reason.MALFORMED else reply_to(error)) from error

    async def _answer(self, challenge: bytes) -> bytes:
        """The client's line after a challenge, as it came."""
        self.say(r.CHALLENGE.saying(sasl.encode(challenge).decode()))
        line = await self._line()
        if line == sasl.CANCEL:
            raise Objection(r.AUTH_CANCELLED)
        return line

    async def _say_why(self, mechanism: str, reply: Reply) -> Reply:
        """RFC 7628 §3.2.3: the client is told why, answers with nothing of meaning, and then it has failed."""
        try:
            await self._answer(sasl.refusal(mechanism))
        except ProtocolViolation:
            return reply
        except Objection as cancelled:
            return cancelled.reply
        return reply

    def _sign_in_refused(self, given: sasl.Given, error: CaduceeError) -> Reply:
        SIGN_INS.labels("submission", error.reason).inc()
        account = given.address if isinstance(given, sasl.AppPassword) else given.mailbox
        self._log.info("sign_in_refused", account=self.service.pseudonyms.of(account), reason=error.reason)
        ours = isinstance(error, TryLater) and error.reason is not Reason.THROTTLED
        return r.AUTH_TEMPORARY if ours else reply_to(error)

    def _refuse(self, reply: Reply) -> NoReturn:
        """One more failure of this connection; too many end it."""
        self._failed_sign_ins += 1
        if self._failed_sign_ins >= limits.SMTP_SIGN_INS:
            self.say(reply)
            self.hang_up(r.TOO_MANY_ERRORS)
            raise Gone
        raise Objection(reply)

    def _end_when_over(self) -> None:
        """A sign-in that was for a time has ended: say so between two messages. Raises Gone."""
        until = self._who.until if isinstance(self._who, Principal) else None
        if until is not None and not self.in_transaction and clock.now() >= until:
            self.hang_up(r.SIGN_IN_OVER)
            raise Gone

    def _shown(self) -> tuple[bytes, ...]:
        """The client's certificate with its path (DER), as TLS verified it; empty when it showed none."""
        return verified_path(self._stream().get_extra_info("ssl_object"))
