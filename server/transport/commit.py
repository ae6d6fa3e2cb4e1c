"""Group commit: the messages that a worker accepts at the same time share one statement and one fsync.

Invariants:
- `submit` returns only after COMMIT, with one outcome for each recipient asked; fewer is an error, never silence.
- A locked mailbox delays nobody else: the group that met the lock runs again past it, and for a while that mailbox's
  mail no longer waits for it but goes to the local queue.
- On any other error the group rolls back as a whole and each message then runs alone, so that none falls for another's
  fault.
- A statement whose COMMIT was lost with its connection is run again: its fingerprints wait for, and then find, what the
  first run did, so there is no second copy and no false answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from server.audit.trail import Audit, Event, writers
from server.base import clock, metrics
from server.base.errors import Reason, TryLater
from server.base.later import Later
from server.base.limits import GROUP_MESSAGES, LOCK_TIMEOUT_MS, MIB
from server.db.pool import AWAY, FULL
from server.mailbox.content import Prepared
from server.mailbox.trouble import CONTENDED, meaning
from server.transport import queries
from server.transport.conversation.turn import Turn
from server.transport.queued import Outbound

# One flusher makes the largest groups (measured: a sixth less CPU a message than two); the second steps in when the
# first is held up, by a locked folder or a slow disk.
FLUSHERS = 2
HELD_UP_SECONDS = 0.02
# For so long what is to be written waits for messages that other sessions are sending just then: a statement with its
# fsync costs 0.6 ms and 0.1 a message (measured, ten senders: a tenth less CPU a message). One alone never waits.
GATHER_SECONDS = 0.005
GROUP_BYTES = 8 * MIB  # a group this large takes long enough by itself
ATTEMPTS = 4  # of one message alone, whatever the trouble
RETRY_SECONDS = 0.05  # between them, times the attempt
FORGET_SECONDS = 0.05  # an idle worker tells after this that its replies arrived
LOCKED_SECONDS = 30.0  # for so long nobody waits for a folder again that was locked; it is delivered to all the same
LOST = ("missing", "closed")  # outcomes of a recipient that is no longer there; then nothing of the message is taken

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Copy:
    """One recipient's part of a message: the key sealed to it, its fingerprint, its row of the trail."""

    owner_id: int
    folder_id: int
    key: bytes = field(repr=False)
    fingerprint: bytes
    event: Event
    turn: Turn | None = None  # what it changes of a patient's right to answer


