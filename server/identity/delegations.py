"""Who may act for a shared mailbox: a person, with some rights, until a day or until revoked.

Invariants: only ORG and CAB mailboxes are shared, and only with people (PER); a row that was not written with the
edge's secret gives nothing; each grant and revocation is in the trail of the shared mailbox.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from crypto.edge import EdgeKeys
from server.audit.trail import Audit
from server.base import clock
from server.base.errors import Reason, Refused
from server.identity import queries
from server.identity.model import Rights

SHARED = ("ORG", "CAB")
PEOPLE = ("PER",)


@dataclass(frozen=True, slots=True)
class Delegation:
    """One person's part in a shared mailbox; `until` None: until revoked."""

    delegate_id: int
    rights: Rights
    until: datetime | None


async def grant(
    connection: asyncpg.Connection,
    edge: EdgeKeys,
    owner_id: int,
    delegate: tuple[int, str],
    given: Delegation,
    actor: str = "operator",
) -> None:
    """Let `delegate` (number and address) act for the mailbox, in place of what was granted before.

    Raises Refused(NOT_ALLOWED): the mailbox is not one to share, or the delegate is no person.
    """
    if await connection.fetchval(queries.KIND, owner_id) not in SHARED:
        raise Refused(Reason.NOT_ALLOWED, "Only mailboxes of type ORG and CAB are shared.")
    if await connection.fetchval(queries.KIND, delegate[0]) not in PEOPLE:
        raise Refused(
            Reason.NOT_ALLOWED, "A mailbox is shared with people: the delegate's mailbox must be of type PER."
        )
    proof = _proof(edge, owner_id, given)
    async with connection.transaction():
        await connection.execute(
            queries.GRANT, owner_id, given.delegate_id, int(given.rights), given.until, clock.now(), proof
        )
        rights = [right.name for right in given.rights]
        await Audit(edge).delegated(connection, actor, owner_id, delegate[1], rights, given.until)


async def revoke(
    connection: asyncpg.Connection,
    edge: EdgeKeys,
    owner_id: int,
    delegate: tuple[int, str],
    actor: str = "operator",
) -> bool:
    """End a person's part in a mailbox at once; False when there was none."""
    async with connection.transaction():
        ended = await connection.fetchval(queries.REVOKE, owner_id, delegate[0])
        if ended is not None:
            await Audit(edge).delegation_revoked(connection, actor, owner_id, delegate[1])
    return ended is not None


async def of_mailbox(connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int) -> list[Delegation]:
    """The mailbox's delegations, those that have run out too."""
    rows = await connection.fetch(queries.DELEGATIONS, owner_id)
    return [Delegation(row["delegate_id"], Rights(row["rights"]), row["until"]) for row in rows if rights_in(edge, row)]


def rights_in(edge: EdgeKeys, row: asyncpg.Record) -> Rights:
    """The rights that a row gives (owner_id, delegate_id, rights, until, delegation_proof); none without a delegate or
    when its proof fails. `until` is the statement's to compare.
    """
    if row["delegate_id"] is None:
        return Rights(0)
    given = Delegation(row["delegate_id"], Rights(row["rights"]), row["until"])
    right = hmac.compare_digest(row["delegation_proof"], _proof(edge, row["owner_id"], given))
    return given.rights if right else Rights(0)


def _proof(edge: EdgeKeys, owner_id: int, given: Delegation) -> bytes:
    until = given.until.timestamp().hex() if given.until else ""
    text = f"delegation 1\0{owner_id}\0{given.delegate_id}\0{int(given.rights)}\0{until}"
    return hmac.digest(edge.credential, text.encode(), hashlib.sha256)
