"""The role `sender`: leases what is due in the queue, takes it to other operators, and settles what became of it.

Invariants:
- A row is tried by one worker at a time: it is leased, the lease is renewed while the worker lives, and a lease that
  ran out makes the row due again, known as of unsure end.
- A peer is only who the trust space lists for the domain, by certificate; a domain that is not in it waits.
- What was answered positively leaves the queue; whatever happens to this process, nothing leaves it otherwise.
- A connection says nothing more, not even QUIT, before what it delivered is written: until then a receiver like ours
  knows a repeat as one (transport/accept.py), so that a worker killed at any point doubles nothing there.
- A domain has connections and work in hand of its own (lane.py), and content is opened only once a connection is there,
  a part at a time: peers that are dead or slow hold neither memory nor time that another domain's mail would need.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from crypto.errors import CryptoError
from crypto.queue_secret import QueueSecret
from server.app import Context, Running, Sockets
from server.base import clock
from server.base.errors import TryLater
from server.base.ids import trace_id
from server.base.tls import operator_context
from server.mailbox.trouble import connection
from server.sender import queries
from server.sender.dialogue import Outcome, postponed, refused
from server.sender.download import Downloads
from server.sender.fetch import Fetches
from server.sender.hold import Holds
from server.sender.keys import DayKeys
from server.sender.lane import BACKLOG, REUSED, Lane, Unreachable
from server.sender.ledger import Ledger
from server.sender.link import RECIPIENTS, Link, LinkLost, Stale
from server.sender.mx import Exchangers
from server.sender.settle import Settler, Tried
from server.sender.work import Content, Due, Message, Work, open_message, transaction
from server.transport.accept import Acceptor
from server.transport.pointer import HELD_BY
from server.transport.policy import Policy
from server.trust.follow import Follower

LEASE_SECONDS: Final = 120.0
HEARTBEAT_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.25  # an idle queue is asked so often: one look at an index
COLLECT_SECONDS: Final = 60.0
KEYS_SECONDS: Final = 600.0
LEASED: Final = 1_000  # rows in one lease, of one domain at most its backlog
HELD: Final = 20_000  # rows in hand: a hundred domains' backlogs
LINKS: Final = 200  # connections; past them a domain has one, which is never denied to it
RETRY_SECONDS: Final = 0.5  # what could not be read or written is tried again, before the lease ends
RETURNED: Final = refused("5.3.0", "returned by the operator")


class Sender:
    """One worker."""

    def __init__(self, context: Context, secret: QueueSecret, trust: Follower, tls: ssl.SSLContext) -> None:
        if context.edge is None:
            raise ValueError("the sender needs the edge keys")
        settings = context.settings
        self._context = context
        self._pool = context.pool
        self._log = context.log
        self._edge = context.edge
        self._follower = trust
        self._trust = trust.space
        self._tls = tls
        # Of one place on one machine there is one worker at a time: others with this beginning are dead.
        self._place = f"{os.uname().nodename}-{context.worker}-"
        self._name = f"{self._place}{os.getpid()}-{trace_id()}"
        self._keys = DayKeys(secret, context.edge)
        self._exchangers = Exchangers(settings.sender.resolvers, settings.domain)
        self._lanes: dict[str, Lane] = {}
        self._held: set[tuple[bytes, int]] = set()  # rows leased and not settled
        self._unsent: deque[tuple[Work, Outcome]] = deque()  # decided without a word to the peer
        self._ledger = Ledger(context.pool, Settler(context.edge, settings, self._name), self._held, context.log)
        self._holds = Holds(context.pool, context.edge, settings)
        self._fetches: Fetches | None = None
        self._short = asyncio.Event()
        self._draining = False
        self._links: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Make the keys of the day and begin. Raises TryLater."""
        await self._make_keys()
        self._fetches = await self._fetching()
        async with connection(self._pool) as acquired:
            await acquired.execute(queries.TAKE_BACK, self._place)
        self._loops = [
            asyncio.create_task(self._repeat(name, work, pause), name=name)
            for name, work, pause in (
                ("lease", self._lease, 0.0),
                ("unsent", self._decide_unsent, POLL_SECONDS),
                ("heartbeat", self._heartbeat, HEARTBEAT_SECONDS),
                ("keys", self._make_keys, KEYS_SECONDS),
                ("settle", self._ledger.settle, 0.0),
                ("held", self._holds.collect, COLLECT_SECONDS),
            )
        ]

    async def _fetching(self) -> Fetches | None:
        settings, anchors = self._context.settings, self._context.anchors
        if not settings.transport.pointer_bytes or anchors is None:
            return None
        acceptor = Acceptor(self._pool, self._edge, anchors, settings)
        await acceptor.start()
        port, source = settings.sender.held_port, settings.sender.source
        downloads = Downloads(self._exchangers, self._tls, port, source, self._why_not)
        return Fetches(downloads, Policy(self._pool, self._edge, settings, self._trust), acceptor)

    async def drain(self, deadline: float) -> None:
        """Lease nothing more, let what is being sent end and be settled, until `deadline`; give the rest back."""
        self._draining = True
        untried = [work for work, _ in self._unsent]
        self._unsent.clear()
        for lane in self._lanes.values():
            untried += lane.works
            lane.works.clear()
            lane.wake()
        await self._give_back(untried)
        if self._links:
            await asyncio.wait(self._links, timeout=max(0.0, deadline - clock.monotonic()))
        try:
            await asyncio.wait_for(self._ledger.written(), max(0.0, deadline - clock.monotonic()))
        except TimeoutError:
            self._log.warning("sent_and_not_settled", recipients=len(self._ledger))

    async def close(self) -> None:
        """End all that is left, now."""
        self._draining = True
        for task in (*self._links, *self._loops):
            task.cancel()
        await asyncio.gather(*self._links, *self._loops, return_exceptions=True)
        await self._ledger.close()
        if self._fetches is not None:
            await self._fetches.close()
        await self._follower.close()

    async def _repeat(self, name: str, work: Callable[[], Awaitable[bool]], pause: float) -> None:
        while True:
            rest = pause
            try:
                if await work():
                    rest = 0.0
            except Exception as error:  # whatever one loop meets, it and the others go on
                away = isinstance(error, TryLater)
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
        if self._draining or len(self._held) >= HELD:
            await self._pause()
            return False
        crowded = len(self._unsent) >= BACKLOG
        left = [lane.domain for lane in self._lanes.values() if lane.full or (crowded and lane.closed)]
        async with connection(self._pool) as acquired:
            rows = await acquired.fetch(queries.LEASE, self._name, LEASE_SECONDS, left, BACKLOG, LEASED)
        works: dict[tuple[bytes, str], list[Due]] = defaultdict(list)
        for row in rows:
            if (row["queue_id"], row["number"]) in self._held:  # ours already: the database was away past the lease
                continue
            self._held.add((row["queue_id"], row["number"]))
            due = Due(
                *(row[name] for name in ("number", "name", "attempts", "tried_since", "delay_told", "unsure", "wish"))
            )
            works[row["queue_id"], row["domain"]].append(due)
        for (queue_id, domain), dues in works.items():
            for start in range(0, len(dues), RECIPIENTS):
                self._take(Work(queue_id, domain, tuple(dues[start : start + RECIPIENTS])))
        for domain in [domain for domain, lane in self._lanes.items() if lane.forgotten]:
            del self._lanes[domain]
        if rows:
            return True
        await self._pause()
        return False

    async def _pause(self) -> None:
        """Until a lane runs short of work, or the queue is asked again."""
        self._short.clear()
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._short.wait()
        except TimeoutError:
            return

    def _take(self, work: Work) -> None:
        """A work just leased: into its lane, or to be settled without an attempt."""
        back, rest = work.split(lambda due: due.wish == "return")
        if back.due:
            self._unsent.append((back, RETURNED))
        if not rest.due:
            return
        lane = self._lanes.get(work.domain)
        if lane is None:
            lane = self._lanes[work.domain] = Lane(work.domain, self._short.set)
        if any(due.wish == "try" for due in rest.due):
            lane.open()
        if (failure := lane.closed) is not None:
            self._unsent.append((rest, failure))
            return
        lane.add(rest)
        self._staff(lane)

    def _staff(self, lane: Lane) -> None:
        """Another connection for the lane, where it is of use."""
        if not self._draining and lane.wants and (not lane.links or len(self._links) < LINKS):
            lane.links += 1
            task = asyncio.create_task(self._serve_lane(lane), name=f"lane-{lane.domain}")
            self._links.add(task)
            task.add_done_callback(self._links.discard)

    async def _heartbeat(self) -> bool:
        held = list(self._held)
        if held:
            async with connection(self._pool) as acquired:
                await acquired.execute(
                    queries.HEARTBEAT, self._name, LEASE_SECONDS, [one for one, _ in held], [two for _, two in held]
                )
        return False

    async def _give_back(self, works: Sequence[Work]) -> None:
        """What was leased and not tried is as it was before."""
        rows = [(work.queue_id, due.number) for work in works for due in work.due]
        if not rows:
            return
        self._held.difference_update(rows)
        try:
            async with connection(self._pool) as acquired:
                await acquired.execute(
                    queries.GIVE_UP_LEASE, self._name, [one for one, _ in rows], [two for _, two in rows]
                )
        except TryLater as error:
            self._log.warning("lease_runs_out", recipients=len(rows), error=error)

    # A lane's connection

    async def _serve_lane(self, lane: Lane) -> None:
        """Work off a lane over one connection at a time."""
        link: Link | None = None
        work: Work | None = None
        try:
            if lane.domain.startswith(HELD_BY):
                await self._fetch_all(lane)
            while (work := await lane.next()) is not None:
                if link is None or not link.usable or link.sent >= REUSED:
                    if link is not None:
                        await link.quit()
                        link = None
                    first = not lane.proven
                    link = await lane.connect(self._exchangers, self._open_link)
                    if first:
                        await self._bring_forward(lane.domain)
                self._staff(lane)
                try:
                    await self._send(link, work)
                    await self._ledger.written()
                except Stale:  # a new connection takes it
                    lane.works.appendleft(work)
                except TryLater as error:  # of the database: its content could not be read now
                    self._log.warning("sender_waits", task="content", error=error)
                    lane.works.appendleft(work)
                    await asyncio.sleep(RETRY_SECONDS)
        except Unreachable as error:
            # All that is in hand had its attempt.
            works = [*([work] if work else []), *lane.works]
            lane.works.clear()
            self._unsent.extend((one, error.outcome) for one in works)
        except asyncio.CancelledError:
            if link is not None:
                link.abort()
            raise
        except Exception as error:  # one lane's trouble is not another's
            self._log.error("lane_failed", domain=lane.domain, error=error)
            if work is not None:  # due again, as of unsure end, when its lease runs out
                self._held.difference_update((work.queue_id, due.number) for due in work.due)
        finally:
            lane.links -= 1
            self._staff(lane)
            if link is not None:
                await link.quit()

    async def _bring_forward(self, domain: str) -> None:
        """A domain is there again: its mail need not wait for its next time."""
        try:
            async with connection(self._pool) as acquired:
                await acquired.execute(queries.BRING_FORWARD, domain)
        except TryLater as error:  # then it comes at its time
            self._log.warning("sender_waits", task="forward", error=error)

    async def _send(self, link: Link, work: Work) -> None:
        opened = await self._open(work)
        if opened is None:
            return
        message, content, work = opened
        try:
            if self._holds.suit(message, link):
                outcomes = await self._send_pointer(link, message, content, work)
            else:
                outcomes = await link.send(transaction(message, content, work), content.pieces())
        except CryptoError as error:  # in the middle of it: the peer has taken nothing
            await self._set_aside(work, error)
            return
        self._ledger.add(Tried(work, message, due, one, link.host) for due, one in zip(work.due, outcomes, strict=True))

    async def _send_pointer(self, link: Link, message: Message, content: Content, work: Work) -> list[Outcome]:
        """The message stays here, and what leads to it goes. Raises as `Link.send` and `Holds.hold`."""
        async with self._holds.hold(message, content, work) as held:
            said = replace(transaction(message, content, work), size=len(held.data))
            outcomes = await link.send(said, _once(held.data))
            held.taken = any(one.delivered or one.unsure for one in outcomes)
        return outcomes

    async def _fetch_all(self, lane: Lane) -> None:
        """Work off what other operators hold for mailboxes here: no SMTP leads there."""
        while (work := await lane.next()) is not None:
            try:
                await self._fetch(work)
                await self._ledger.written()
            except TryLater as error:  # of the database, as for what is sent
                self._log.warning("sender_waits", task="fetch", error=error)
                lane.works.appendleft(work)
                await asyncio.sleep(RETRY_SECONDS)

    async def _fetch(self, work: Work) -> None:
        opened = await self._open(work)
        if opened is None:
            return
        message, content, work = opened
        try:
            data = b"".join([piece async for piece in content.pieces()])
        except CryptoError as error:
            await self._set_aside(work, error)
            return
        if self._fetches is None:
            outcomes = [postponed("4.3.2", "fetching is switched off: transport.pointer_bytes")] * len(work.due)
        else:
            outcomes = await self._fetches.fetch(work, message, data)
        self._ledger.add(
            Tried(work, message, due, one, work.domain) for due, one in zip(work.due, outcomes, strict=True)
        )

    async def _open(self, work: Work, *, head_only: bool = False) -> tuple[Message, Content, Work] | None:
        """The message of a work, and what of it is still to be sent; None for nothing. Raises TryLater."""
        try:
            opened = await open_message(
                self._pool, self._keys, self._edge.salts, work.queue_id, self._name, head_only=head_only
            )
        except CryptoError as error:
            await self._set_aside(work, error)
            return None
        leased = [] if opened is None else opened[2]
        mine, others = work.split(lambda due: due.number in leased)
        await self._give_back([others])  # held, cancelled, or another's since
        return (opened[0], opened[1], mine) if opened is not None and mine.due else None

    async def _set_aside(self, work: Work, error: CryptoError) -> None:
        """What does not open is held for a person to look at, and stops nothing else."""
        self._log.error("queue_message_damaged", queue=work.queue_id.hex(), error=error)
        async with connection(self._pool) as acquired:
            await acquired.execute(queries.SET_ASIDE, work.queue_id, self._name)
        self._held.difference_update((work.queue_id, due.number) for due in work.due)

    async def _open_link(self, domain: str, host: str, address: str) -> Link:
        if not self._trust.lists(domain):
            raise LinkLost("the domain is not in the trust space", "4.7.5")
        settings = self._context.settings
        return await Link.open(
            host,
            address,
            settings.sender.port,
            settings.domain,
            self._tls,
            partial(self._why_not, domain),
            settings.sender.source or None,
        )

    def _why_not(self, domain: str, path: Sequence[bytes]) -> str | None:
        peer = self._trust.peer(path)
        if not self._trust.may_speak_for(peer.subject, domain):
            return f"the certificate's subject is not listed for the domain: {peer.text}"
        objection = self._trust.met(peer, clock.now())
        return None if objection is None else objection.sentence

    # What is decided without a word to the peer

    async def _decide_unsent(self) -> bool:
        """What shares a failure to connect, or is returned: only its envelope and top header are opened."""
        while self._unsent:
            work, outcome = self._unsent[0]
            opened = await self._open(work, head_only=True)
            if self._unsent and self._unsent[0][0] is work:  # else it was given back meanwhile
                self._unsent.popleft()
                if opened is not None:
                    self._ledger.add(Tried(opened[2], opened[0], due, outcome) for due in opened[2].due)
        return False


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def serve(context: Context, sockets: Sockets) -> Running:
    """Start a worker of the role."""
    settings = context.settings
    if context.queue_secret is None or context.anchors is None:
        raise ValueError("the sender needs the queue's secret and the anchors")
    tls = operator_context(
        [settings.path(anchor) for anchor in settings.trust.anchors],
        settings.path(settings.relay.certificate),
        settings.path(settings.relay.private_key),
    )
    trust = await Follower.start(context.pool, settings.trust, context.anchors, context.log)
    sender = Sender(context, context.queue_secret, trust, tls)
    await sender.start()
    return sender
