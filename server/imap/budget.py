"""The memory that literals of a worker may take together: past it a message waits, nothing dies."""

from __future__ import annotations


class Budget:
    """Octets in flight. `take` grants all or nothing."""

    def __init__(self, limit: int) -> None:
        self._free = limit

    @property
    def free(self) -> int:
        return self._free

    def take(self, octets: int) -> bool:
        if octets > self._free:
            return False
        self._free -= octets
        return True

    def give(self, octets: int) -> None:
        self._free += octets