@dataclass(frozen=True, slots=True)
class Item:
    """One message: its copies for mailboxes here, of different owners each, and what leaves for other operators.

    `prepared` is None where nobody is written to here; `not_before` until when the sender wants it held; `keywords`
    what it is marked with (server.mailbox.marks); `encrypted`: it may be, so that a key that was entrusted may open it.
    """

    prepared: Prepared | None
    internaldate: datetime
    copies: tuple[Copy, ...]
    outbound: Outbound | None = None
    not_before: datetime | None = None
    keywords: tuple[str, ...] = ()
    encrypted: bool = False

    @property
    def bytes_inline(self) -> int:
        """Octets that the accept statement carries."""
        inside = 0 if self.prepared is None else len(self.prepared.body)
        return inside + (0 if self.outbound is None or self.outbound.body is None else len(self.outbound.body))


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of one copy: an outcome of `queries.ACCEPT` and the uid where there is one."""

    outcome: str
    uid: int | None


@dataclass(eq=False, slots=True)
class _Pending:
    """Items that must be committed together, and who waits for them."""

    items: Sequence[Item]
    done: asyncio.Future[list[list[Placed]]]

    @property
    def size(self) -> int:
        return sum(item.bytes_inline for item in self.items)

    @property
    def owners(self) -> set[int]:
        return {copy.owner_id for item in self.items for copy in item.copies}


class Committer:
    """The worker's way into the database for mail: a queue and two flushers, each with a connection of its own."""

    def __init__(self, pool: asyncpg.Pool, audit: Audit, flushers: int = FLUSHERS) -> None:
        self._pool = pool
        self._audit = audit
        self._flushers = flushers
        self._pending: deque[_Pending] = deque()
        self._patience: asyncio.TimerHandle | None = None  # none: the first of them has waited long enough for others
        self._underway = 0  # messages begun and not ended, those in `_pending` and those being written among them
        self._writing = 0
        self._work = asyncio.Event()
        self._begun: list[float] = []  # when each group now being written was begun
        self._tasks: list[asyncio.Task[None]] = []
        self._arrived: set[bytes] = set()
        self._locked: dict[int, float] = {}  # owner → until when (monotonic) its lock is not waited for
        self._forgetting = Later(self.forget, FORGET_SECONDS)
        self._closing = False

    def start(self) -> None:
        """Start the flushers."""
        self._tasks = [asyncio.create_task(self._flush(), name=f"flusher-{n}") for n in range(self._flushers)]

    async def close(self) -> None:
        """Commit what waits, then stop."""
        self._closing = True
        self._work.set()
        await asyncio.gather(*self._tasks)
        await self._forgetting.close()

    async def submit(self, items: Sequence[Item]) -> list[list[Placed]]:
        """Commit the items together; outcomes by item and copy.

        Raises TryLater(STORE_AWAY, STORE_FULL, BUSY, SHUTTING_DOWN) when nothing of it was taken.
        """
        if self._closing or not self._tasks:
            raise TryLater(Reason.SHUTTING_DOWN, "The server is stopping.")
        loop = asyncio.get_running_loop()
        pending = _Pending(items, loop.create_future())
        if not self._pending:
            self._patience = loop.call_later(GATHER_SECONDS, self._lose_patience)
        self._pending.append(pending)
        if not self._others_come():
            self._work.set()
        return await pending.done

    def underway(self, change: int) -> None:
        """So many messages more (or less) are being sent by clients: they are waited for a moment."""
        self._underway += change
        if self._pending and not self._others_come():
            self._work.set()

    def arrived(self, fingerprints: Sequence[bytes]) -> None:
        """The sender has its 250: the same bytes from now on are a new message. Told with the next group."""
        self._arrived.update(fingerprints)
        self._forgetting.soon()

    def is_arrived(self, fingerprints: Sequence[bytes]) -> bool:
        """Whether one of these is known to have arrived and the database does not know yet."""
        return not self._arrived.isdisjoint(fingerprints)

    async def forget(self) -> None:
        """Tell the database now what arrived. When it is away this is tried again with the next group."""
        told = list(self._arrived)
        if not told:
            return
        try:
            await self._pool.execute(queries.FORGET, told)
        except Exception as error:
            if meaning(error) is None:
                raise
            log.warning("fingerprints_kept", error=error)
            return
        self._arrived.difference_update(told)

    async def _flush(self) -> None:
        connection: asyncpg.Connection | None = None
        try:
            while True:
                while not self._closing and (not self._pending or self._in_good_hands() or self._others_come()):
                    self._work.clear()
                    await self._work.wait()
                group = self._next_group()
                if not group:
                    return
                metrics.GROUP_SIZE.observe(len(group))
                begun = clock.monotonic()
                self._begun.append(begun)
                self._writing += len(group)
                asyncio.get_running_loop().call_later(HELD_UP_SECONDS, self._work.set)
                try:
                    for part, skipping in self._parts(group):
                        connection = await self._commit(part, connection, skipping)
                finally:
                    self._begun.remove(begun)
                    self._writing -= len(group)
        finally:
            await self._release(connection)

    def _others_come(self) -> bool:
        """Whether more messages may join those that wait, and these have not waited long."""
        expected = min(self._underway - self._writing, GROUP_MESSAGES)
        return self._patience is not None and len(self._pending) < expected

    def _lose_patience(self) -> None:
        self._patience = None
        self._work.set()

    def _in_good_hands(self) -> bool:
        """Whether another flusher will take what waits in a moment."""
        return any(clock.monotonic() - begun < HELD_UP_SECONDS for begun in self._begun)

    def _next_group(self) -> list[_Pending]:
        group: list[_Pending] = []
        size = 0
        while self._pending and len(group) < GROUP_MESSAGES:
            size += self._pending[0].size
            if group and size > GROUP_BYTES:
                break
            group.append(self._pending.popleft())
        if self._patience is not None and not self._pending:
            self._patience.cancel()
            self._patience = None
        return group

    def _parts(self, group: list[_Pending]) -> list[tuple[list[_Pending], bool]]:
        """The group, and apart from it what goes to mailboxes that were locked a moment ago (True)."""
        if not self._locked:
            return [(group, False)]
        now = clock.monotonic()
        self._locked = {owner_id: until for owner_id, until in self._locked.items() if until > now}
        apart = [pending for pending in group if not pending.owners.isdisjoint(self._locked)]
        rest = [pending for pending in group if pending not in apart]
        return [(part, skipping) for part, skipping in ((rest, False), (apart, True)) if part]

    async def _commit(
        self, group: list[_Pending], connection: asyncpg.Connection | None, skipping: bool
    ) -> asyncpg.Connection | None:
        """The group as one; each alone when that fails. Returns the connection if it still serves."""
        try:
            connection = await self._healthy(connection)
            outcomes = await self._run(connection, [item for pending in group for item in pending.items], skipping)
        except asyncpg.LockNotAvailableError as error:
            if skipping:
                return await self._each(group, connection, error)
            return await self._commit(group, connection, True)
        except Exception as error:
            return await self._each(group, connection, error)
        for pending in group:
            mine, outcomes = outcomes[: len(pending.items)], outcomes[len(pending.items) :]
            _answer(pending, mine)
        return connection

    async def _each(
        self, group: list[_Pending], connection: asyncpg.Connection | None, error: Exception
    ) -> asyncpg.Connection | None:
        """Each message of a group that failed by itself."""
        if len(group) > 1:
            log.warning("group_rolled_back", messages=len(group), error=error)
        for pending in group:
            connection = await self._alone(pending, connection, error if len(group) == 1 else None)
        return connection

    async def _alone(
        self, pending: _Pending, connection: asyncpg.Connection | None, error: BaseException | None
    ) -> asyncpg.Connection | None:
        """One message by itself. `error` is how its first attempt ended, if it was alone then."""
        for attempt in range(1, ATTEMPTS + 1):
            if error is not None:
                if isinstance(error, FULL) or not isinstance(error, (*CONTENDED, *AWAY)) or attempt == ATTEMPTS:
                    break
                if not isinstance(error, asyncpg.LockNotAvailableError):
                    await asyncio.sleep(RETRY_SECONDS * attempt)
            try:
                connection = await self._healthy(connection)
                skipping = isinstance(error, asyncpg.LockNotAvailableError)
                _answer(pending, await self._run(connection, pending.items, skipping))
                return connection
            except Exception as failure:
                error = failure
        assert error is not None  # noqa: S101 -- the loop ends without an answer only by an error
        log.warning("accept_failed", error=error)
        if not pending.done.done():
            pending.done.set_exception(meaning(error) or error)
        return connection

    async def _run(
        self, connection: asyncpg.Connection, items: Sequence[Item], skipping: bool = False
    ) -> list[list[Placed]]:
        arrived = list(self._arrived)
        outcomes = await place(connection, items, arrived, skipping)
        self._arrived.difference_update(arrived)
        if skipping:
            until = clock.monotonic() + LOCKED_SECONDS
            for item, placed in zip(items, outcomes, strict=True):
                passed = zip(item.copies, placed, strict=False)  # what leaves for other operators stands behind them
                self._locked.update((copy.owner_id, until) for copy, one in passed if one.outcome == "queued")
        return outcomes

    async def _healthy(self, connection: asyncpg.Connection | None) -> asyncpg.Connection:
        if connection is not None and _is_open(connection):
            return connection
        await self._release(connection)
        fresh = cast(asyncpg.Connection, await self._pool.acquire())  # a proxy with all of its methods
        try:
            await self._audit.ready(fresh)
            await fresh.execute(queries.PREPARE_CONNECTION, f"{LOCK_TIMEOUT_MS}ms", "force_generic_plan")
        except BaseException:
            await self._release(fresh)
            raise
        return fresh

    async def _release(self, connection: asyncpg.Connection | None) -> None:
        if connection is not None:
            await self._pool.release(cast(PoolConnectionProxy, connection))


