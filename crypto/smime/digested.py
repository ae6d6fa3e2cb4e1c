"""Signed content that has passed and is no longer there: its digests, which are all that a detached signature needs."""

from __future__ import annotations

import hashlib
from typing import Final

# Those of RFC 8551 §2.1 that a signature may have here. `micalg` may lie, so all are made: 2 ms a megabyte.
_NAMES: Final = ("sha256", "sha384", "sha512")


class Digested:
    """Push: `update` with the octets in order, then ask. `first` is the first octet, -1 when there was none."""

    __slots__ = ("_hashes", "first")

    def __init__(self) -> None:
        self._hashes = {name: hashlib.new(name) for name in _NAMES}
        self.first = -1

    def update(self, octets: bytes | memoryview) -> None:
        if self.first < 0 and len(octets):
            self.first = octets[0]
        for one in self._hashes.values():
            one.update(octets)

    def take(self, _: int, octets: memoryview) -> bool:
        """`update` for who gives an offset too and asks whether to go on."""
        self.update(octets)
        return True

    def digest(self, name: str) -> bytes:
        """The digest by the algorithm of that name ("sha256", "sha384", "sha512")."""
        return self._hashes[name].digest()
