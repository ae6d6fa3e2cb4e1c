"""What tests of the sender stand on: the role in this process before the world's store, real peers, a real DNS."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg

from crypto.queue_secret import QueueSecret
from crypto.smime.anchors import TrustAnchors
from server.app import Context, Sockets
from server.audit.trail import Told, of_owner
from server.base import clock, log
from server.base.sections import Relay, Trust
from server.base.sections import Sender as SenderSettings
from server.base.settings import Settings
from server.sender.keys import DayKeys
from server.sender.worker import Sender, serve
from server.transport.envelope import Envelope, Notify, Recipient, Remote
from tests.dns_server import dns_in_a_thread
from tests.dying_peer import DyingPeer, Script
from tests.forged_certificates import Certificates
from tests.operators import free_port
from tests.store_world import DOCTOR, World, message

SECONDS = 30
PEERS = 12


@dataclass
class WayOut:
    """`peer` puts a server behind a domain, `write` queues a message, `start` a worker, `until` waits for something."""

    world: World
    settings: Settings
    certificates: Certificates
    secret: QueueSecret
    stack: ExitStack
    peers: dict[str, DyingPeer] = field(default_factory=dict)
    senders: list[Sender] = field(default_factory=list)
    pools: list[asyncpg.Pool] = field(default_factory=list)

    def peer(self, number: int, script: Script | None = None, certificate: str = "member") -> str:
        """The domain of a peer that plays this script, or does all as it should."""
        host, port = _host(number), self.settings.sender.port
        peer = DyingPeer(host, port, self.certificates.server(certificate), script or Script(times=0))
        self.stack.callback(peer.close)
        self.peers[domain(number)] = peer
        return domain(number)

    async def write(
        self,
        *domains: str,
        data: bytes | None = None,
        number: int = 1,
        notify: frozenset[Notify] = frozenset(),
        original: str = "",
        local: tuple[str, ...] = (),
        **envelope: Any,
    ) -> None:
        """Accept one message for `dr@` each domain, and mailboxes here."""
        base: Envelope = await self.world.envelope(*local)
        source = replace(base.source, principal=self.world.owners[DOCTOR])
        far = tuple(Recipient(f"dr@{one}", Remote(one), notify=notify, original=original) for one in domains)
        recipients = (*base.recipients, *far)
        await self.world.acceptor.accept(
            replace(base, source=source, recipients=recipients, **envelope), data or message(number=number)
        )

    async def start(self, worker: int = 0) -> Sender:
        """A worker of the role, with the rights of its database user."""
        pool = await self.world.database.pool("sender")
        context = Context(
            self.settings,
            "sender",
            worker,
            pool,
            log.configure("sender"),
            edge=self.world.edge,
            queue_secret=self.secret,
            anchors=TrustAnchors.load(self.settings.trust.anchors),
        )
        sender = await serve(context, Sockets({}))
        assert isinstance(sender, Sender)
        self.pools.append(pool)
        self.senders.append(sender)
        return sender

    async def stop(self, sender: Sender) -> None:
        """As on SIGTERM."""
        self.senders.remove(sender)
        await sender.drain(clock.monotonic() + 5)
        await sender.close()

    async def kill(self, sender: Sender) -> None:
        """As kill -9 does: nothing is given back, nothing is settled."""
        self.senders.remove(sender)
        await sender.close()

    async def until(self, true: Callable[[], object]) -> None:
        deadline = clock.monotonic() + SECONDS
        while not true():
            assert clock.monotonic() < deadline, await self.rows()
            await asyncio.sleep(0.02)

    async def empty(self) -> None:
        """Wait until nothing is left in the queue."""
        await self.rows_are(lambda rows: not rows)

    async def rows_are(self, true: Callable[[list[dict[str, Any]]], object]) -> list[dict[str, Any]]:
        """The queue's rows once they are as asked."""
        deadline = clock.monotonic() + SECONDS
        while not true(rows := await self.rows()):
            assert clock.monotonic() < deadline, rows
            await asyncio.sleep(0.02)
        return rows

    async def rows(self) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.world.admin.fetch("SELECT * FROM queue_recipient ORDER BY domain")]

    async def due(self) -> None:
        """What waits is due now."""
        await self.world.admin.execute("UPDATE queue_recipient SET not_before = now() WHERE leased_by IS NULL")

    async def trail(self) -> list[dict[str, Any]]:
        """What the trail says of each attempt with the doctor's mail, oldest first."""
        told: list[Told] = await of_owner(self.world.admin, self.world.keyring, self.world.owners[DOCTOR])
        return [one.detail for one in reversed(told) if "outcome" in one.detail]


def _host(number: int) -> str:
    return f"127.0.2.{number}"


def domain(number: int) -> str:
    """The domain of a peer, in the order of the alphabet."""
    return f"p{number:02}.pairs.example"


@asynccontextmanager
async def way_out(world: World, folder: Path, resolver: str = "") -> AsyncIterator[WayOut]:
    """A queue with its key of the day, and room for peers; all ended when the block does."""
    numbers = range(1, PEERS + 1)
    zones = {domain(n): {"MX": [f"10 mx.{domain(n)}."]} for n in numbers}
    zones |= {f"mx.{domain(n)}": {"A": [_host(n)]} for n in numbers}
    with ExitStack() as stack:
        dns = stack.enter_context(dns_in_a_thread(zones))
        certificates = Certificates(folder)
        certificate, key = certificates.path("member")
        settings = world.database.settings.model_copy(
            update={
                "sender": SenderSettings(
                    port=free_port([_host(n) for n in numbers]), resolvers=[resolver or f"127.0.0.1:{dns.port}"]
                ),
                "trust": Trust(
                    anchors=[certificates.root_path()],
                    members={domain(n): [certificates.subject()] for n in numbers},
                ),
                "relay": Relay(certificate=certificate, private_key=key),
            }
        )
        secret = QueueSecret(os.urandom(32))
        maker = await world.database.connect("sender")
        await DayKeys(secret, world.edge).make(maker, clock.now().date())
        await maker.close()
        made = WayOut(world, settings, certificates, secret, stack)
        try:
            yield made
        finally:
            for sender in list(made.senders):
                await made.kill(sender)
            for pool in made.pools:
                pool.terminate()
            await asyncio.to_thread(stack.close)  # while this loop closes what the sender left
