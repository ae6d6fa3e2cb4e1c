"""Which facility may open which mailbox for its people: bound by its certificate's key, until a day or until revoked.

Invariants:
- The key counts and not the names: another certificate of the same organisation opens nothing.
- Mailboxes of teams and of people, under the terms of delegations; never a patient's, and none of software, which has
  its own certificate. A row that was not written with the edge's secret gives nothing.
- Each binding and removal is in the trail of the mailbox.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from crypto import blind_index
from crypto.edge import EdgeKeys
from crypto.pki.client import ClientCertificate
from server.audit.trail import Audit
from server.base import clock
from server.identity import delegations
from server.identity.facility import queries
from server.identity.holders import WARNING
from server.identity.model import Rights


@dataclass(frozen=True, slots=True)
class Bound:
    """A facility of a mailbox, for its operator's list; `until` None: until removed."""

    facility_id: int
    subject: str
    not_after: datetime
    rights: Rights
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Opening:
    """A mailbox as a facility may open it now; `shown` the certificate and path (DER) it last showed, () for none."""

    owner_id: int
    kind: str
    subject: str
    rights: Rights
    until: datetime | None
    shown: tuple[bytes, ...]


async def bind(
    connection: asyncpg.Connection,
    edge: EdgeKeys,
    owner_id: int,
    certificate: ClientCertificate,
    rights: Rights,
    until: datetime | None,
) -> None:
    """Let the facility with this certificate open the mailbox for its people, in place of what was bound before.

    Raises Refused(NOT_ALLOWED): the mailbox is not one to share, or not for so long.
    """
    await delegations.check_terms(connection, owner_id, until)
    subject = certificate.subject
    proof = _proof(edge, owner_id, certificate.key_hash, subject, rights, until)
    async with connection.transaction():
        values = (owner_id, certificate.key_hash, subject, certificate.not_after, int(rights), until, clock.now())
        await connection.execute(queries.BIND, *values, proof)
        facts = {"subject": subject, "rights": [right.name for right in rights], "until": str(until or "removed")}
        await Audit(edge).facility(connection, "operator", owner_id, "bound", **facts)


async def of_mailbox(connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int) -> list[Bound]:
    """The mailbox's facilities, those whose time has run out too."""
    rows = await connection.fetch(queries.OF_MAILBOX, owner_id)
    return [
        Bound(row["facility_id"], row["subject"], row["not_after"], rights, row["until"])
        for row in rows
        if (rights := _rights_in(edge, row))
    ]


async def remove(connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int, facility_id: int) -> bool:
    """Open the mailbox to a facility no more; False when it had none of this number."""
    async with connection.transaction():
        subject = await connection.fetchval(queries.REMOVE, owner_id, facility_id)
        if subject is not None:
            await Audit(edge).facility(connection, "operator", owner_id, "removed", subject=subject)
    return subject is not None


async def opens(pool: asyncpg.Pool, edge: EdgeKeys, mailbox: str, key_hash: bytes) -> Opening | None:
    """The mailbox of this normalised address, as the facility with this key may open it now; None: it may not."""
    now = clock.now()
    token = blind_index.token(edge.address, mailbox)
    row = await pool.fetchrow(queries.OPENS, token, key_hash, now, now - WARNING)
    rights = _rights_in(edge, row) if row else Rights(0)
    if row is None or not rights:
        return None
    shown = tuple(row["shown"] or ())
    if not hmac.compare_digest(row["shown_proof"] or b"", _shown_proof(edge, row["owner_id"], key_hash, shown)):
        shown = ()
    return Opening(row["owner_id"], row["kind"], row["subject"], rights, row["until"], shown)


async def rights_now(pool: asyncpg.Pool, edge: EdgeKeys, owner_id: int, key_hash: bytes) -> Rights:
    """What the facility with this key may do with the mailbox now."""
    row = await pool.fetchrow(queries.RIGHTS_NOW, owner_id, key_hash, clock.now())
    return Rights(0) if row is None else _rights_in(edge, row)


async def keep_shown(
    connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int, key_hash: bytes, shown: Sequence[bytes]
) -> None:
    """Remember the certificate and path (DER) that the facility showed."""
    proof = _shown_proof(edge, owner_id, key_hash, shown)
    await connection.execute(queries.KEEP_SHOWN, owner_id, key_hash, list(shown), proof)


def _rights_in(edge: EdgeKeys, row: asyncpg.Record) -> Rights:
    """The rights that a row gives; none when its proof fails. `until` is the statement's to compare."""
    rights = Rights(row["rights"])
    proof = _proof(edge, row["owner_id"], row["key_hash"], row["subject"], rights, row["until"])
    return rights if hmac.compare_digest(row["proof"], proof) else Rights(0)


def _proof(
    edge: EdgeKeys, owner_id: int, key_hash: bytes, subject: str, rights: Rights, until: datetime | None
) -> bytes:
    end = until.timestamp().hex() if until else ""
    text = f"facility 1\0{owner_id}\0{key_hash.hex()}\0{int(rights)}\0{end}\0{subject}"
    return hmac.digest(edge.credential, text.encode(), hashlib.sha256)


def _shown_proof(edge: EdgeKeys, owner_id: int, key_hash: bytes, shown: Sequence[bytes]) -> bytes:
    digests = b"".join(hashlib.sha256(der).digest() for der in shown)
    text = b"facility shown 1\0" + owner_id.to_bytes(8, "big") + key_hash + digests
    return hmac.digest(edge.credential, text, hashlib.sha256)
