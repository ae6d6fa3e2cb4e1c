"""The role `sender`: leases what is due in the queue, takes it to other operators, and settles what became of it.

Invariants:
- A row is tried by one worker at a time: it is leased, the lease is renewed while the worker lives, and a lease that
  ran out makes the row due again, known as of unsure end.
- A peer is only who the trust space lists for the domain, by certificate; a domain that is not in it waits.
- What was answered positively leaves the queue; whatever happens to this process, nothing leaves it otherwise.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

from crypto.errors import CryptoError
from crypto.queue_secret import QueueSecret
from server.app import Context, Running, Sockets
from server.base import clock
from server.base.errors import TryLater
from server.base.ids import trace_id
from server.base.log import Pseudonyms
from server.base.tls import operator_context
from server.db.pool import trouble
from server.mailbox.feed import Announcer
from server.mailbox.trouble import connection
from server.sender import queries
from server.sender.keys import DayKeys
from server.sender.lane import CONNECTIONS, REUSED, Lane, Unreachable
from server.sender.link import RECIPIENTS, Link, Outcome
from server.sender.mx import Exchangers
from server.sender.settle import Settler, Tried
from server.sender.work import Due, Opened, Work, open_message
from server.trust.members import Peer
from server.trust.space import TrustSpace

LEASE_SECONDS: Final = 120.0
HEARTBEAT_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.25  # an idle queue is asked so often: one look at an index
KEYS_SECONDS: Final = 600.0
LEASED: Final = 200  # rows in one lease
SETTLED: Final = 100  # recipients in one transaction
RETRY_SECONDS: Final = 0.5  # what could not be written is written again, before the lease ends
OPENED_AT_ONCE: Final = 64  # messages in memory: with the largest of 25 MiB they fit a small machine


class Sender:
    """One worker."""

    def __init__(self, context: Context, secret: QueueSecret, trust: TrustSpace, tls: ssl.SSLContext) -> None:
        if context.edge is None:
            raise ValueError("the sender needs the edge keys")
        settings = context.settings
        self._context = context
        self._pool = context.pool
        self._log = context.log
        self._edge = context.edge
        self._trust = trust
        self._tls = tls
        self._name = f"{context.worker}-{os.getpid()}-{trace_id()}"
        self._keys = DayKeys(secret, context.edge)
        self._settler = Settler(context.edge, settings, self._name)
        self._announcer = Announcer(context.pool)
        self._exchangers = Exchangers(settings.sender.resolvers, settings.domain)
        self._pseudonyms = Pseudonyms(context.edge.pseudonym)
        self._lanes: dict[str, Lane] = {}
        self._held: dict[tuple[bytes, int], None] = {}  # rows leased and not settled
        self._tried: list[Tried] = []
        self._to_settle = asyncio.Event()
        self._all_settled = asyncio.Event()
        self._opening = asyncio.Semaphore(OPENED_AT_ONCE)
        self._draining = asyncio.Event()
        self._links: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Make the keys of the day and begin. Raises TryLater."""
        await self._make_keys()
        self._loops = [
            asyncio.create_task(self._repeat(name, work, pause), name=name)
            for name, work, pause in (
                ("lease", self._lease, POLL_SECONDS),
                ("heartbeat", self._heartbeat, HEARTBEAT_SECONDS),
                ("keys", self._make_keys, KEYS_SECONDS),
                ("settle", self._settle, 0.0),
            )
        ]

    async def drain(self, deadline: float) -> None:
        """Lease nothing more, let what is being sent end and be settled, until `deadline`."""
        self._draining.set()
        for lane in self._lanes.values():
            lane.works.clear()  # untried: their lease runs out, or the next start of this worker takes them
            lane.more.set()
        if self._links:
            await asyncio.wait(self._links, timeout=max(0.0, deadline - clock.monotonic()))
        if self._tried:
            self._all_settled.clear()
            try:
                await asyncio.wait_for(self._all_settled.wait(), max(0.0, deadline - clock.monotonic()))
            except TimeoutError:
                self._log.warning("sent_and_not_settled", recipients=len(self._tried))

    async def close(self) -> None:
        """End all that is left, now."""
        for task in (*self._links, *self._loops):
            task.cancel()
        await asyncio.gather(*self._links, *self._loops, return_exceptions=True)
        await self._announcer.close()

    async def _repeat(self, name: str, work: Callable[[], Awaitable[bool]], pause: float) -> None:
        while True:
            rest = pause
            try:
                if await work():
                    rest = 0.0
            except Exception as error:  # whatever one loop meets, it and the others go on
                away = trouble(error) is not None or isinstance(error, TryLater)
                self._log.warning("sender_waits" if away else "sender_failed", task=name, error=error)
                rest = max(pause, RETRY_SECONDS)
            await asyncio.sleep(rest)

    # The queue

    async def _make_keys(self) -> bool:
        async with connection(self._pool) as acquired:
            await self._keys.make(acquired, clock.now().date())
            await acquired.execute(queries.DROP_STRAY_PIECES)
        return False

    async def _lease(self) -> bool:
        """Take what is due into the lanes; whether there may be more at once."""
        if self._draining.is_set() or len(self._held) >= 2 * LEASED:
            return False
        left_alone = [lane.domain for lane in self._lanes.values() if not lane.open]
        async with connection(self._pool) as acquired:
            rows = await acquired.fetch(queries.LEASE, self._name, LEASE_SECONDS, left_alone, LEASED)
        works: dict[tuple[bytes, str], list[Due]] = defaultdict(list)
        for row in rows:
            self._held[row["queue_id"], row["number"]] = None
            due = Due(row["number"], row["attempts"], row["delay_told"], row["unsure"])
            works[row["queue_id"], row["domain"]].append(due)
        for (queue_id, domain), dues in works.items():
            for start in range(0, len(dues), RECIPIENTS):
                self._lane(domain).add(Work(queue_id, domain, tuple(dues[start : start + RECIPIENTS])))
        self._sweep()
        return len(rows) == LEASED

    def _lane(self, domain: str) -> Lane:
        lane = self._lanes.setdefault(domain, Lane(domain))
        if lane.links < CONNECTIONS and lane.links <= len(lane.works):
            lane.links += 1
            task = asyncio.create_task(self._serve_lane(lane), name=f"lane-{domain}")
            self._links.add(task)
            task.add_done_callback(self._links.discard)
        return lane

    def _sweep(self) -> None:
        """Forget lanes at rest."""
        for domain, lane in list(self._lanes.items()):
            if not lane.works and not lane.links and lane.open and not lane.failures:
                del self._lanes[domain]

    async def _heartbeat(self) -> bool:
        held = list(self._held)
        if held:
            async with connection(self._pool) as acquired:
                await acquired.execute(
                    queries.HEARTBEAT, self._name, LEASE_SECONDS, [one for one, _ in held], [two for _, two in held]
                )
        return False

    # A lane's connection

    async def _serve_lane(self, lane: Lane) -> None:
        """Work off a lane over one connection at a time."""
        link: Link | None = None
        host = ""
        try:
            while (work := await lane.next()) is not None:
                try:
                    async with self._opening:
                        message = await self._open(work)
                        if message is None:
                            continue
                        if link is None or not link.usable or link.sent >= REUSED:
                            if link is not None:
                                await link.quit()
                                link = None
                            link, host = await lane.connect(self._exchangers, self._open_link)
                        outcomes = await link.send(message.envelope, message.addressees(work.due), message.data)
                except Unreachable as error:
                    self._all(lane, work, message, error.outcome)
                    await self._give_up(lane, error.outcome)
                    return
                self._add(Tried(work, message, due, one, host) for due, one in zip(work.due, outcomes, strict=True))
        except Exception as error:  # one lane's trouble is not another's; what it held is due again after its lease
            self._log.error("lane_failed", domain=lane.domain, error=error)
        finally:
            lane.links -= 1
            if link is not None:
                await link.quit()

    async def _open(self, work: Work) -> Opened | None:
        """The message of a work; what does not open is put aside."""
        try:
            async with connection(self._pool) as acquired:
                message = await open_message(acquired, self._keys, self._edge.salts, work.queue_id)
        except CryptoError as error:
            self._log.error("queue_message_damaged", queue=work.queue_id.hex(), error=error)
            async with connection(self._pool) as acquired:
                await acquired.execute(queries.SET_ASIDE, work.queue_id, self._name)
            message = None
        if message is None:
            for due in work.due:
                self._held.pop((work.queue_id, due.number), None)
        return message

    async def _open_link(self, domain: str, address: str) -> Link:
        settings = self._context.settings

        return await Link.open(
            address,
            settings.sender.port,
            settings.domain,
            self._tls,
            partial(self._why_not, domain),
            settings.sender.source or None,
        )

    def _why_not(self, domain: str, peer: Peer) -> str | None:
        if not self._trust.lists(domain):
            return "the domain is not in the trust space"
        if not self._trust.may_speak_for(peer.subject, domain):
            return f"the certificate's subject is not listed for the domain: {peer.text}"
        return None

    async def _give_up(self, lane: Lane, outcome: Outcome) -> None:
        """No host could be spoken to: all that waits in the lane had its attempt."""
        while lane.works:
            work = lane.works.popleft()
            async with self._opening:
                message = await self._open(work)
                if message is not None:
                    self._all(lane, work, message, outcome)

    def _all(self, lane: Lane, work: Work, message: Opened | None, outcome: Outcome) -> None:
        if message is not None:
            self._add(Tried(work, message, due, outcome) for due in work.due)

    # Settling

    def _add(self, tried: Iterable[Tried]) -> None:
        self._tried.extend(tried)
        self._to_settle.set()

    async def _settle(self) -> bool:
        """Write what was tried, together; it stays in hand until it is written."""
        await self._to_settle.wait()
        batch = self._tried[:SETTLED]
        async with connection(self._pool) as acquired:
            settled = await self._settler.settle(acquired, batch, clock.now())
        del self._tried[: len(batch)]
        if not self._tried:
            self._to_settle.clear()
            self._all_settled.set()
        for one in batch:
            self._held.pop((one.work.queue_id, one.due.number), None)
        for one, end in settled.fates:
            self._tell(one, end)
        self._announcer.changed(settled.told)
        return True

    def _tell(self, one: Tried, end: str) -> None:
        addressee = one.message.envelope.recipients[one.due.number]
        self._log.info(
            "message_sent",
            trace=one.message.trace_id,
            recipient=self._pseudonyms.of(addressee.address),
            outcome=end,
            host=one.host,
            status=one.outcome.status,
            attempt=one.due.attempts,
            repeated=one.due.unsure,
        )


async def serve(context: Context, sockets: Sockets) -> Running:
    """Start a worker of the role."""
    settings = context.settings
    if context.queue_secret is None:
        raise ValueError("the sender needs the queue's secret")
    tls = operator_context(
        [settings.path(anchor) for anchor in settings.trust.anchors],
        settings.path(settings.relay.certificate),
        settings.path(settings.relay.private_key),
    )
    sender = Sender(context, context.queue_secret, TrustSpace(settings.trust.members), tls)
    await sender.start()
    return sender
