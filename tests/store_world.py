"""What tests of store and transport stand on: a keyring, edge secrets, mailboxes, and the objects that serve them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from crypto.edge import EdgeKeys
from crypto.keyring import Keyring
from crypto.pki.issue import Issued
from crypto.smime.anchors import TrustAnchors
from server.base import log
from server.mailbox.beside import signing_keys
from server.mailbox.check import check
from server.mailbox.create import create
from server.mailbox.model import INBOX_ID, NewMailbox, OwnerKind
from server.mailbox.routes import routes
from server.mailbox.store import Mailbox, Store
from server.record.intake import Intake
from server.record.signatures import Signatures
from server.transport.accept import Acceptor
from server.transport.envelope import Envelope, Recipient, Source, SourceKind
from server.transport.local_queue import LocalQueue

DOCTOR = "dr.dupont@msg.exemple.fr"
PHARMACY = "pharmacie@msg.exemple.fr"
PATIENT = "280019900100182@patient.msg.exemple.fr"
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def message(text: str = "Bonjour", number: int = 1, subject: str = "Ordonnance") -> bytes:
    """A plain message; another `number` makes it another one."""
    return (
        f"From: Docteur <{DOCTOR}>\r\nTo: <{PHARMACY}>\r\nSubject: {subject}\r\n"
        f"Date: Mon, 2 Mar 2026 12:00:00 +0100\r\nMessage-ID: <{number}@cabinet.example>\r\n\r\n{text}\r\n"
    ).encode()


@dataclass
class World:
    """A migrated database with three mailboxes, and the two sides: `acceptor` writes, `store` reads."""

    database: Any
    edge: EdgeKeys
    keyring: Keyring
    edge_pool: asyncpg.Pool
    reader_pool: asyncpg.Pool
    jobs_pool: asyncpg.Pool
    admin: asyncpg.Connection
    acceptor: Acceptor
    store: Store
    owners: dict[str, int]

    async def recipients(self, *addresses: str, folder_id: int = INBOX_ID) -> tuple[Recipient, ...]:
        found = await routes(self.edge_pool, self.edge, addresses)
        return tuple(Recipient(address, found[address], folder_id) for address in addresses)

    async def envelope(self, *addresses: str, sender: str = DOCTOR, folder_id: int = INBOX_ID) -> Envelope:
        source = Source(SourceKind.SUBMISSION, sender, "poste.cabinet.example ([192.0.2.1])", None)
        return Envelope(sender, await self.recipients(*addresses, folder_id=folder_id), source, NOON, "trace")

    async def mailbox(self, address: str) -> Mailbox:
        return await self.store.open(self.owners[address])

    async def give_signing_key(self, address: str, root: Issued, now: datetime) -> Issued:
        """As the operator's command gives one."""
        key = await self.store.keys.of(self.admin, self.owners[address])
        made = signing_keys.issued(root, await (await self.mailbox(address)).identity(), now, "")
        await signing_keys.add(self.admin, key, made, now)
        return made

    def intake(self, anchors: TrustAnchors | None = None) -> Intake:
        """The intake of the record, with the rights of the jobs; documents are judged by `anchors`."""
        anchors = anchors or self.store.anchors
        assert anchors is not None
        signatures = Signatures(self.jobs_pool, anchors, anchors)
        return Intake(Store(self.jobs_pool, self.edge, self.keyring), signatures, log.configure("jobs"))

    def local_queue(self) -> LocalQueue:
        """What waits here, with the rights of the jobs."""
        assert self.store.anchors is not None
        return LocalQueue(self.jobs_pool, self.edge, self.keyring, self.store.anchors, self.database.settings)

    async def texts(self, address: str, folder_id: int = INBOX_ID) -> list[bytes]:
        """The bodies in a folder, whole."""
        mailbox = await self.mailbox(address)
        view = await mailbox.view(folder_id)
        return [await mailbox.body(row.content_id) for row in view.rows]


_keyrings: dict[Path, Keyring] = {}


def keyring_in(folder: Path) -> Keyring:
    """A keyring, made once a run: 4,096 bucket keys take a moment."""
    if folder not in _keyrings:
        _keyrings[folder] = Keyring.create(folder)
    return _keyrings[folder]


@asynccontextmanager
async def world(database: Any, keyring: Keyring, anchors: TrustAnchors) -> AsyncIterator[World]:
    """The world; at its end the store is checked, and every invariant has to hold."""
    edge = EdgeKeys.new()
    admin = await database.connect()
    new = [
        NewMailbox(DOCTOR, OwnerKind.PER, "Dr Anne Dupont", rpps="10101010101"),
        NewMailbox(PHARMACY, OwnerKind.ORG, "Pharmacie du Pont", finess="010000000"),
        NewMailbox(PATIENT, OwnerKind.PATIENT, "Jeanne Martin", ins="280019900100182"),
    ]
    created = await create(admin, keyring, edge, new)
    pools = [await database.pool(role) for role in ("submission", "imap", "jobs")]
    acceptor = Acceptor(pools[0], edge, anchors, database.settings)
    await acceptor.start()
    store = Store(pools[1], edge, keyring, anchors)
    owners = {one.address: one.owner_id for one in created}
    try:
        yield World(database, edge, keyring, *pools, admin, acceptor, store, owners)
        await acceptor.close()
        await store.announcer.close()
        assert await check(admin, keyring, edge) == []
    finally:
        for pool in pools:
            pool.terminate()
        await admin.close()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
