"""What a search found, read a step at a time while it is sent: no answer is held whole, and while a client takes its
time no connection of the database is held either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from directory.ldap.entries import Entry, Key
from directory.ldap.filters import Filter, fitting
from directory.ldap.search import CANDIDATES, Found, Scope
from server.base import clock
from server.base.limits import LDAP_SEARCH_SECONDS, LDAP_STEP
from server.ldap.answers import SUCCESS, Code, Result

_NOT_ALL = Result(Code.ADMIN_LIMIT_EXCEEDED, f"more may fit than the {CANDIDATES} looked at; ask more narrowly")


class Reader(Protocol):
    """The directory, as one search asks it. Raises TryLater: BUSY after so many seconds, STORE_AWAY."""

    async def find(self, base: str, scope: Scope, asked: Filter, seconds: float) -> Found: ...

    async def entries(self, keys: Sequence[Key], seconds: float) -> list[Entry]: ...


class Cursor:
    """The entries that fit, each once."""

    def __init__(self, reader: Reader | None, asked: Filter | None, found: Found) -> None:
        self._reader = reader
        self._fits = fitting(asked) if asked is not None else None
        self._ready = list(found.entries)
        self._keys = list(found.keys)
        self._left = float(LDAP_SEARCH_SECONDS)
        # How the answer ends once all is given.
        self.ended = SUCCESS if found.complete else _NOT_ALL

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Cursor:
        """Of entries that are there."""
        return cls(None, None, Found(tuple(entries)))

    @classmethod
    async def found(cls, reader: Reader, base: str, scope: Scope, asked: Filter, seconds: int) -> Cursor:
        """Of a search; `seconds` is the client's limit, 0 for none."""
        begun = clock.monotonic()
        cursor = cls(reader, asked, await reader.find(base, scope, asked, _limit(seconds)))
        cursor.limit(seconds)
        cursor._left -= clock.monotonic() - begun
        return cursor

    def limit(self, seconds: int) -> None:
        """The client's limit of time for what is read from here on, 0 for none. Sending takes none of it."""
        self._left = _limit(seconds)

    async def take(self, count: int) -> list[Entry]:
        """The next entries, `count` at most; none: that was all."""
        await self._fill()
        taken, self._ready = self._ready[:count], self._ready[count:]
        return taken

    async def peek(self) -> Entry | None:
        """The next entry, which stays the next; None: that was all."""
        await self._fill()
        return self._ready[0] if self._ready else None

    async def _fill(self) -> None:
        while not self._ready and self._keys and self._reader is not None and self._fits is not None:
            step, self._keys = self._keys[:LDAP_STEP], self._keys[LDAP_STEP:]
            begun = clock.monotonic()
            entries = await self._reader.entries(step, self._left)
            self._left -= clock.monotonic() - begun
            self._ready = [entry for entry in entries if self._fits(entry)]


def _limit(seconds: int) -> float:
    return float(min(seconds or LDAP_SEARCH_SECONDS, LDAP_SEARCH_SECONDS))
