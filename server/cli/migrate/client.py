"""The client of the server that a mailbox is copied from: aioimaplib, and what it lacks.

- TLS from the first byte or by STARTTLS, never without; what comes in clear behind the answer to STARTTLS ends the
  connection (CVE-2011-0411, seen from the client), and so does a server that greets with PREAUTH before TLS.
- SASL: PLAIN, XOAUTH2, OAUTHBEARER, EXTERNAL, with or without an initial response (RFC 4959).
- Bounds: a line, a literal, the silence between two of its bytes. An answer is read line by line, since the library
  reads each line by a call inside the last one's.
- The end of the connection ends the command that waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from base64 import b64encode
from dataclasses import dataclass, field

from aioimaplib import IMAP4
from aioimaplib.aioimaplib import (
    AUTH,
    CRLF,
    NONAUTH,
    SELECTED,
    AioImapException,
    Command,
    FetchCommand,
    IMAP4ClientProtocol,
    Response,
    quoted,
)

from server.base.limits import MIB

SECONDS = 60.0  # a server that is silent for so long is away
_LINE = 32 * MIB  # SEARCH answers in one line: three million uids
_LITERAL = 4 * MIB  # we ask for less
_ANSWER = 64 * MIB  # of one command
_WORDS = 200  # characters of what it says in an error of ours
_OAUTH_END = {"OAUTHBEARER": "AQ==", "XOAUTH2": ""}  # what acknowledges the refusal (RFC 7628 §3.2.3)


class Lost(Exception):
    """The connection is of no use any more, or never was; the text says why."""


class NotSignedIn(Exception):
    """The other server does not take the account or the secret, or offers no way to show it."""


class Declined(Exception):
    """The other server said NO or BAD; its words, fit to be shown."""


@dataclass(frozen=True)
class Account:
    """Whose mailbox, where, and what proves it. `mechanism` "" is the best that a password can use."""

    host: str
    port: int
    user: str
    secret: str = field(repr=False)
    tls: ssl.SSLContext
    starttls: bool = False
    mechanism: str = ""


class _Protocol(IMAP4ClientProtocol):  # type: ignore[misc]
    """The wire. `lost` says why it ended."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.lost = ""
        self.ended = asyncio.Event()
        self.responses: list[str] = []  # of SASL, said when the server asks
        self.leaving_clear = False  # STARTTLS was sent: nothing is believed until TLS stands
        self._taken = 0  # octets of the answer being read

    def data_received(self, data: bytes) -> None:
        self._taken += len(data)
        while data and not self.lost:
            if self.leaving_clear and self.pending_sync_command is None:
                self.lose("It sent more in clear behind its answer to STARTTLS")
                return
            at = self._rest_of_literal() or data.find(b"\n") + 1 or len(data)
            super().data_received(data[:at])
            data = data[at:]
            if len(self.incomplete_line) > _LINE or self._rest_of_literal() > _LITERAL or self._taken > _ANSWER:
                self.lose("It answers more than was asked for")

    def _rest_of_literal(self) -> int:
        command = self.current_command
        if command is None or not command.wait_literal_data():
            return 0
        return int(command._expected_size) - len(command._resp_literal_data)

    def _untagged_response(self, line: bytes) -> Command:
        # The library drops each "* " of the line, in a folder's name too.
        return super()._untagged_response(line[:2] + line[2:].replace(b"* ", b"*\0 "))

    def _continuation(self, line: bytes) -> None:
        command = self.pending_sync_command
        if command is not None and command.name == "AUTHENTICATE":
            self.transport.write((self.responses.pop(0) if self.responses else "").encode() + CRLF)
        else:
            super()._continuation(line)

    async def welcome(self, line: bytes) -> None:
        try:
            await super().welcome(line)
        except AioImapException:
            self.lose("It does not greet as an IMAP4rev1 server")

    async def execute(self, command: Command, scrub: str | None = None) -> Response:
        if self.lost:
            raise Lost(self.lost)
        self._taken = 0
        response = await super().execute(command, scrub)
        if self.lost:
            raise Lost(self.lost)
        return response

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.lose("It ended the connection")

    def lose(self, reason: str) -> None:
        """End the connection and what waits for it."""
        self.lost = self.lost or reason
        self.ended.set()
        if self.transport is not None:
            self.transport.abort()
        for command in (self.pending_sync_command, *self.pending_async_commands.values()):
            if command is not None:
                command._event.set()


