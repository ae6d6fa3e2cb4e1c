"""The web edge of a test: real HTTPS on a real store, and messages to read there."""

from __future__ import annotations

import email.policy
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from email.message import EmailMessage
from pathlib import Path

import httpx

from crypto.pki import development
from crypto.smime.anchors import TrustAnchors
from crypto.smime.sign import sign_detached
from server.app import Context, Sockets
from server.base import clock, log
from server.base.sections import Identity
from server.base.settings import Settings
from server.cli.demo.prescription import prescription_pdf
from server.identity.model import Principal
from server.mailbox.model import OwnerKind
from server.transport.accept import Acceptor
from server.transport.policy import Policy
from server.trust.space import TrustSpace
from server.web.edge import serve
from tests.store_world import DOCTOR, PATIENT, World

SUBJECT = "Ordonnance du 2 mars"
PDF = prescription_pdf("Dr Anne DUPONT", "Jeanne MARTIN", ["Paracetamol 1 g"])


@dataclass
class Site:
    """Where it listens, and what stands behind it."""

    world: World
    base: str
    root: Path
    settings: Settings

    def browser(self, language: str = "fr") -> httpx.AsyncClient:
        """A browser without a cookie: it says where a form came from, as browsers do."""
        return httpx.AsyncClient(
            base_url=self.base,
            verify=ssl.create_default_context(cafile=str(self.root)),
            headers={"Accept": "text/html", "Accept-Language": language, "Origin": self.base},
            timeout=60,
        )


@asynccontextmanager
async def site(world: World, place: Path, **changes: object) -> AsyncIterator[Site]:
    """Serve the web role of `world` with the development sign-in; `changes` are other settings."""
    development.create(place / "pki", "msg.exemple.fr", clock.now(), ["localhost", "127.0.0.1"])
    settings = world.database.settings.model_copy(
        update={"home": place, "identity": Identity(development_sign_in=True)} | changes
    )
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    pool = await world.database.pool("web")
    context = Context(
        settings=settings,
        role="web",
        worker=0,
        pool=pool,
        log=log.configure("web"),
        edge=world.edge,
        keyring=world.keyring,
        anchors=TrustAnchors.load([place / "pki" / "root.pem"]),
        timestamp_anchors=TrustAnchors.load([place / "pki" / "root.pem"]),
    )
    running = await serve(context, Sockets({"web": bound}))
    try:
        root = place / "pki" / "root.pem"
        yield Site(world, f"https://localhost:{bound.getsockname()[1]}", root, settings)
    finally:
        await running.drain(clock.monotonic() + 5)
        await running.close()
        pool.terminate()


def prescription(place: Path, *, name: str = "Dr Anne DUPONT") -> bytes:
    """A message as practice software makes it: text and PDF, signed by the doctor under the root of `place`."""
    content = EmailMessage(policy=email.policy.SMTP)
    content.set_content("Bonjour,\n\nVoici votre ordonnance.\n<script>alert(1)</script>\n")
    content.add_attachment(PDF, maintype="application", subtype="pdf", filename="ordonnance.pdf")
    signer = development.signer(place / "pki", DOCTOR, "Anne DUPONT", "10101010101", clock.now())
    headers = {"From": f"{name} <{DOCTOR}>", "To": PATIENT, "Subject": SUBJECT, "Message-ID": "<1@cabinet.example>"}
    return sign_detached(content.as_bytes(), headers, signer, clock.now())


async def deliver(world: World, site: Site, data: bytes, *recipients: str) -> None:
    """Accept a message as submission does, judged under the site's own root, and file it as the jobs do."""
    acceptor = Acceptor(world.edge_pool, world.edge, TrustAnchors.load([site.root]), site.settings)
    await acceptor.start()
    envelope = await world.envelope(*recipients)
    policy = Policy(world.edge_pool, world.edge, site.settings, TrustSpace({}))
    doctor = Principal(world.owners[DOCTOR], DOCTOR, OwnerKind.PER, "app-password")
    content = await policy.content(doctor, DOCTOR, envelope.recipients, data)
    await acceptor.accept(replace(envelope, received_at=clock.now(), turn=content.turn), data)
    await acceptor.close()
    await world.intake(TrustAnchors.load([site.root])).some()


def token_in(page: str) -> str:
    """The form token of a page."""
    found = re.search(r'name="jeton" value="([0-9a-f]{64})"', page)
    assert found, page
    return found[1]


async def sign_in(browser: httpx.AsyncClient, address: str) -> httpx.Response:
    """Sign in without proof."""
    front = await browser.get("/")
    return await browser.post("/connexion", data={"jeton": token_in(front.text), "adresse": address})
