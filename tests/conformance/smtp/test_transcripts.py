"""Plays the dialogues of this folder against a real session on a real socket, with TLS.

A dialogue is a text file, comments first. Each line of it is one of
    c: text      the client sends the text and CR LF; \\r \\n \\0 \\t \\xNN and \\\\ are escapes
    c| text      the same without CR LF
    s: text      the server's next line begins with this text
    s~ pattern   the server's next line matches this regular expression
    s* text      the server's next reply has several lines, and the last of them begins with this text
    signed in    greeting, EHLO, and AUTH PLAIN as the doctor, all as they should be
    tls          the client does the TLS handshake here
    closed       the server closes the connection
    accepted n   so many messages were handed over until now
    content text the last message handed over was this (escapes as above)
    envelope field value    a field of its envelope ("body", "recipients.0.original"); lists and sets joined by ","
A file whose name begins with "relay" talks to a relay, "tls" to a port where TLS comes first; the others to submission.
With "token" in its name the server knows an identity provider, with "own_certificate" the client shows a certificate.
Behind the session stand the real grammar, table and replies; who may sign in and which mailboxes exist is told below.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import select
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from crypto.pki import development
from server.base import clock
from server.base.errors import Reason, Refused, TryLater
from server.base.log import Pseudonyms
from server.base.tls import server_context
from server.identity import sasl
from server.identity.accounts import Accounts
from server.identity.model import Principal
from server.mailbox.model import OwnerKind, OwnerState, Route
from server.smtp.reply_codes import SHUTTING_DOWN
from server.smtp.service import Service
from server.smtp.session import Session
from server.transport import heading, policy
from server.transport.accept import Accepted, Acceptor, Done, Outcome
from server.transport.envelope import Envelope, Recipient, SourceKind
from server.transport.policy import Answer, Policy

HERE = Path(__file__).parent
DOMAIN = "msg.exemple.fr"
DOCTOR, PHARMACY = f"dr@{DOMAIN}", f"pharmacie@{DOMAIN}"
PASSWORD = "abcd-efgh"
BRIEF = sasl.Bearer(DOCTOR, "brief")  # signs in for no time at all
LIMIT = 64 * 1024
_SUBMITS = ";URLAUTH=submit+{}:INTERNAL:01ab"
# What URLs hand over: a header and a text of the doctor's, a text of somebody else's, and one that is too large.
URLS = {
    f"imap://h/{name}{_SUBMITS.format(holder.replace('@', '%40'))}".encode(): data
    for name, holder, data in (
        ("header", DOCTOR, f"From: {DOCTOR}\r\n".encode()),
        ("text", DOCTOR, b"\r\nbonjour\r\n"),
        ("other", f"bruno@{DOMAIN}", b"x"),
        ("large", DOCTOR, b"x\r\n" * LIMIT),
    )
}


class Mailboxes:
    """Accounts, policy and acceptor of a world with two mailboxes; `broken@` raises as a broken store would."""

    def __init__(self, tokens: bool = False) -> None:
        self.tokens = tokens
        self.taken: list[tuple[Envelope, bytes]] = []
        self.read = 0
        self.begun = 0

    def mechanisms(self, shown: Sequence[bytes] = ()) -> tuple[str, ...]:
        external = (sasl.EXTERNAL,) if shown else ()
        return (sasl.PLAIN, *external, *((sasl.XOAUTH2, sasl.OAUTHBEARER) if self.tokens else ()))

    async def sign_in(self, given: sasl.Given, network: str, shown: Sequence[bytes] = ()) -> Principal:
        if isinstance(given, sasl.AppPassword) and given.address == f"throttled@{DOMAIN}":
            raise TryLater(Reason.THROTTLED, "too many")
        if given == sasl.Bearer(f"throttled@{DOMAIN}", "good"):
            raise TryLater(Reason.THROTTLED, "too many")
        proofs = (
            sasl.AppPassword("", DOCTOR, PASSWORD),
            sasl.AppPassword(DOCTOR, DOCTOR, PASSWORD),
            sasl.Bearer(DOCTOR, "good"),
            BRIEF,
            *((sasl.External(""), sasl.External(DOCTOR)) if shown else ()),
        )
        if given not in proofs:
            raise Refused(Reason.BAD_CREDENTIALS, "no")
        until = clock.now() if given == BRIEF else None
        return Principal(1, DOCTOR, "PER", "app-password", until=until)

    async def sender(self, who: object, reverse_path: str) -> None:
        if reverse_path not in ("", DOCTOR):
            raise Refused(Reason.SENDER_NOT_YOURS, "no")

    async def recipients(
        self, who: object, addresses: Sequence[str], *, reverse_path: str = "", size: int = 0, asking: bool = False
    ) -> list[Answer]:
        return [self.recipient(address) for address in addresses]

    def recipient(self, address: str) -> Answer:
        if address == f"broken@{DOMAIN}":
            raise ConnectionRefusedError("pg: connection to 10.1.2.3 lost")
        if not address.endswith(DOMAIN):
            return Refused(Reason.NO_ROUTE, "no")
        if not re.fullmatch(rf"(pharmacie\d*|full)@{DOMAIN}", address):
            return Refused(Reason.UNKNOWN_RECIPIENT, "no")
        return Route(2, OwnerKind.ORG, OwnerState.ACTIVE, b"key")

    async def content(
        self, who: object, reverse_path: str, recipients: Sequence[Recipient], data: bytes
    ) -> policy.Content:
        authors = heading.read(data).authors
        if not authors:
            raise Refused(Reason.MALFORMED, "nobody")
        if set(authors) != {DOCTOR}:
            raise Refused(Reason.SENDER_NOT_YOURS, "no")
        return policy.Content()

    async def accept(self, envelope: Envelope, data: bytes) -> Accepted:
        if envelope.recipients[0].address.startswith("full"):
            raise TryLater(Reason.STORE_FULL, "disk full at /var/lib")
        self.taken.append((envelope, data))
        verdict: Any = None  # nothing here asks for it
        return Accepted([Outcome(r, Done.DONE) for r in envelope.recipients], False, verdict, ())

    def underway(self, change: int) -> None:
        self.begun += change

    def leads_to(self, who: object, reverse_path: str, data: bytes) -> None:
        """No message here is a pointer."""

    async def size(self, url: bytes) -> int:
        if url not in URLS:
            raise Refused(Reason.NO_SUCH_MESSAGE, "nothing")
        return len(URLS[url])

    async def octets(self, url: bytes, size: int) -> AsyncIterator[bytes]:
        for start in range(0, size, 10):
            yield URLS[url][start : start + 10]

    def arrived(self, accepted: Accepted) -> None:
        self.read += 1


@dataclass
class Place:
    """Where the dialogues take place."""

    root: Path
    mailboxes: Mailboxes = field(default_factory=Mailboxes)
    shows_certificate: bool = False

    @asynccontextmanager
    async def listening(self, kind: SourceKind, implicit: bool = False) -> AsyncIterator[tuple[Service, int]]:
        tls = server_context(self.root / "server.pem", self.root / "server.key", [self.root / "root.pem"])
        world: Any = self.mailboxes
        accounts = world if kind is SourceKind.SUBMISSION else None
        service = Service(
            kind,
            DOMAIN,
            tls,
            world,
            world,
            Pseudonyms(b"p" * 32),
            structlog.get_logger(),
            LIMIT,
            accounts=accounts,
            handed=world if kind is SourceKind.SUBMISSION else None,
        )
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Session(service), "127.0.0.1", 0, ssl=tls if implicit else None)
        try:
            yield service, server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for session in list(service.sessions):
                session.hang_up(SHUTTING_DOWN)
        # Every message that was begun has ended, however its session did.
        async with asyncio.timeout(10):
            while self.mailboxes.begun:
                await asyncio.sleep(0.01)

    def client_tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.root / "root.pem"))
        if self.shows_certificate:
            context.load_cert_chain(self.root / "organisation.pem", self.root / "organisation.key")
        return context


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    development.create(folder, DOMAIN, clock.now())
    return folder


SIGN_IN = f"""\
s: 220 {DOMAIN} ESMTP
c: EHLO poste.cabinet.fr
s* 250 AUTH PLAIN LOGIN
c: AUTH PLAIN AGRyQG1zZy5leGVtcGxlLmZyAGFiY2QtZWZnaA==
s: 235 2.7.0""".splitlines()


def told(envelope: Envelope, path: str) -> str:
    """A field of an envelope as a dialogue writes it."""
    value: Any = envelope
    for name in path.split("."):
        value = value[int(name)] if name.isdigit() else getattr(value, name)
    return ",".join(sorted(value)) if isinstance(value, tuple | frozenset) else str(value)


def escaped(text: str) -> bytes:
    return text.encode().decode("unicode_escape").encode("latin-1") if "\\" in text else text.encode()


class Client:
    """The other side: a blocking socket in a thread of its own, so that nothing of asyncio stands on both sides."""

    def __init__(self, place: Place, port: int, implicit: bool) -> None:
        self._tls = place.client_tls()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._read = b""
        if implicit:
            self.handshake()

    def handshake(self) -> None:
        assert self._read == b"", "the server said something between 220 and TLS"
        self._socket = self._tls.wrap_socket(self._socket, server_hostname=DOMAIN)

    def line(self) -> str:
        while b"\r\n" not in self._read:
            received = self._socket.recv(65536)
            assert received, f"the server closed; before that it said {self._read!r}"
            self._read += received
        line, _, self._read = self._read.partition(b"\r\n")
        return line.decode()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def hears(self, seconds: float) -> bool:
        """Whether the server says something, waiting so long at most."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def rest(self) -> bytes:
        try:
            return self._read + self._socket.recv(65536)
        except ConnectionResetError:
            return self._read

    def close(self) -> None:
        self._socket.close()


