"""What is written after an attempt: rows go or wait, the trail tells, the sender of the message is told.

Invariants:
- A recipient leaves the queue in the transaction that writes its fate to the trail and, where one is owed, the
  notification: all of it is there or none.
- Only rows still leased by this worker are settled: what another took over after a lease ran out is its to tell.
- No notification of a notification (RFC 5321 §4.5.5): the null reverse-path is told nothing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from crypto.edge import EdgeKeys
from server.audit.trail import Audit, Event, write
from server.base.settings import Settings
from server.mail.dsn import Action, RecipientStatus
from server.mailbox.model import Route
from server.sender import queries
from server.sender.dialogue import Outcome
from server.sender.reasons import reason
from server.sender.schedule import Fate, fate, next_attempt
from server.sender.work import Due, Message, Work
from server.transport.commit import place
from server.transport.envelope import Notify
from server.transport.pointer import HELD_BY
from server.transport.sealer import Sealer, way_back

# RFC 3463 §3.5: delivery time expired.
EXPIRED = "5.4.7"


@dataclass(frozen=True, slots=True)
class Tried:
    """One recipient after an attempt. `host` is the peer's name, "" when none was reached."""

    work: Work
    message: Message
    due: Due
    outcome: Outcome
    host: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of it, for the log: the fate's name, and the local folders that got a notification."""

    fates: list[tuple[Tried, str]]
    told: list[tuple[int, int]]


class Settler:
    """Writes what became of attempts."""

    def __init__(self, edge: EdgeKeys, settings: Settings, worker: str) -> None:
        self._edge = edge
        self._audit = Audit(edge)
        self._sealer = Sealer(edge, self._audit, None, settings)
        self._local_domains = settings.local_domains
        self._patience = timedelta(hours=settings.sender.patience_hours)
        self._worker = worker

    async def settle(
        self, connection: asyncpg.Connection, tried: Sequence[Tried], now: datetime, *, silent: bool = False
    ) -> Settled:
        """One transaction for all of them; `silent`: nobody is notified.

        Raises what the database raises, and Refused or ProtocolViolation of what cannot be told; then nothing was
        written.
        """
        await self._audit.ready(connection)
        judged = [(one, self._judge(one, now)) for one in tried]
        queue_ids = sorted({one.work.queue_id for one in tried})
        async with connection.transaction():
            await connection.execute(queries.LOCK_MESSAGES, queue_ids)
            mine = await self._leave(connection, [one for one, end in judged if end not in _STAYS])
            mine |= await self._defer(connection, [(one, end) for one, end in judged if end in _STAYS], now)
            ours = [(one, end) for one, end in judged if (one.work.queue_id, one.due.number) in mine]
            if ours:
                await write(connection, [self._event(one, end) for one, end in ours])
            told = [] if silent else await self._notify(connection, ours, now)
            await connection.execute(queries.DROP_EMPTY, queue_ids)
        return Settled(ours, told)

    def _judge(self, one: Tried, now: datetime) -> str:
        if one.outcome.delivered:
            return "delivered"
        if one.outcome.permanent:
            return "failed"
        return fate(one.due.since, now, one.due.delay_told, self._patience)

    async def _leave(self, connection: asyncpg.Connection, tried: Sequence[Tried]) -> set[tuple[bytes, int]]:
        if not tried:
            return set()
        rows = await connection.fetch(
            queries.DONE, self._worker, [one.work.queue_id for one in tried], [one.due.number for one in tried]
        )
        return {(row["queue_id"], row["number"]) for row in rows}

    async def _defer(
        self, connection: asyncpg.Connection, tried: Sequence[tuple[Tried, str]], now: datetime
    ) -> set[tuple[bytes, int]]:
        if not tried:
            return set()
        rows = await connection.fetch(
            queries.DEFER,
            self._worker,
            [one.work.queue_id for one, _ in tried],
            [one.due.number for one, _ in tried],
            [next_attempt(one.due.attempts, now, random.random()) for one, _ in tried],  # noqa: S311 -- to spread load
            [one.outcome.status for one, _ in tried],
            [one.outcome.text for one, _ in tried],
            [end == Fate.DELAYED for _, end in tried],
            [one.outcome.unsure for one, _ in tried],
        )
        return {(row["queue_id"], row["number"]) for row in rows}

    def _event(self, one: Tried, end: str) -> Event:
        """Its row in the trail."""
        envelope = one.message.envelope
        outcome = end if end not in _STAYS else "unsure" if one.outcome.unsure else "deferred"
        if end == "delivered" and one.work.domain.startswith(HELD_BY):
            outcome = "fetched"
        return self._audit.message_tried(
            one.message.owner_id,
            envelope.reverse_path,
            envelope.recipients[one.due.number].address,
            outcome,
            trace=one.message.trace_id,
            host=one.host,
            status=one.outcome.status,
            reply=one.outcome.text,
            attempt=one.due.attempts,
            repeated=one.due.unsure,
        )

    async def _notify(
        self, connection: asyncpg.Connection, judged: Sequence[tuple[Tried, str]], now: datetime
    ) -> list[tuple[int, int]]:
        """One notification a message for all that is owed to its sender now; the folders that got one."""
        owed: dict[bytes, list[tuple[Tried, RecipientStatus]]] = {}
        for one, end in judged:
            status = self._status(one, end)
            if status is not None and one.message.envelope.reverse_path:
                owed.setdefault(one.work.queue_id, []).append((one, status))
        notices, told = [], []
        for statuses in owed.values():
            message = statuses[0][0].message
            envelope = message.envelope
            sender = await way_back(connection, self._edge, self._local_domains, envelope.reverse_path)
            if sender is None:
                continue
            await self._sealer.ready(connection, [sender])
            notices.append(
                self._sealer.notice(
                    sender,
                    [status for _, status in statuses],
                    message.header,
                    envelope.received_at,
                    now,
                    envelope_id=envelope.envelope_id,
                )
            )
            if isinstance(sender.route, Route):
                told.append((sender.route.owner_id, sender.folder_id))
        if notices:
            # Past a mailbox that is locked: its notification waits in the local queue, and nobody waits with it.
            await place(connection, notices, skipping=True)
        return told

    def _status(self, one: Tried, end: str) -> RecipientStatus | None:
        """What the sender is told of this recipient, None for nothing (RFC 3461 §5.2)."""
        addressee = one.message.envelope.recipients[one.due.number]
        asked = addressee.notify or frozenset({Notify.FAILURE, Notify.DELAY})
        wanted = {
            "delivered": (Notify.SUCCESS, Action.RELAYED) if one.outcome.relayed else None,
            "failed": (Notify.FAILURE, Action.FAILED),
            Fate.EXPIRED: (Notify.FAILURE, Action.FAILED),
            Fate.DELAYED: (Notify.DELAY, Action.DELAYED),
        }.get(end)
        if wanted is None or wanted[0] not in asked:
            return None
        expired = end == Fate.EXPIRED
        status = EXPIRED if expired else one.outcome.status
        french, english = reason(wanted[1], status)
        return RecipientStatus(
            addressee.address,
            wanted[1],
            status,
            french,
            english,
            original=addressee.original,
            remote=one.host,
            diagnostic=one.outcome.text if one.outcome.theirs and wanted[1] is not Action.RELAYED else "",
            retry_until=one.due.since + self._patience if end == Fate.DELAYED else None,
        )


_STAYS = (Fate.WAITS, Fate.DELAYED)
