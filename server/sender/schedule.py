"""When an attempt is followed by the next, when the sender is told of delay, and when it is given up. No clock inside.

Health mail is worth trying for long and telling of early: a doctor who hears after four hours can telephone.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

# Minutes after each attempt; the last one goes on. RFC 5321 §4.5.4.1 asks for at least 30 minutes on average.
STEPS = (1, 2, 5, 10, 15, 30, 30, 60)
JITTER = 0.2  # of the step, either way: what failed together does not come back together
DELAY_TOLD = timedelta(hours=4)  # RFC 3461 §4.1 leaves the time to us
FIRST_BACK_OFF = timedelta(seconds=30)
LONGEST_BACK_OFF = timedelta(minutes=15)


class Fate(StrEnum):
    """What becomes of a recipient that could not be served now."""

    WAITS = "waits"
    DELAYED = "delayed"  # it waits, and the sender is told
    EXPIRED = "expired"


def next_attempt(attempts: int, now: datetime, chance: float) -> datetime:
    """When to try again after that many attempts (at least 1); `chance` in [0, 1) spreads it."""
    step = STEPS[min(max(attempts, 1), len(STEPS)) - 1]
    return now + timedelta(minutes=step * (1 - JITTER + 2 * JITTER * chance))


def fate(since: datetime, now: datetime, delay_told: bool, patience: timedelta) -> Fate:
    """`since`: the first attempt; `patience`: how long after it the message may wait at all."""
    if now - since >= patience:
        return Fate.EXPIRED
    return Fate.DELAYED if now - since >= DELAY_TOLD and not delay_told else Fate.WAITS


def back_off(failures: int) -> timedelta:
    """How long a domain is left alone after so many connections in a row that failed (at least 1)."""
    doubled: int = 2 ** min(failures - 1, 10)
    return min(FIRST_BACK_OFF * doubled, LONGEST_BACK_OFF)
