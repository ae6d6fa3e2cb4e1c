"""The dialogue: greeting, TLS and the rest, one function a verb; sign-in stands in auth.py, mail in transfer.py.

When each verb is legal stands in states.py, what may be said to whom in server.transport.policy; here the command is
parsed, the question asked and the answer said. A verb that returns has succeeded and the table's next state holds; a
refusal is raised and changes nothing.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from server.base import clock, limits
from server.smtp import reply_codes as r
from server.smtp.connection import Gone
from server.smtp.replies import Objection
from server.smtp.reply_codes import Reply
from server.smtp.states import VERBS, State, objection
from server.smtp.transfer import Transfer
from server.transport.envelope import Body, SourceKind
from server.transport.pointer import EXTENSION

# Announced by every EHLO; what follows them depends on the connection. docs/rfc.md holds each.
EXTENSIONS: Final = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "CHUNKING", "BINARYMIME")
LIMITS_EXTENSION: Final = f"LIMITS RCPTMAX={limits.SMTP_RECIPIENTS}"
SIZE_EXTENSION: Final = "SIZE"
STARTTLS_EXTENSION: Final = "STARTTLS"
AUTH_EXTENSION: Final = "AUTH"
REQUIRETLS_EXTENSION: Final = "REQUIRETLS"
POINTER_EXTENSION: Final = EXTENSION
BURL_EXTENSION: Final = "BURL imap"
FUTURERELEASE_EXTENSION: Final = f"FUTURERELEASE {limits.SMTP_HOLD_SECONDS}"

# RFC 5321 §4.1.2, §4.1.3, loosely (a computer's own name is no domain): it goes into Received, so nothing that could
# end a comment there.
_HOST = re.compile(r"(?=.{1,255}\Z)(?:[\w-]+(?:\.[\w-]+)*\.?|\[[\w.:%-]+\])")


class Session(Transfer):
    """The dialogue of one client."""

    async def _obey(self, line: bytes) -> None:
        self._end_when_over()
        word, _, argument = line.decode("utf-8", "surrogateescape").partition(" ")
        command, argument = word.upper(), argument.strip(" ")
        refusal = objection(command, argument, self._state, self.tls, self.identified)
        if command == "DATA" and refusal is None and self._transaction.said.body is Body.BINARY:
            refusal = r.BINARY_NEEDS_CHUNKS
        if refusal is not None:
            await self._pass_over(command, argument, refusal)
            if self._state is State.SPOILED and command in ("BDAT", "BURL"):
                # RFC 3030 §2: what was in the pipeline behind the refused chunk is no error of its own.
                self.say(refusal)
                return
            if refusal is r.AUTHENTICATION_REQUIRED and self.service.kind is SourceKind.RELAY:
                refusal = r.CERTIFICATE_REQUIRED
            raise Objection(refusal)
        reached = await self._smtp_methods[command](argument)
        then = VERBS[command].then
        if then:
            self._state = then[0] if len(then) == 1 else then[then.index(reached)]

    async def _pass_over(self, command: str, argument: str, refusal: Reply) -> None:
        """Content that did not wait for our reply, behind a command that is refused, must never be read as commands."""
        if command == "DATA" and self._incoming.buffered:
            self.hang_up(refusal)
            raise Gone
        if command == "BDAT":
            await self._skip(self._announced(argument).octets, refusal)

    # Greeting

    async def smtp_EHLO(self, arg: str) -> None:
        self._greet(arg)
        self._extended = True
        size = f"{SIZE_EXTENSION} {self.service.max_message_bytes}"
        names = [self.hostname, *EXTENSIONS, LIMITS_EXTENSION, size]
        if self.service.kind is SourceKind.SUBMISSION:
            latest = clock.now() + timedelta(seconds=limits.SMTP_HOLD_SECONDS)
            names.append(BURL_EXTENSION)
            names.append(f"{FUTURERELEASE_EXTENSION} {latest:%Y-%m-%dT%H:%M:%SZ}")
        if self.service.follows and self.tls:
            names.append(POINTER_EXTENSION)
        # RFC 8689 §4.1: there is nothing to require where TLS is not there yet.
        names.append(REQUIRETLS_EXTENSION if self.tls else STARTTLS_EXTENSION)
        if mechanisms := self.mechanisms:
            names.append(f"{AUTH_EXTENSION} {' '.join(mechanisms)}")
        self.say(r.EHLO.saying("\n".join(names)))

    async def smtp_HELO(self, arg: str) -> None:
        self._greet(arg)
        self._extended = False
        self.say(r.EHLO.saying(self.hostname))

    def _greet(self, host: str) -> None:
        if not _HOST.fullmatch(host):
            raise Objection(r.SYNTAX)
        self._host = host
        self._reset()  # RFC 5321 §4.1.4
        if self.tls and self.service.kind is SourceKind.RELAY and self._who is None:
            # A relay's peer is who its certificate says; TLS has verified the path.
            path = self._shown()
            if path:
                self._who = self.service.policy.peer(path)
                self.identified = True

    async def smtp_STARTTLS(self, arg: str) -> None:
        if self.tls:
            raise Objection(r.TLS_ALREADY)
        if self._incoming.buffered:
            self.hang_up(r.TLS_PIPELINED)
            raise Gone
        await self._start_tls()
        self._host = ""

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