def _is_open(connection: asyncpg.Connection) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:  # the pool took it back when it was lost
        return False


def _answer(pending: _Pending, outcomes: list[list[Placed]]) -> None:
    # The session may be gone (its task cancelled): what was committed stays, and its fingerprint answers the repeat.
    if not pending.done.done():
        pending.done.set_result(outcomes)


async def place(
    connection: asyncpg.Connection, items: Sequence[Item], arrived: Sequence[bytes] = (), skipping: bool = False
) -> list[list[Placed]]:
    """Write the items in one transaction; outcomes by item and copy, in the order of `Item.copies`, and after them the
    outcome of what leaves ("queued", "repeated", "held"). `skipping`: what is locked goes to the local queue at once.
    """
    if all(item.outbound is None for item in items):
        return await _deliver(connection, items, arrived, skipping)
    async with connection.transaction():
        outcomes = await _deliver(connection, items, arrived, skipping)
        whole = [
            item.outbound
            for item, placed in zip(items, outcomes, strict=True)
            if item.outbound is not None and not any(one.outcome in LOST for one in placed)
        ]
        queued = await _enqueue(connection, whole)
    for item, placed in zip(items, outcomes, strict=True):
        if item.outbound is not None:
            placed.append(Placed(queued.get(item.outbound.queue_id, "held"), None))
    return outcomes


