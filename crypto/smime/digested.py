"""Signed content that has passed and is no longer there: its digests, which are all that a detached signature needs."""

from __future__ import annotations

import hashlib
from typing import Final

# Those of RFC 8551 §2.1 that a signature may have here. `micalg` may lie, so all are made: 2 ms a megabyte.
_NAMES: Final = ("sha256", "sha384", "sha512")

HEAD = 16 * 1024  # the header of what is signed seldom has one


class Digested:
    """Push: `update` with the octets in order, then ask. `head` are the first `HEAD` octets: a header stands there."""

    __slots__ = ("_hashes", "head")

    def __init__(self) -> None:
        self._hashes = {name: hashlib.new(name) for name in _NAMES}
        self.head = b""

    def update(self, octets: bytes | memoryview) -> None:
        if len(self.head) < HEAD:
            self.head += bytes(octets[: HEAD - len(self.head)])
        for one in self._hashes.values():
            one.update(octets)

    def take(self, _: int, octets: memoryview) -> bool:
        """`update` for who gives an offset too and asks whether to go on."""
        self.update(octets)
        return True

    def digest(self, name: str) -> bytes:
        """The digest by the algorithm of that name ("sha256", "sha384", "sha512")."""
        return self._hashes[name].digest()
