"""How much one mailbox sends an hour, and when that is too much: a stolen password, or a program that runs wild.

Invariants:
- No message waits for a count. A worker knows what it let through and tells the database every few seconds, which
  answers with what all workers let through: past a limit a mailbox gets some seconds' worth more, at most.
- What is counted is what policy allowed, whether or not it was then taken: a retry costs as much as a message.
- The hour is the clock's, so that the reply can say when to come back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import asyncpg
import structlog

from server.base import clock
from server.base.errors import Reason, TryLater
from server.base.later import Later
from server.base.limits import SENDING_NAMES, SOFTWARE_RATE
from server.base.log import Pseudonyms
from server.base.sections import Submission
from server.identity.model import Principal
from server.mailbox.model import OwnerKind
from server.mailbox.trouble import meaning
from server.transport import queries
from server.transport.unknown import hour_of

MESSAGES = "sent"
RECIPIENTS = "sent-to"
TELL_SECONDS = 5.0

log = structlog.get_logger()


@dataclass(slots=True)
class _Sent:
    """One mailbox in one hour: what all workers are known to have let through, and what of it is not yet told."""

    messages: int = 0
    recipients: int = 0
    new_messages: int = 0
    new_recipients: int = 0


class Sending:
    """The counts of one worker."""

    def __init__(self, pool: asyncpg.Pool, pseudonyms: Pseudonyms, settings: Submission) -> None:
        self._pool = pool
        self._pseudonyms = pseudonyms
        self._messages = settings.messages_per_hour
        self._recipients = settings.recipients_per_hour
        self._hour = self._next = datetime.min.replace(tzinfo=UTC)
        self._sent: dict[int, _Sent] = {}  # by number of the mailbox
        self._telling = Later(self.tell, TELL_SECONDS)

    def check(self, who: Principal) -> None:
        """May this mailbox send one more message now? Raises TryLater(SENT_TOO_MUCH)."""
        self._turn()
        sent = self._sent.get(who.owner_id)
        if sent is None:
            return
        rate = SOFTWARE_RATE if who.kind == OwnerKind.APP else 1
        too_many = self._messages and sent.messages >= self._messages * rate
        if too_many or (self._recipients and sent.recipients >= self._recipients * rate):
            log.warning("sent_too_much", mailbox=self._pseudonyms.of(who.address))
            raise TryLater(Reason.SENT_TOO_MUCH, "This mailbox has sent as much as it may in an hour.")

    def count(self, who: Principal, recipients: int) -> None:
        """One message was let through to so many recipients."""
        self._turn()
        sent = self._sent.get(who.owner_id)
        if sent is None:
            if len(self._sent) >= SENDING_NAMES:
                log.warning("sending_not_counted")
                return
            sent = self._sent[who.owner_id] = _Sent()
        sent.messages += 1
        sent.new_messages += 1
        sent.recipients += recipients
        sent.new_recipients += recipients
        self._telling.soon()

    async def close(self) -> None:
        """Tell what is left."""
        await self._telling.close()

    async def tell(self) -> None:
        """Tell the database now and learn what the others told. When it is away this is tried with the next message."""
        hour = self._hour
        told = {owner_id: replace(sent) for owner_id, sent in self._sent.items() if sent.new_messages}
        if not told:
            return
        owners = list(told)
        new = [sent.new_messages for sent in told.values()] + [sent.new_recipients for sent in told.values()]
        kinds = [MESSAGES] * len(owners) + [RECIPIENTS] * len(owners)
        try:
            rows = await self._pool.fetch(queries.ADD_SENT, hour, kinds, owners * 2, new)
        except Exception as error:
            if meaning(error) is None:
                raise
            log.warning("sending_kept", error=error)
            return
        if hour != self._hour:
            return  # a new hour began meanwhile, at nothing
        for owner_id, before in told.items():
            self._sent[owner_id].new_messages -= before.new_messages
            self._sent[owner_id].new_recipients -= before.new_recipients
        for row in rows:
            sent = self._sent[row["owner_id"]]
            if row["kind"] == MESSAGES:
                sent.messages = row["count"] + sent.new_messages
            else:
                sent.recipients = row["count"] + sent.new_recipients

    def _turn(self) -> None:
        """A new hour begins at nothing; what was not told of the old one no longer matters."""
        now = clock.now()
        if not self._hour <= now < self._next:
            self._hour = hour_of(now)
            self._next = self._hour + timedelta(hours=1)
            self._sent = {}