def play(lines: Sequence[tuple[int, str]], place: Place, client: Client) -> None:
    steps = [(n, one) for n, line in lines for one in (SIGN_IN if line == "signed in" else [line])]
    for number, line in steps:
        step, text = line[:2], line[3:]
        if step in ("c:", "c|"):
            client.send(escaped(text) + (b"\r\n" if step == "c:" else b""))
        elif step in ("s:", "s~"):
            said = client.line()
            good = said.startswith(text) if step == "s:" else re.fullmatch(text, said)
            assert good, f"line {number}: wanted {text!r}, the server said {said!r}"
        elif step == "s*":
            said = client.line()
            while said[3:4] == "-":
                said = client.line()
            assert said.startswith(text), f"line {number}: wanted {text!r}, the server said {said!r}"
        elif line == "tls":
            client.handshake()
        elif line == "closed":
            assert client.rest() == b"", f"line {number}: the server says more"
        elif line.startswith("accepted "):
            assert len(place.mailboxes.taken) == int(line.split()[1]), f"line {number}"
        elif line.startswith("content "):
            assert place.mailboxes.taken[-1][1] == escaped(line.removeprefix("content ")), f"line {number}"
        elif line.startswith("envelope "):
            _, name, value = line.split(" ", 2)
            assert told(place.mailboxes.taken[-1][0], name) == value, f"line {number}"
        else:
            raise AssertionError(f"line {number}: no step of a dialogue: {line!r}")
    client.close()


