"""Searches of the tree: which entries there are below a name that fit a filter, found by index and then looked at.

Invariants:
- Nothing is ever scanned: a filter that no index narrows is refused (`TooBroad`), with what would make it narrow.
- An answer is whole or says that it is not (`Found.complete`).
- A mailbox that is unlisted is in no entry and can be found by nobody.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, TypeAlias

import asyncpg

from directory.folding import distance, mistakes, near
from directory.index import queries as index_queries
from directory.ldap import names, plan, queries
from directory.ldap.entries import EVERY_KIND, SUBSCHEMA, Entry, Key, Tree, keys_of
from directory.ldap.filters import Filter, fits
from directory.ldap.plan import Address, Both, Condition, Either, Mailbox, Numbers, Word
from directory.queries import Connection

# Statements stand by themselves: each may go over another connection of a pool.
Asked: TypeAlias = "Connection | asyncpg.Pool[Any]"

CANDIDATES = 2_000  # rows that are looked at for one question; who needs more asks too broadly
TERMS = 50  # words and addresses in one filter: each is looked up
WORDS_EACH = 300  # words of the index that one begun word stands for
ADDRESSES_EACH = 500  # mailboxes that one piece of an address stands for
NEAR_WORDS = 50


class Scope(IntEnum):
    """RFC 4511 §4.5.1.2."""

    BASE = 0
    ONE = 1
    SUB = 2


class TooBroad(Exception):
    """No index narrows the filter; the text says what would."""


class NoSuchEntry(Exception):
    """There is nothing of this name; `nearest` is what there is above it."""

    def __init__(self, nearest: str) -> None:
        super().__init__()
        self.nearest = nearest


@dataclass(frozen=True, slots=True)
class Found:
    """Entries that fit, and keys of rows that may; `complete` False: there are more than were looked for."""

    entries: tuple[Entry, ...] = ()
    keys: tuple[Key, ...] = ()
    complete: bool = True


class Search:
    """Questions to one domain's tree."""

    def __init__(self, domain: str) -> None:
        self.tree = Tree(domain)
        self._suffix = names.parse(self.tree.suffix)
        self._fixed = {names.parse(entry.name): entry for entry in (*self.tree.fixed, self.tree.subschema)}
        self._people, self._structures = names.parse(self.tree.people), names.parse(self.tree.structures)

    async def find(self, connection: Asked, base: str, scope: Scope, asked: Filter) -> Found:
        """What may fit. An empty base with a scope that goes below it means the whole tree.

        Raises names.InvalidName, NoSuchEntry, TooBroad.
        """
        name = names.parse(base) or self._suffix
        if name not in self._fixed:
            key = await self._key(connection, base)
            return Found(keys=() if scope == Scope.ONE else (key,))
        fixed, people, structures = self._below(name, scope)
        entries = tuple(entry for entry in fixed if fits(entry, asked))
        kinds = [person for person, there in ((True, people), (False, structures)) if there]
        keys, complete = await self._keys(connection, asked, kinds)
        return Found(entries, tuple(keys), complete)

    async def entries(
        self, connection: Asked, keys: Sequence[Key], now: datetime, kinds: Container[str] = EVERY_KIND
    ) -> list[Entry]:
        """The entries of these keys, without those that are gone, with these kinds of attributes."""
        rows = await connection.fetch(queries.ENTRIES, *(list(column) for column in zip(*keys, strict=True)))
        of_address: dict[str, list[bytes]] = {}
        if "userCertificate" in kinds:
            addresses = [address for row in rows for address in row["mailboxes"] or ()]
            for one in await connection.fetch(queries.CERTIFICATES, addresses, now):
                of_address.setdefault(one["address"], []).append(one["certificate"])
        return [
            self.tree.of(row, [one for address in row["mailboxes"] or () for one in of_address.get(address, ())], kinds)
            for row in rows
        ]

    async def read(self, connection: Asked, name: str, now: datetime) -> Entry:
        """The entry of this name. Raises names.InvalidName, NoSuchEntry."""
        if fixed := self._fixed.get(names.parse(name)):
            return fixed
        return (await self.entries(connection, [await self._key(connection, name)], now))[0]

    def _below(self, name: names.Name, scope: Scope) -> tuple[list[Entry], bool, bool]:
        """The fixed entries in the scope, and whether people and structures are."""
        if scope == Scope.BASE or name == names.parse(SUBSCHEMA):
            return ([] if scope == Scope.ONE else [self._fixed[name]]), False, False
        units = [self._fixed[self._people], self._fixed[self._structures]]
        if name == self._suffix:
            return (units, False, False) if scope == Scope.ONE else ([self._fixed[name], *units], True, True)
        own = [] if scope == Scope.ONE else [self._fixed[name]]
        return own, name == self._people, name == self._structures

    async def _key(self, connection: Asked, base: str) -> Key:
        """The key of a name that is not fixed. Raises NoSuchEntry."""
        parts, name = names.read(base), names.parse(base)
        above = [entry.name for known, entry in self._fixed.items() if known and name[-len(known) :] == known]
        nearest = max(above, key=len, default="")
        if name[1:] in (self._people, self._structures) and len(parts[0]) == 1 and parts[0][0][0] == "uid":
            keys = keys_of(parts[0][0][1], person=name[1:] == self._people)
            if keys and (rows := await connection.fetch(queries.ENTRIES, *map(list, zip(*keys, strict=True)))):
                return rows[0]["national_id"], rows[0]["profession_code"], rows[0]["organisation_id"]
        raise NoSuchEntry(nearest)

    async def _keys(self, connection: Asked, asked: Filter, kinds: Sequence[bool]) -> tuple[list[Key], bool]:
        """Keys of people (True), of structures, or of both, and whether these are all."""
        conditions = {person: plan.plan(asked, person=person) for person in kinds}
        if not all(plan.indexed(condition) for condition in conditions.values()):
            raise TooBroad(
                "ask for the beginning of a name, town, profession or address (two letters at least), or for a number"
            )
        leaves = list(dict.fromkeys(leaf for one in conditions.values() for leaf in plan.leaves(one)))
        if len(leaves) > TERMS:
            raise TooBroad(f"more than {TERMS} words in one filter")
        found, whole = await self._words(connection, [leaf for leaf in leaves if isinstance(leaf, Word)])
        of_kind = {person: dict(found) for person in kinds}
        for leaf in leaves:
            if isinstance(leaf, Address):
                rows = await connection.fetch(*_address(leaf), ADDRESSES_EACH + 1)
                whole = whole and len(rows) <= ADDRESSES_EACH
                people = [row["national_id"] for row in rows if row["national_id"]]
                structures = [row["organisation_id"] for row in rows if not row["national_id"]]
            elif isinstance(leaf, Numbers):
                people = list(leaf.numbers)
                structures = [row[0] for row in await connection.fetch(queries.STRUCTURES, people)]
            else:
                continue
            for person, numbers in ((True, people), (False, structures)):
                if person in of_kind:
                    named = ("people" if person else "structures", numbers)
                    of_kind[person][leaf] = named if numbers else None
        wheres = [(person, _where(condition, of_kind[person])) for person, condition in conditions.items()]
        asked_for = [(person, where) for person, where in wheres if where is not None]
        if not asked_for:
            return [], whole
        statement, values = queries.keys(asked_for)
        rows = await connection.fetch(statement, *values, CANDIDATES + 1)
        return [(row[0], row[1], row[2]) for row in rows[:CANDIDATES]], whole and len(rows) <= CANDIDATES

    async def _words(
        self, connection: Asked, asked: Sequence[Word]
    ) -> tuple[dict[Condition, queries.Where | None], bool]:
        rows: list[list[list[int]]] = [[] for _ in asked]
        whole = True
        if asked:
            fields = [" ".join(str(int(field)) for field in one.fields) for one in asked]
            columns = [one.word for one in asked], fields, [one.begun for one in asked]
            for row in await connection.fetch(queries.WORDS, *columns, WORDS_EACH + 1):
                rows[row["number"]].append(row["terms"])
        found: dict[Condition, queries.Where | None] = {}
        for one, mine in zip(asked, rows, strict=True):
            whole = whole and len(mine) <= WORDS_EACH
            terms = [term for some in mine[:WORDS_EACH] for term in some]
            if one.mistyped and (keys := near(one.word)):
                close = await _mistyped(connection, one, keys)
                terms += [term for some in close[:NEAR_WORDS] for term in some]
                whole = whole and len(close) <= NEAR_WORDS
            found[one] = ("words", terms) if terms else None
        return found, whole


def _address(leaf: Address) -> tuple[str, str]:
    if leaf.words:
        return queries.ADDRESS_WORDS, " & ".join(f"'{word}':*" for word in leaf.words)
    return (queries.ADDRESS_WHOLE if leaf.whole else queries.ADDRESS_BEGUN), leaf.begins


async def _mistyped(connection: Asked, asked: Word, keys: list[str]) -> list[list[int]]:
    """The terms of each word that is near."""
    rows = await connection.fetch(index_queries.NEAR, [0], [" ".join(keys)], [""])
    limit = mistakes(asked.word)
    near_ones = [row["terms"] for row in rows if distance(asked.word, row["word"], limit) <= limit]
    return [[term for term in terms if term & 7 in asked.fields] for terms in near_ones]


def _where(condition: Condition, found: dict[Condition, queries.Where | None]) -> queries.Where | None:
    if isinstance(condition, Both):
        parts = [_where(part, found) for part in condition.parts]
        return ("and", *parts) if None not in parts else None
    if isinstance(condition, Either):
        some = [part for part in (_where(one, found) for one in condition.parts) if part is not None]
        return ("or", *some) if some else None
    return ("mailbox",) if isinstance(condition, Mailbox) else found[condition]