class Source(IMAP4):  # type: ignore[misc]
    """One connection to the other server, signed in by `sign_in`, ended by `leave`."""

    protocol: _Protocol

    def create_client(
        self, host: str, port: int, loop: object, conn_lost_cb: object, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        running = asyncio.get_running_loop()
        self.protocol = _Protocol(running)
        connecting = running.create_connection(lambda: self.protocol, host, port, ssl=ssl_context)
        self._client_task = running.create_task(connecting)

    def offers(self, capability: str) -> bool:
        return capability in {name.upper() for name in self.protocol.capabilities}

    async def greeted(self) -> None:
        """Wait for the greeting. Raises Lost."""
        await asyncio.wait_for(self._client_task, SECONDS)
        ended = asyncio.ensure_future(self.protocol.ended.wait())
        greeting = asyncio.ensure_future(self.protocol.wait(f"{AUTH}|{NONAUTH}"))
        try:
            await asyncio.wait({ended, greeting}, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not greeting.done():
                raise Lost(self.protocol.lost or "It does not greet as an IMAP server")
        finally:
            ended.cancel()
            greeting.cancel()

    async def secure(self, account: Account) -> None:
        """STARTTLS. Raises Lost."""
        protocol = self.protocol
        # RFC 9051 §6.2.1 is for a session that is not signed in; a greeting in clear proves nothing.
        if protocol.state != NONAUTH or not self.offers("STARTTLS"):
            raise Lost("It offers no STARTTLS")
        protocol.leaving_clear = True
        await self.ask("STARTTLS")
        transport = await protocol.loop.start_tls(
            protocol.transport, protocol, account.tls, server_hostname=account.host
        )
        if protocol.lost or transport is None:
            raise Lost(protocol.lost or "It ended the connection")
        protocol.transport, protocol.leaving_clear = transport, False
        await protocol.capability()

    async def authenticate(self, account: Account) -> None:
        """Raises NotSignedIn, Lost."""
        mechanism = account.mechanism or ("PLAIN" if self.offers("AUTH=PLAIN") else "LOGIN")
        if mechanism == "LOGIN":
            if self.offers("LOGINDISABLED"):
                raise NotSignedIn("it takes no password")
            command = Command("LOGIN", self.protocol.new_tag(), quoted(account.user), quoted(account.secret))
        else:
            if not self.offers(f"AUTH={mechanism}"):
                raise NotSignedIn(f"it does not offer {mechanism}")
            response = b64encode(_initial(mechanism, account)).decode()
            self.protocol.responses = [_OAUTH_END.get(mechanism, "*")]
            arguments = [mechanism]
            if self.offers("SASL-IR"):
                arguments.append(response or "=")
            else:
                self.protocol.responses.insert(0, response)
            command = Command("AUTHENTICATE", self.protocol.new_tag(), *arguments)
        try:
            await self._lines(command, command.args[-1])
        except Declined as refusal:
            raise NotSignedIn(f"it says {refusal}") from None
        self.protocol.state = AUTH
        await self.protocol.capability()

    async def ask(self, name: str, *arguments: str, prefix: str = "") -> list[bytes | bytearray]:
        """A command's untagged answers, and the text of its end. Raises Declined, Lost."""
        return await self._lines(Command(name, self.protocol.new_tag(), *arguments, prefix=prefix, timeout=SECONDS))

    async def examine(self, name: str) -> list[bytes | bytearray]:
        """EXAMINE a folder by its name on the wire. Raises Declined, Lost."""
        lines = await self.ask("EXAMINE", quoted(name))
        self.protocol.state = SELECTED
        return lines

    async def fetch_uids(self, uids: str, items: str) -> list[bytes | bytearray]:
        """UID FETCH. Raises Declined, Lost."""
        return await self._lines(FetchCommand(self.protocol.new_tag(), uids, items, prefix="UID", timeout=SECONDS))

    async def _lines(self, command: Command, secret: str | None = None) -> list[bytes | bytearray]:
        try:
            response = await self.protocol.execute(command, secret)
        except AioImapException as error:
            self.protocol.lose("It said nothing for a minute")
            raise Lost(self.protocol.lost) from error
        if response.result != "OK":
            raise Declined(shown(response.lines[-1] if response.lines else b""))
        return list(response.lines)

    async def leave(self) -> None:
        """End the connection, politely where it still stands."""
        if not self.protocol.lost and self.protocol.transport is not None:
            with contextlib.suppress(Lost, Declined):
                await self.ask("LOGOUT")
        self._client_task.cancel()
        self.protocol.lose("Left")


async def sign_in(account: Account) -> Source:
    """A connection that is signed in. Raises Lost, NotSignedIn, OSError (no way, or a bad certificate)."""
    source = Source(account.host, account.port, ssl_context=None if account.starttls else account.tls)
    try:
        await source.greeted()
        if account.starttls:
            await source.secure(account)
        if source.protocol.state == NONAUTH:
            await source.authenticate(account)
    except BaseException:
        await source.leave()
        raise
    return source


def _initial(mechanism: str, account: Account) -> bytes:
    user, secret = account.user, account.secret
    match mechanism:
        case "PLAIN":  # RFC 4616 §2
            return f"\0{user}\0{secret}".encode()
        case "XOAUTH2":
            return f"user={user}\1auth=Bearer {secret}\1\1".encode()
        case "OAUTHBEARER":  # RFC 7628 §3.1
            name = user.replace("=", "=3D").replace(",", "=2C")
            return f"n,a={name},\1auth=Bearer {secret}\1\1".encode()
        case _:  # EXTERNAL, RFC 4422 Appendix A: who one is, the certificate says
            return b""


def shown(text: bytes | bytearray) -> str:
    """The words of another server, short and printable."""
    words = "".join(letter for letter in bytes(text).decode("utf-8", "replace") if letter.isprintable())
    return words if len(words) <= _WORDS else words[:_WORDS] + "…"
