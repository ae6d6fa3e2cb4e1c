"""Who holds which mailbox: from the person that an identity provider names to their own mailboxes.

Invariants: neither a national identifier nor a provider's name for somebody stands in the database in clear; a row that
was not written with the edge's secret leads nowhere; each binding is in the mailbox's trail.

A professional whom the directory listed and lists no more keeps their mailboxes for WARNING, and is told so at each
sign-in to the pages; then they open none, by app password neither. Nobody is missing while no directory is loaded, nor
who was never in it: an extract of one region shuts nobody else out.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from crypto import blind_index
from crypto.edge import EdgeKeys
from crypto.errors import CryptoError
from crypto.sealing import unwrap, wrap
from server.audit.trail import Audit
from server.base import clock
from server.base.settings import Settings
from server.identity import queries
from server.identity.oidc.faults import Fault, NotProven

WARNING = timedelta(days=30)
PROFESSIONALS = ("PER", "CAB")  # kinds of mailboxes that a professional holds
_RPPS = "8"  # the type digit of an RPPS in a national identifier (SubjectNameID, PS_LibreAcces)
_STEP = 2_000  # holders that are compared with the directory at once
_NATIONAL, _SUBJECT = "national", "subject"


def national(identifier: str) -> str:
    """A professional, by national identifier ("8" + RPPS)."""
    return f"{_NATIONAL}\0{identifier}"


def of_rpps(rpps: str) -> str:
    """A professional, by RPPS (11 digits)."""
    return national(_RPPS + rpps)


def subject(provider: str, name: str) -> str:
    """Somebody, by the name (`sub`) that a provider of the settings has for them."""
    return f"{_SUBJECT}\0{provider}\0{name}"


def named(settings: Settings, provider: str, name: str, national_id: str) -> str:
    """Whom a provider of the settings names: by national identifier where it is one of professionals."""
    professional = settings.identity.providers[provider].kind == "professional"
    return national(national_id) if professional else subject(provider, name)


@dataclass(frozen=True, slots=True)
class Binding:
    """A mailbox and the person who holds it."""

    owner_id: int
    address: str
    person: str


@dataclass(frozen=True, slots=True)
class Held:
    """The active mailboxes of a person, those of type PER first, and the address of the first one, which names the
    person in the trail; `missing_since`: no longer in the directory since.
    """

    token: bytes
    owner_ids: tuple[int, ...]
    name: str
    missing_since: datetime | None = None

    @property
    def ends_at(self) -> datetime | None:
        """When the mailboxes open no more; None while the directory lists the person."""
        return None if self.missing_since is None else self.missing_since + WARNING


def token(edge: EdgeKeys, person: str) -> bytes:
    """The keyed token of a person (32 bytes)."""
    return blind_index.token(hmac.digest(edge.credential, b"holder token 1", hashlib.sha256), person)


async def bind(
    connection: asyncpg.Connection, edge: EdgeKeys, bindings: Sequence[Binding], actor: str = "operator"
) -> None:
    """Let each person open the mailbox by their identity provider. Idempotent."""
    tokens = [token(edge, one.person) for one in bindings]
    sealed = [
        wrap(_key(edge), f"{one.address}\n{one.person}".encode(), _context(found, one.owner_id))
        for one, found in zip(bindings, tokens, strict=True)
    ]
    async with connection.transaction():
        numbers = [one.owner_id for one in bindings]
        new = await connection.fetch(queries.BIND, tokens, numbers, sealed, clock.now())
        if new:
            await Audit(edge).holders_bound(connection, actor, [row["owner_id"] for row in new])


async def unbind(connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int, actor: str = "operator") -> int:
    """Let nobody open the mailbox by an identity provider; how many could."""
    async with connection.transaction():
        ended = await connection.fetch(queries.UNBIND, owner_id)
        if ended:
            await Audit(edge).holder_unbound(connection, actor, owner_id)
    return len(ended)


async def held(pool: asyncpg.Pool, edge: EdgeKeys, person: str) -> Held:
    """The mailboxes of a person, who may be unknown here."""
    found = token(edge, person)
    rows = await pool.fetch(queries.HELD, found)
    bound = [one for row in rows if (one := opened(edge, row)) is not None and one.person == person]
    missing = max((row["missing_since"] for row in rows if row["missing_since"]), default=None)
    return Held(found, tuple(one.owner_id for one in bound), bound[0].address if bound else "", missing)


async def admitted(pool: asyncpg.Pool, edge: EdgeKeys, person: str) -> Held:
    """The mailboxes of somebody who signs in. Raises NotProven: NO_MAILBOX, LEFT."""
    found = await held(pool, edge, person)
    if not found.owner_ids:
        raise NotProven(Fault.NO_MAILBOX)
    if found.ends_at is not None and found.ends_at <= clock.now():
        raise NotProven(Fault.LEFT)
    return found


async def missing_since(pool: asyncpg.Pool, found: bytes) -> datetime | None:
    """Since when the directory lists the person of a token no more."""
    rows = await pool.fetch(queries.HELD, found)
    return max((row["missing_since"] for row in rows if row["missing_since"]), default=None)


def opened(edge: EdgeKeys, row: asyncpg.Record) -> Binding | None:
    """What a row (token, owner_id, sealed) binds; None when it was not written with the edge's secret."""
    try:
        text = unwrap(_key(edge), row["sealed"], _context(row["token"], row["owner_id"])).decode()
    except CryptoError:
        return None
    address, _, person = text.partition("\n")
    return Binding(row["owner_id"], address, person)


class Missing:
    """Compares holders with the directory, some at a time. For the jobs."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys) -> None:
        self._pool = pool
        self._edge = edge
        self._after = b""

    async def some(self) -> int:
        """Note who is missing and who is back; 0 at the end of a round, and while no directory is loaded."""
        if not await self._pool.fetchval(queries.HAS_DIRECTORY):
            return 0
        rows = await self._pool.fetch(queries.HOLDERS_AFTER, self._after, _STEP)
        self._after = rows[-1]["token"] if rows else b""
        people = {row["token"]: identifier for row in rows if (identifier := national_of(self._edge, row))}
        if people:
            await self._pool.execute(queries.NOTE_MISSING, list(people), list(people.values()), clock.now())
        return len(rows)


def national_of(edge: EdgeKeys, row: asyncpg.Record) -> str | None:
    """The national identifier that a row is of; None for a provider's own subject."""
    bound = opened(edge, row)
    kind, _, identifier = bound.person.partition("\0") if bound is not None else ("", "", "")
    return identifier if kind == _NATIONAL else None


def _key(edge: EdgeKeys) -> bytes:
    return hmac.digest(edge.credential, b"holder sealed 1", hashlib.sha256)


def _context(found: bytes, owner_id: int) -> bytes:
    return b"holder 1\0" + owner_id.to_bytes(8, "big") + found