@pytest.mark.parametrize("file", sorted(HERE.glob("*.txt")), ids=lambda file: file.stem)
async def test_dialogue(file: Path, pki: Path) -> None:
    lines = [
        (number, line)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if line and not line.startswith("#")
    ]
    place = Place(pki, Mailboxes(tokens="token" in file.stem), shows_certificate="own_certificate" in file.stem)
    implicit = file.stem.startswith("tls")
    kind = SourceKind.RELAY if file.stem.startswith("relay") else SourceKind.SUBMISSION
    async with place.listening(kind, implicit) as (_, port):
        await asyncio.to_thread(lambda: play(lines, place, Client(place, port, implicit)))


@pytest.mark.parametrize(
    "method",
    [
        Policy.sender,
        Policy.recipients,
        Policy.content,
        Acceptor.accept,
        Acceptor.arrived,
        Accounts.sign_in,
        Accounts.mechanisms,
    ],
    ids=lambda method: method.__qualname__,
)
def test_the_double_takes_what_the_real_one_takes(method: Callable[..., Any]) -> None:
    double = getattr(Mailboxes, method.__name__)
    assert [str(one.replace(annotation=one.empty)) for one in inspect.signature(double).parameters.values()] == [
        str(one.replace(annotation=one.empty)) for one in inspect.signature(method).parameters.values()
    ]
