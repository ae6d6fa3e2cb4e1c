"""What tests of the SMTP edges stand on: both edges in this process, on real ports, before the world's store."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from crypto.pki import development
from crypto.smime.anchors import TrustAnchors
from server.app import Context, Sockets, bind
from server.base import clock
from server.base.sections import Trust
from server.identity.accounts import Accounts
from server.smtp.edge import SmtpEdge, serve_relay, serve_submission
from tests.store_world import World

DOMAIN = "msg.exemple.fr"


class Smtp(smtplib.SMTP):
    """smtplib, with the name that the certificate has."""

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        super().__init__("127.0.0.1", port, local_hostname="poste.cabinet.fr", timeout=20)
        self._host = DOMAIN
        self.ehlo()
        self.starttls(context=tls)
        self.ehlo()

    def say(self, command: str) -> tuple[int, str]:
        """One command; code and text of the reply."""
        code, text = self.docmd(command)
        return code, text.decode()


class Client:
    """A practice's software: smtplib's methods, each in a thread, since the server shares our loop."""

    def __init__(self, smtp: Smtp) -> None:
        self.smtp = smtp

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        return partial(asyncio.to_thread, getattr(self.smtp, name))


@dataclass
class Post:
    """An edge that runs, and how to reach it."""

    edge: SmtpEdge
    sockets: Sockets
    pki: Path
    password: Callable[[str], str]

    def tls(self, certificate: str | None = None) -> ssl.SSLContext:
        """A client's context; `certificate` names a pair of files in the PKI to show."""
        context = ssl.create_default_context(cafile=str(self.pki / "root.pem"))
        if certificate is not None:
            context.load_cert_chain(self.pki / f"{certificate}.pem", self.pki / f"{certificate}.key")
        return context

    async def client(self, address: str | None = None, certificate: str | None = None) -> Client:
        """A session over STARTTLS, signed in as `address`."""
        name = "relay" if "relay" in self.sockets else "submission"

        def connect() -> Smtp:
            client = Smtp(self.sockets.ports[name], self.tls(certificate))
            if address is not None:
                client.login(address, self.password(address))
            return client

        return Client(await asyncio.to_thread(connect))


@asynccontextmanager
async def post(
    world: World,
    pki: Path,
    anchors: TrustAnchors,
    role: str = "submission",
    members: dict[str, list[str]] | None = None,
    proxies: Sequence[str] = (),
    changes: dict[str, Any] | None = None,
    **trusted: Any,
) -> AsyncIterator[Post]:
    """The edge of a role, as its process runs it, with an app password for each mailbox of the world.

    `changes` of the settings; `trusted`: further settings of the section `trust`.
    """
    admin = await world.database.pool("admin")
    made = await Accounts(admin, world.edge).new_app_passwords(list(world.owners.values()), "test")
    await admin.close()
    passwords = dict(zip(world.owners, made, strict=True))
    section = {"certificate": pki / "server.pem", "private_key": pki / "server.key", "proxies": list(proxies)}
    trust = Trust(anchors=[pki / "root.pem"], members=members or {}, **trusted)
    given = world.database.settings
    listener = getattr(given, role).model_copy(update=section)
    settings = given.model_copy(update={role: listener, "trust": trust} | (changes or {}))
    context = Context(settings, role, 0, world.edge_pool, structlog.get_logger(), edge=world.edge, anchors=anchors)
    sockets = bind(settings, role)
    edge = await (serve_submission if role == "submission" else serve_relay)(context, sockets)
    try:
        yield Post(edge, sockets, pki, passwords.__getitem__)
    finally:
        await edge.close()


def make_pki(folder: Path) -> Path:
    """A development PKI."""
    development.create(folder, DOMAIN, clock.now())
    return folder
