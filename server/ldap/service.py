"""What the connections of one worker share: who may sign in, the directory, how much each client was given."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import asyncpg

from directory.ldap.entries import Entry, Key
from directory.ldap.filters import Filter
from directory.ldap.search import Found, Scope, Search
from server.base import clock
from server.base.errors import Reason, TryLater
from server.base.harvest import Harvest
from server.db.pool import AWAY, FULL, trouble
from server.identity.accounts import Accounts

Given = TypeVar("Given")


@dataclass(slots=True)
class Service:
    """`anonymous`: the directory is read without signing in."""

    pool: asyncpg.Pool
    accounts: Accounts
    search: Search
    anonymous: bool
    harvest: Harvest = field(default_factory=Harvest)

    def reader(self, kinds: Container[str]) -> Reading:
        """The directory for one search; its entries hold these kinds of attributes."""
        return Reading(self.pool, self.search, kinds)


@dataclass(frozen=True, slots=True)
class Reading:
    """A `cursor.Reader` on the database. Each raises TryLater: BUSY after so many seconds, STORE_AWAY, STORE_FULL."""

    pool: asyncpg.Pool
    search: Search
    kinds: Container[str]

    async def find(self, base: str, scope: Scope, asked: Filter, seconds: float) -> Found:
        """As Search.find, whose errors it raises too."""
        return await _within(seconds, self.search.find(self.pool, base, scope, asked))

    async def entries(self, keys: Sequence[Key], seconds: float) -> list[Entry]:
        """As Search.entries."""
        return await _within(seconds, self.search.entries(self.pool, keys, clock.now(), self.kinds))

    async def read(self, name: str, seconds: float) -> Entry:
        """As Search.read, whose errors it raises too."""
        return await _within(seconds, self.search.read(self.pool, name, clock.now()))


async def _within(seconds: float, reading: Coroutine[Any, Any, Given]) -> Given:
    try:
        async with asyncio.timeout(seconds):
            return await reading
    except (TimeoutError, asyncpg.QueryCanceledError):
        raise TryLater(Reason.BUSY, "the search took too long") from None
    except (*AWAY, *FULL) as error:
        raise (trouble(error) or TryLater(Reason.STORE_AWAY, "the directory does not answer")) from error
