"""Passwords that people choose: which are taken, and how they are kept and compared.

A password is keyed with an edge secret before it is hashed with argon2id (RFC 9106 §4, second recommended option), so
that a copy of the database alone gives nothing to guess at. Each computation takes 64 MiB and tens of milliseconds: it
runs in a thread, a few at a time, a bounded number waits. For who does not exist the same is computed, of nobody.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import secrets
import unicodedata
from collections.abc import Callable
from enum import StrEnum
from importlib import resources
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from crypto.edge import EdgeKeys
from server.base.errors import Reason, TryLater
from server.base.limits import PASSWORD_CHARACTERS, PASSWORDS_AT_ONCE, PASSWORDS_WAITING

# NIST SP 800-63B §3.1.1.2 asks for 15 alone and 8 beside another factor, and for no rule of composition; the CNIL
# (2022-100) for 12 without one.
SHORTEST: Final = 12
_DIFFERENT = 5  # letters; fewer are a pattern, however long
_LABEL = b"chosen password 1\0"
# RFC 9106 §4: t=3, m=64 MiB, p=4.
_HASHER = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4)

T = TypeVar("T")


class Weakness(StrEnum):
    """Why a password is not taken."""

    SHORT = "short"
    LONG = "long"
    COMMON = "common"
    OWN = "own"


def weakness(password: str, own: tuple[str, ...]) -> Weakness | None:
    """Why this password is not taken, None when it is. `own` are words that others know of its holder."""
    text = _normal(password)
    if len(text) < SHORTEST:
        return Weakness.SHORT
    if len(text) > PASSWORD_CHARACTERS:
        return Weakness.LONG
    bare = "".join(text.lower().split())
    if any(word.lower() in bare for word in own if len(word) > 3):
        return Weakness.OWN
    stem = bare.rstrip("0123456789!?.*+-_@#$€&")
    steps = {ord(after) - ord(before) for before, after in itertools.pairwise(bare)}
    if len(set(bare)) < _DIFFERENT or len(steps) == 1 or {bare, stem} & _COMMON:
        return Weakness.COMMON
    return None


class ChosenPasswords:
    """Hashes and compares passwords for one process."""

    def __init__(self, edge: EdgeKeys) -> None:
        self._key = edge.credential
        self._free = asyncio.Semaphore(PASSWORDS_AT_ONCE)
        self._waiting = 0
        self._nobody = _nobody()

    async def hash(self, password: str) -> str:
        """The argon2id hash, in the PHC string form. Raises TryLater(BUSY)."""
        return await self._in_turn(lambda: _HASHER.hash(self._keyed(password)))

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one that was hashed; `stored` None (there is nobody) costs the same, and is not.

        Raises TryLater(BUSY).
        """
        right = await self._in_turn(lambda: _verified(stored or self._nobody, self._keyed(password)))
        return right and stored is not None

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= PASSWORDS_WAITING:
            raise TryLater(Reason.BUSY, "Too many people sign in at the same time.")
        self._waiting += 1
        try:
            async with self._free:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1

    def _keyed(self, password: str) -> bytes:
        # A password past the limit is another one than any that was taken; its length costs no more.
        text = _normal(password)[: PASSWORD_CHARACTERS + 1]
        return hmac.digest(self._key, _LABEL + text.encode("utf-8", "surrogatepass"), hashlib.sha256)


def _verified(stored: str, keyed: bytes) -> bool:
    try:
        return _HASHER.verify(stored, keyed)
    except (VerifyMismatchError, InvalidHashError):
        return False


def _normal(password: str) -> str:
    """RFC 8265 §4.2.2, OpaqueString: other spaces become the plain one, then normal form C; case stays."""
    return unicodedata.normalize("NFC", "".join(" " if unicodedata.category(c) == "Zs" else c for c in password))


def _nobody() -> str:
    """A hash of no password, with the parameters of the others."""
    salt, tag = (base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    given = f"m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}"
    return f"$argon2id$v=19${given}${salt}${tag}"


def _common() -> frozenset[str]:
    text = resources.files(__package__).joinpath("common_passwords.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


_COMMON = _common()
