"""What tests of the IMAP edge stand on: the edge in this process, on real ports, before the world's store."""

from __future__ import annotations

import imaplib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from crypto.smime.anchors import TrustAnchors
from server.app import Context, Sockets, bind
from server.base.sections import MailEdge, Trust
from server.identity.accounts import Accounts
from server.imap.edge import ImapEdge, serve
from tests.store_world import PHARMACY, World, message

NAME = "msg.exemple.fr"  # of the certificate


class Client(imaplib.IMAP4):
    """imaplib over STARTTLS, with the name that the certificate has."""

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        super().__init__("127.0.0.1", port, timeout=20)
        self.host = NAME
        self.starttls(tls)

    def ask(self, name: str, *arguments: str) -> tuple[str, bytes]:
        """A command that imaplib does not know: its outcome, and all that was told."""
        imaplib.Commands.setdefault(name, ("AUTH", "SELECTED"))
        status, data = self._simple_command(name, *arguments)
        told = [*data, *(piece for lines in self.untagged_responses.values() for piece in lines)]
        self.untagged_responses.clear()
        return status, b" ".join(b" ".join(one) if isinstance(one, tuple) else one for one in told if one)


@dataclass
class Access:
    """The edge that runs, and how to reach it."""

    edge: ImapEdge
    sockets: Sockets
    pki: Path
    password: Callable[[str], str]

    @property
    def port(self) -> int:
        return self.sockets.ports["imap"]

    @property
    def tls_port(self) -> int:
        return self.sockets.ports["imap_tls"]

    def tls(self, certificate: str | None = None) -> ssl.SSLContext:
        """A client's context; `certificate` names a pair of files in the PKI to show."""
        context = ssl.create_default_context(cafile=str(self.pki / "root.pem"))
        if certificate is not None:
            context.load_cert_chain(self.pki / f"{certificate}.pem", self.pki / f"{certificate}.key")
        return context

    def client(self, address: str) -> Client:
        """A blocking client, signed in (call it in a thread)."""
        client = Client(self.port, self.tls())
        client.login(address, self.password(address))
        return client


async def deliver(world: World, *texts: str) -> None:
    """One message after the other to the pharmacy, numbered from 1."""
    for number, text in enumerate(texts, 1):
        await world.acceptor.accept(await world.envelope(PHARMACY), message(text, number))


@asynccontextmanager
async def access(
    world: World,
    pki: Path,
    anchors: TrustAnchors,
    proxies: Sequence[str] = (),
    changes: dict[str, Any] | None = None,
) -> AsyncIterator[Access]:
    """The edge as its process runs it, with an app password for each mailbox; `changes` of the settings."""
    admin = await world.database.pool("admin")
    made = await Accounts(admin, world.edge).new_app_passwords(list(world.owners.values()), "test")
    await admin.close()
    passwords = dict(zip(world.owners, made, strict=True))
    section = MailEdge(certificate=pki / "server.pem", private_key=pki / "server.key", proxies=list(proxies))
    trust = Trust(anchors=[pki / "root.pem"])
    given = world.database.settings.model_copy(update={"imap": section, "trust": trust})
    settings = given.model_copy(update=changes or {})
    context = Context(
        settings,
        "imap",
        0,
        world.reader_pool,
        structlog.get_logger(),
        edge=world.edge,
        keyring=world.keyring,
        anchors=anchors,
    )
    sockets = bind(settings, "imap")
    edge = await serve(context, sockets)
    try:
        yield Access(edge, sockets, pki, passwords.__getitem__)
    finally:
        await edge.close()
