"""Who holds which mailbox: from the person that an identity provider names to their own mailboxes.

Invariants: neither a national identifier nor a provider's name for somebody stands in the database in clear; a row that
was not written with the edge's secret leads nowhere; each binding is in the mailbox's trail.

A professional whom the directory listed and lists no more keeps their mailboxes for WARNING, and is told so at each
sign-in; then they open none. Nobody is missing while no directory is loaded, nor who was never in it: an extract of one
region shuts nobody else out.
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


@dataclass(frozen=True, slots=True)
class Held:
    """The active mailboxes of a person, those of type PER first; `missing_since`: no longer in the directory since."""

    token: bytes
    owner_ids: tuple[int, ...]
    missing_since: datetime | None = None

    @property
    def ends_at(self) -> datetime | None:
        """When the mailboxes open no more; None while the directory lists the person."""
        return None if self.missing_since is None else self.missing_since + WARNING


def token(edge: EdgeKeys, person: str) -> bytes:
    """The keyed token of a person (32 bytes)."""
    return blind_index.token(hmac.digest(edge.credential, b"holder token 1", hashlib.sha256), person)


async def bind(
    connection: asyncpg.Connection, edge: EdgeKeys, people: Sequence[tuple[int, str]], actor: str = "operator"
) -> None:
    """Let each person (mailbox's number, and who holds it) open the mailbox by their identity provider. Idempotent."""
    tokens = [token(edge, person) for _, person in people]
    sealed = [
        wrap(_key(edge), person.encode(), _context(found, owner_id))
        for (owner_id, person), found in zip(people, tokens, strict=True)
    ]
    async with connection.transaction():
        numbers = [owner_id for owner_id, _ in people]
        new = await connection.fetch(queries.BIND, tokens, numbers, sealed, clock.now())
        for row in new:
            await Audit(edge).holder_bound(connection, actor, row["owner_id"])


async def held(pool: asyncpg.Pool, edge: EdgeKeys, person: str) -> Held:
    """The mailboxes of a person, who may be unknown here."""
    found = token(edge, person)
    rows = [row for row in await pool.fetch(queries.HELD, found) if opened(edge, row) == person]
    missing = max((row["missing_since"] for row in rows if row["missing_since"]), default=None)
    return Held(found, tuple(row["owner_id"] for row in rows), missing)


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


def opened(edge: EdgeKeys, row: asyncpg.Record) -> str | None:
    """The person that a row (token, owner_id, sealed) is of; None when it was not written with the edge's secret."""
    try:
        return unwrap(_key(edge), row["sealed"], _context(row["token"], row["owner_id"])).decode()
    except CryptoError:
        return None


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
    kind, _, identifier = (opened(edge, row) or "").partition("\0")
    return identifier if kind == _NATIONAL else None


def _key(edge: EdgeKeys) -> bytes:
    return hmac.digest(edge.credential, b"holder sealed 1", hashlib.sha256)


def _context(found: bytes, owner_id: int) -> bytes:
    return b"holder 1\0" + owner_id.to_bytes(8, "big") + found
