"""Recipients that do not exist: how many of them one operator, and one sender, may ask for in an hour.

Past the limit every recipient gets the same answer, "later", known or not: who searches learns no more, and who has an
old list sees it. Counted in the database for all workers; the hour is the clock's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import asyncpg

from server.base import clock, metrics
from server.base.limits import UNKNOWN_RECIPIENTS_PER_SENDER
from server.base.log import Pseudonyms
from server.identity.model import Principal
from server.transport import queries
from server.trust.members import Peer

KIND = "unknown"


def this_hour() -> datetime:
    """The hour in which one counts now."""
    return clock.now().replace(minute=0, second=0, microsecond=0)


class UnknownRecipients:
    """The counts of one worker's questions."""

    def __init__(self, pool: asyncpg.Pool, pseudonyms: Pseudonyms, per_operator: int) -> None:
        self._pool = pool
        self._pseudonyms = pseudonyms
        self._per_operator = per_operator

    def limits(self, who: Principal | Peer, reverse_path: str) -> dict[str, int]:
        """Under which names `who` is counted, and the limit of each."""
        if isinstance(who, Principal):
            return {self._pseudonyms.of(who.address): UNKNOWN_RECIPIENTS_PER_SENDER}
        names = {who.text: self._per_operator}
        if reverse_path:
            # One sender with an old list does not use up what the others of his operator have.
            names[self._pseudonyms.of(reverse_path)] = min(UNKNOWN_RECIPIENTS_PER_SENDER, self._per_operator)
        return names

    @staticmethod
    def left(limits: Mapping[str, int], before: Mapping[str, int]) -> int:
        """How many unknown ones may still be named as such."""
        return min(limit - before.get(name, 0) for name, limit in limits.items())

    async def count(self, limits: Mapping[str, int], hour: datetime, times: int) -> None:
        """So many more were asked for."""
        metrics.UNKNOWN_RECIPIENTS.inc(times)
        names = list(limits)
        await self._pool.execute(queries.ADD_TALLIES, [KIND] * len(names), names, hour, [times] * len(names))
