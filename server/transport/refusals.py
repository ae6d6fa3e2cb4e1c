"""What was not taken, told to the trail beside the way of the message.

Invariants:
- Nobody waits for it: a worker keeps refusals in memory and writes them every second. A crash loses that second.
- Who makes us refuse without end fills no disk: past a number a second they are only counted, in the log.
"""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg
import structlog

from server.audit.trail import Audit, Event, write
from server.base.errors import Reason, TryLater
from server.base.later import Later
from server.base.limits import REFUSALS_TOLD
from server.mailbox.trouble import connection

TELL_SECONDS = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Refusal:
    """`owner_id` is the mailbox that wrote, where it is ours; `recipient` "" when the message as a whole is refused."""

    owner_id: int | None
    actor: str
    reverse_path: str
    recipient: str
    reason: Reason
    trace: str = ""
    message_id: str = ""


class Refusals:
    """Those of one worker."""

    def __init__(self, pool: asyncpg.Pool, audit: Audit) -> None:
        self._pool = pool
        self._audit = audit
        self._waiting: list[Refusal] = []
        self._left_out = 0
        self._telling = Later(self.tell, TELL_SECONDS)

    def note(self, refusal: Refusal) -> None:
        """Keep it until it is told."""
        if len(self._waiting) >= REFUSALS_TOLD:
            self._left_out += 1
            return
        self._waiting.append(refusal)
        self._telling.soon()

    async def close(self) -> None:
        """Tell what is left."""
        await self._telling.close()

    async def tell(self) -> None:
        """Write them now. When the database is away they are told with the next."""
        told, self._waiting = self._waiting, []
        left_out, self._left_out = self._left_out, 0
        if left_out:
            log.warning("refusals_left_out", count=left_out)
        if not told:
            return
        try:
            async with connection(self._pool) as acquired:
                await self._audit.ready(acquired)
                await write(acquired, [self._event(refusal) for refusal in told])
        except TryLater as error:
            log.warning("refusals_kept", error=error)
            self._waiting = (told + self._waiting)[:REFUSALS_TOLD]

    def _event(self, refusal: Refusal) -> Event:
        return self._audit.message_refused(
            refusal.owner_id,
            refusal.actor,
            refusal.reverse_path,
            refusal.recipient,
            refusal.reason,
            trace=refusal.trace,
            message_id=refusal.message_id,
        )
