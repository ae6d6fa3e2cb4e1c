"""A mailbox's entry in the directory, and whether each has the one it should.

Public are: the address, its type, name and profession of the person or name of the structure, RPPS, FINESS or SIRET,
and what the operator says for it (service, description, responsible contact, rank). Of an unlisted one: nothing.
The database links no entry to its mailbox: whoever reads it alone does not learn whose traffic is whose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import asyncpg

from crypto.blind_index import token
from crypto.edge import EdgeKeys
from directory.model import MailboxKind
from directory.own import mailboxes as own
from directory.own.mailboxes import OwnMailbox
from server.mailbox import queries as store_queries
from server.mailbox.beside import entrusted
from server.mailbox.keys import Keys, OwnerKey
from server.mailbox.model import Identity, OwnerKind, OwnerState
from server.mailbox.public import queries
from server.mailbox.terms import standing as standing_of

PAGE = 500  # owners, or addresses, asked for at a time


@dataclass(frozen=True, slots=True)
class Standing:
    """`missing`: owners that take mail and have no entry. `stray`: entries that lead to no mailbox that takes mail."""

    missing: Sequence[int]
    stray: Sequence[str]


def entry_of(identity: Identity, kind: OwnerKind) -> OwnMailbox:
    """The entry that a mailbox's own identity makes; of a patient there is none (ValueError)."""
    person = f"8{identity.rpps}" if identity.rpps else ""
    entry = OwnMailbox(identity.address, MailboxKind(kind.value), person, finess=identity.finess)
    return own.named(entry, identity.name)


async def publish(
    connection: asyncpg.Connection, keys: Keys, owner_id: int, now: datetime, **said: Any
) -> OwnMailbox | None:
    """Publish a mailbox as it was said before, with what is said now (fields of OwnMailbox); None: nobody holds it."""
    entry = replace(await _entry(connection, keys, owner_id), **said)
    if not entry.has_holder:
        return None
    await own.publish(connection, [entry], now)
    await certify(connection, keys, owner_id)
    return entry


async def certify(connection: asyncpg.Connection, keys: Keys, owner_id: int) -> None:
    """Tell the directory to which certificates mail may be encrypted: those whose keys the holder entrusted."""
    key = await keys.of(connection, owner_id)
    address = (await _identity(connection, key)).address
    rows = await entrusted.sealed(connection, owner_id)
    await own.certify(connection, address, [entrusted.opened(key, row).certificate for row in rows])


async def standing(connection: asyncpg.Connection, edge: EdgeKeys) -> Standing:
    """Compare the directory with the mailboxes, by keyed token: no mailbox is opened."""
    published = await own.published(connection)
    owners: set[int] = set()
    stray: list[str] = []
    for start in range(0, len(published), PAGE):
        tokens = {token(edge.address, address): address for address in published[start : start + PAGE]}
        found = {row["token"]: row["owner_id"] for row in await connection.fetch(queries.OWNERS_OF, list(tokens))}
        owners.update(found.values())
        stray += [address for one, address in tokens.items() if one not in found]
    missing, last = [], 0
    while rows := await connection.fetch(queries.PUBLIC_OWNERS, last, PAGE):
        missing += [row["owner_id"] for row in rows if row["owner_id"] not in owners]
        last = rows[-1]["owner_id"]
    return Standing(missing, stray)


async def mend(connection: asyncpg.Connection, keys: Keys, edge: EdgeKeys, now: datetime) -> tuple[int, list[int], int]:
    """Publish what is missing, withdraw what strays: how many were published, which owners nobody can be named for, how
    many were withdrawn."""
    found = await standing(connection, edge)
    entries, nobodies = [], []
    for owner_id in found.missing:
        entry = await _entry(connection, keys, owner_id)
        if entry.has_holder:
            entries.append(entry)
        else:
            nobodies.append(owner_id)
    if entries:
        await own.publish(connection, entries, now)
    withdrawn = await own.withdraw(connection, found.stray, now) if found.stray else []
    for owner_id in set(found.missing) - set(nobodies):
        await certify(connection, keys, owner_id)
    return len(entries), nobodies, len(withdrawn)


async def suspend(connection: asyncpg.Connection, owner_id: int, suspended: bool) -> bool:
    """Suspend a mailbox (what comes waits, nobody signs in) or let it go on; whether its state changed."""
    states = (OwnerState.SUSPENDED, OwnerState.ACTIVE) if suspended else (OwnerState.ACTIVE, OwnerState.SUSPENDED)
    return bool(await connection.fetchval(queries.SET_STATE, owner_id, *states))


async def _entry(connection: asyncpg.Connection, keys: Keys, owner_id: int) -> OwnMailbox:
    """What was said of a mailbox, else what its identity says."""
    key = await keys.of(connection, owner_id)
    identity = await _identity(connection, key)
    known = await own.said(connection, identity.address)
    terms = (await standing_of(connection, owner_id)).terms
    return replace(known or entry_of(identity, key.kind), unlisted=terms.unlisted)


async def _identity(connection: asyncpg.Connection, key: OwnerKey) -> Identity:
    (row,) = await connection.fetch(store_queries.IDENTITY, key.owner_id)
    return key.open_identity(*row)