async def _deliver(
    connection: asyncpg.Connection, items: Sequence[Item], arrived: Sequence[bytes], skipping: bool
) -> list[list[Placed]]:
    """The statement that accepts for mailboxes here."""
    here = [(n, item, item.prepared) for n, item in enumerate(items) if item.prepared is not None]
    copies = [(n, copy) for n, item in enumerate(items) for copy in item.copies]
    keys = writers([copy.event for _, copy in copies])
    rows = await connection.fetch(
        queries.ACCEPT_SKIPPING if skipping else queries.ACCEPT_WAITING,
        [n for n, _, _ in here],
        [prepared.content_id for _, _, prepared in here],
        [prepared.size for _, _, prepared in here],
        [item.internaldate for _, item, _ in here],
        [prepared.summary for _, _, prepared in here],
        [prepared.body for _, _, prepared in here],
        [prepared.content_id if prepared.large else None for _, _, prepared in here],
        [n for n, _ in copies],
        [copy.owner_id for _, copy in copies],
        [copy.folder_id for _, copy in copies],
        [copy.key for _, copy in copies],
        [copy.fingerprint for _, copy in copies],
        [copy.event.actor for _, copy in copies],
        [copy.event.detail for _, copy in copies],
        [copy.event.writer.key_id for _, copy in copies],
        [key.key_id for key in keys],
        [key.reader_id for key in keys],
        [key.sealed for key in keys],
        list(arrived),
        [copy.turn.contact if copy.turn else None for _, copy in copies],
        [copy.turn.sender if copy.turn else None for _, copy in copies],
        [copy.turn is not None and copy.turn.muted for _, copy in copies],
        [copy.event.marks.message for _, copy in copies],
        [copy.event.marks.trace for _, copy in copies],
        [copy.event.marks.party for _, copy in copies],
        [item.not_before for _, item, _ in here],
        [" ".join(item.keywords) for _, item, _ in here],
        [item.encrypted for _, item, _ in here],
    )
    if len(rows) != len(copies):
        raise AssertionError(f"{len(copies)} copies asked, {len(rows)} answered")
    outcomes: list[list[Placed]] = [[] for _ in items]
    for (n, _), row in zip(copies, rows, strict=True):
        outcomes[n].append(Placed(row["outcome"], row["uid"]))
    return outcomes


async def _enqueue(connection: asyncpg.Connection, outbounds: Sequence[Outbound]) -> dict[bytes, str]:
    """Queue what leaves; "queued" or "repeated" by queue id."""
    keys = writers([outbound.event for outbound in outbounds])
    recipients = [(outbound, row) for outbound in outbounds for row in outbound.rows]
    rows = await connection.fetch(
        queries.ENQUEUE,
        [outbound.queue_id for outbound in outbounds],
        [outbound.key_id for outbound in outbounds],
        [outbound.key for outbound in outbounds],
        [outbound.owner_id for outbound in outbounds],
        [outbound.trace_id for outbound in outbounds],
        [outbound.sender for outbound in outbounds],
        [outbound.size for outbound in outbounds],
        [outbound.envelope for outbound in outbounds],
        [outbound.body for outbound in outbounds],
        [outbound.fingerprint for outbound in outbounds],
        [outbound.event.actor for outbound in outbounds],
        [outbound.event.detail for outbound in outbounds],
        [outbound.event.writer.key_id for outbound in outbounds],
        [key.key_id for key in keys],
        [key.reader_id for key in keys],
        [key.sealed for key in keys],
        [outbound.queue_id for outbound, _ in recipients],
        [number for _, (number, _, _) in recipients],
        [domain for _, (_, domain, _) in recipients],
        [name for _, (_, _, name) in recipients],
        [outbound.not_before for outbound, _ in recipients],
        [outbound.event.marks.message for outbound in outbounds],
        [outbound.event.marks.party for outbound in outbounds],
    )
    return {row["queue_id"]: row["outcome"] for row in rows}
