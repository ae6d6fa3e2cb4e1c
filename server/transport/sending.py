"""How much one mailbox sends an hour, and when that is too much: a stolen password, or a program that runs wild.

Invariants:
- No message waits for a count. A worker knows what it let through and tells the database every few seconds, which
  answers with what all workers let through: past a limit a mailbox gets some seconds' worth more, at most.
- What is counted is what policy allowed, whether or not it was then taken: a retry costs as much as a message.
- The hour is the clock's, so that the reply can say when to come back.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime

import asyncpg
import structlog

from server.base import clock
from server.base.errors import Reason, TryLater
from server.base.limits import SENDING_NAMES, SOFTWARE_RATE
from server.base.log import Pseudonyms
from server.base.settings import Submission
from server.identity.model import Principal
from server.mailbox.model import OwnerKind
from server.mailbox.trouble import meaning
from server.transport import queries
from server.transport.unknown import hour_of

MESSAGES = "sent"
RECIPIENTS = "sent-to"
TELL_SECONDS = 5.0

log = structlog.get_logger()

_Key = tuple[str, int]  # kind, number of the mailbox


class Sending:
    """The counts of one worker."""

    def __init__(self, pool: asyncpg.Pool, pseudonyms: Pseudonyms, settings: Submission) -> None:
        self._pool = pool
        self._pseudonyms = pseudonyms
        self._limits = {MESSAGES: settings.messages_per_hour, RECIPIENTS: settings.recipients_per_hour}
        self._hour: datetime | None = None
        self._told: dict[_Key, int] = {}  # what all workers had told when this one told last
        self._untold: Counter[_Key] = Counter()
        self._telling: asyncio.Task[None] | None = None

    def check(self, who: Principal) -> None:
        """May this mailbox send one more message now? Raises TryLater(SENT_TOO_MUCH)."""
        self._turn()
        rate = SOFTWARE_RATE if who.kind == OwnerKind.APP else 1
        for kind, limit in self._limits.items():
            key = kind, who.owner_id
            if limit and self._told.get(key, 0) + self._untold.get(key, 0) >= limit * rate:
                log.warning("sent_too_much", mailbox=self._pseudonyms.of(who.address), kind=kind)
                raise TryLater(Reason.SENT_TOO_MUCH, "This mailbox has sent as much as it may in an hour.")

    def count(self, who: Principal, recipients: int) -> None:
        """One message was let through to so many recipients."""
        self._turn()
        if len(self._untold) >= SENDING_NAMES:
            log.warning("sending_not_counted")
            return
        self._untold[MESSAGES, who.owner_id] += 1
        self._untold[RECIPIENTS, who.owner_id] += recipients
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell_soon())

    async def close(self) -> None:
        """Tell what is left."""
        if self._telling is not None:
            self._telling.cancel()
        await self.tell()

    async def tell(self) -> None:
        """Tell the database now and learn what the others told. When it is away this is tried with the next message."""
        if self._hour is None or not self._untold:
            return
        hour, told = self._hour, self._untold
        self._untold = Counter()
        try:
            rows = await self._pool.fetch(
                queries.ADD_SENT,
                hour,
                [kind for kind, _ in told],
                [owner_id for _, owner_id in told],
                list(told.values()),
            )
        except Exception as error:
            if meaning(error) is None:
                raise
            log.warning("sending_kept", error=error)
            self._untold.update(told)
            return
        if hour == self._hour:
            self._told |= {(row["kind"], row["owner_id"]): row["count"] for row in rows}

    async def _tell_soon(self) -> None:
        await asyncio.sleep(TELL_SECONDS)
        await self.tell()

    def _turn(self) -> None:
        """A new hour begins at nothing; what was not told of the old one no longer matters."""
        hour = hour_of(clock.now())
        if hour != self._hour:
            self._hour, self._told, self._untold = hour, {}, Counter()
