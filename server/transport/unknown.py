"""Recipients that do not exist: how many of them one operator, and one sender, may ask for in an hour.

Past the limit every recipient gets the same answer, "later", known or not: who searches learns no more, and who has an
old list sees it. Counted in the database for all workers; the hour is the clock's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from server.base import clock, metrics
from server.base.limits import UNKNOWN_RECIPIENTS_PER_SENDER
from server.base.log import Pseudonyms
from server.identity.model import Principal
from server.transport import queries
from server.trust.members import Peer

BY_SENDER = "unknown-by-sender"
BY_OPERATOR = "unknown-by-operator"


class Counted(NamedTuple):
    """Under what kind and name somebody is counted, and up to what."""

    kind: str
    name: str
    limit: int
    owner_id: int | None = None


def hour_of(moment: datetime) -> datetime:
    """The hour in which one counts at that moment."""
    return moment.replace(minute=0, second=0, microsecond=0)


class UnknownRecipients:
    """The counts of one worker's questions."""

    def __init__(self, pool: asyncpg.Pool, pseudonyms: Pseudonyms, per_operator: int) -> None:
        self._pool = pool
        self._pseudonyms = pseudonyms
        self._per_operator = per_operator

    def counted(self, who: Principal | Peer, reverse_path: str) -> list[Counted]:
        """How `who` is counted. One sender with an old list does not use up what the others of the operator have."""
        if isinstance(who, Principal):
            name = self._pseudonyms.of(who.address)
            return [Counted(BY_SENDER, name, UNKNOWN_RECIPIENTS_PER_SENDER, who.owner_id)]
        operator = Counted(BY_OPERATOR, who.text, self._per_operator)
        if not reverse_path:
            return [operator]
        return [operator, Counted(BY_SENDER, self._pseudonyms.of(reverse_path), UNKNOWN_RECIPIENTS_PER_SENDER)]

    @staticmethod
    def left(counted: Sequence[Counted], before: Sequence[int]) -> int:
        """How many unknown ones may still be named as such."""
        return min(one.limit - times for one, times in zip(counted, before, strict=True)) if before else 0

    async def count(self, counted: Sequence[Counted], times: int) -> None:
        """So many more were asked for, now."""
        metrics.UNKNOWN_RECIPIENTS.inc(times)
        await self._pool.execute(
            queries.ADD_TALLIES,
            hour_of(clock.now()),
            [one.kind for one in counted],
            [one.name for one in counted],
            [one.owner_id for one in counted],
            [times] * len(counted),
            [],
            [],
            [],
        )
