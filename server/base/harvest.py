"""Who reads the whole directory an entry at a time is slowed down: a token bucket a client, sans-IO.

A person who looks for colleagues never comes near the bottom; a program that copies the directory does, and is told how
long to wait. What is counted is what was given out, so a broad question costs as much as the many narrow ones.

Invariants:
- Memory is bounded: of more clients than HARVEST_CLIENTS, who asked longest ago is forgotten and so forgiven.
- The answer to a question that was begun is never cut: it may take a bucket below zero, and the next one waits.
"""

from __future__ import annotations

from collections import OrderedDict

from server.base.limits import HARVEST_CLIENTS, HARVEST_ENTRIES, HARVEST_PER_SECOND


class Harvest:
    """The buckets of one process. A client is any name that is stable: an account, else a network."""

    def __init__(self, entries: int = HARVEST_ENTRIES, per_second: float = HARVEST_PER_SECOND) -> None:
        """A full bucket holds `entries` and is filled by `per_second`."""
        self._full = float(entries)
        self._rate = per_second
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and at which moment

    def wait(self, client: str, now: float) -> float:
        """Seconds until this client may ask again at the monotonic moment `now`; 0.0: it may now."""
        return max(0.0, (1.0 - self._level(client, now)) / self._rate)

    def took(self, client: str, entries: int, now: float) -> None:
        """This client was given so many entries."""
        self._left[client] = self._level(client, now) - entries, now
        self._left.move_to_end(client)
        if len(self._left) > HARVEST_CLIENTS:
            self._left.popitem(last=False)

    def _level(self, client: str, now: float) -> float:
        left, then = self._left.get(client, (self._full, now))
        return min(self._full, left + (now - then) * self._rate)
