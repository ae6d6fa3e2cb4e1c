"""Volumes out of the usual: a mailbox that receives many times its usual day, a sender that writes to many strangers, a
search for addresses. National misroutings (116,466 sick notes sent to one practice) showed as nothing else.

An alarm stops no mail. It is raised once a day for each kind and name: in the log, in the metrics, in the trail of the
mailbox and by `caducee doctor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg
import structlog

from crypto.edge import EdgeKeys
from server.audit.trail import Audit
from server.base import clock, metrics
from server.base.limits import (
    ACQUAINTANCE_DAYS,
    ALARM_DAYS,
    ALARM_USUAL_DAYS,
    ALARM_WINDOW_HOURS,
    STEP_MESSAGES,
    UNKNOWN_RECIPIENTS_PER_SENDER,
)
from server.base.settings import Settings
from server.mailbox.trouble import connection
from server.transport import queries
from server.transport.unknown import BY_OPERATOR, BY_SENDER
from server.transport.volume import RECEIVED, STRANGERS

LISTED = 20  # alarms that one look at them shows

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Alarm:
    """`name` is a pseudonym or an operator's subject, `owner_id` the mailbox where it is ours; `usual` is a day's."""

    kind: str
    name: str
    owner_id: int | None
    count: int
    usual: int


class Alarms:
    """Compares the last day with the days before. For the jobs role; several workers raise each alarm once."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys, settings: Settings) -> None:
        self._pool = pool
        self._audit = Audit(edge)
        chosen = settings.alarms
        self._thresholds = {
            RECEIVED: (chosen.received_floor, chosen.received_factor),
            STRANGERS: (chosen.strangers_floor, chosen.strangers_factor),
            BY_SENDER: (UNKNOWN_RECIPIENTS_PER_SENDER, 0),
            BY_OPERATOR: (settings.relay.unknown_per_hour, 0),
        }

    async def compare(self) -> None:
        """Raise what is to be raised now."""
        now = clock.now()
        since = now - timedelta(hours=ALARM_WINDOW_HOURS)
        async with connection(self._pool) as acquired, acquired.transaction():
            rows = await acquired.fetch(
                queries.RAISE_ALARMS,
                since,
                since - timedelta(days=ALARM_USUAL_DAYS),
                list(self._thresholds),
                [floor for floor, _ in self._thresholds.values()],
                [factor for _, factor in self._thresholds.values()],
                now,
            )
            raised = [_alarm(row) for row in rows]
            for alarm in raised:
                await self._audit.alarm_raised(
                    acquired, alarm.owner_id, alarm.kind, alarm.name, alarm.count, alarm.usual
                )
        for alarm in raised:
            metrics.ALARMS.labels(alarm.kind).inc()
            log.warning("alarm", kind=alarm.kind, name=alarm.name, count=alarm.count, usual=alarm.usual)


async def since(connection: asyncpg.Connection, moment: datetime) -> list[Alarm]:
    """The newest alarms raised after a moment."""
    return [_alarm(row) for row in await connection.fetch(queries.ALARMS_SINCE, moment, LISTED)]


async def forget(pool: asyncpg.Pool) -> int:
    """Drop counts and acquaintances that are no longer compared; returns how many rows of one bounded piece."""
    now = clock.now()
    compared = now - timedelta(days=ALARM_USUAL_DAYS, hours=ALARM_WINDOW_HOURS)
    known = (now - timedelta(days=ACQUAINTANCE_DAYS)).date()
    async with connection(pool) as acquired:
        told = [
            await acquired.execute(queries.FORGET_TALLIES, compared, STEP_MESSAGES),
            await acquired.execute(queries.FORGET_ACQUAINTANCES, known, STEP_MESSAGES),
            await acquired.execute(queries.FORGET_ALARMS, (now - timedelta(days=ALARM_DAYS)).date()),
        ]
    return sum(int(tag.rpartition(" ")[2]) for tag in told)


def _alarm(row: asyncpg.Record) -> Alarm:
    return Alarm(row["kind"], row["name"], row["owner_id"], row["count"], row["usual"])
