"""Who may act for a mailbox: a person, with some rights, until a day or until revoked.

Invariants: ORG and CAB mailboxes are shared; a person's own (PER), for which the holder alone answers, is lent, to a
secretary for one, until a day at most LONGEST_LOAN away; both only to people (PER). A row that was not written with the
edge's secret gives nothing; each grant and revocation is in the trail of the mailbox.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from crypto.edge import EdgeKeys
from server.audit.trail import Audit
from server.base import clock
from server.base.errors import Reason, Refused
from server.identity import queries
from server.identity.model import Rights

SHARED = ("ORG", "CAB")
PEOPLE = ("PER",)
LONGEST_LOAN = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Delegation:
    """One person's part in another's mailbox; `until` None: until revoked."""

    delegate_id: int
    rights: Rights
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Part:
    """One mailbox that a person may open beside their own, seen from the person."""

    owner_id: int
    delegate_id: int
    rights: Rights


async def grant(
    connection: asyncpg.Connection,
    edge: EdgeKeys,
    owner_id: int,
    delegate: tuple[int, str],
    given: Delegation,
    actor: str = "operator",
) -> None:
    """Let `delegate` (number and address) act for the mailbox, in place of what was granted before.

    For a PER mailbox, the caller knows that its holder asks for it, or an operator in the holder's name.

    Raises Refused(NOT_ALLOWED): the mailbox is not one to share, or not for so long, or the delegate is no person.
    """
    await check_terms(connection, owner_id, given.until)
    if await connection.fetchval(queries.KIND, delegate[0]) not in PEOPLE:
        raise Refused(
            Reason.NOT_ALLOWED, "A mailbox is shared with people: the delegate's mailbox must be of type PER."
        )
    if delegate[0] == owner_id:
        raise Refused(Reason.NOT_ALLOWED, "A mailbox is shared with another.")
    proof = _proof(edge, owner_id, given)
    async with connection.transaction():
        await connection.execute(
            queries.GRANT, owner_id, given.delegate_id, int(given.rights), given.until, clock.now(), proof
        )
        rights = [right.name for right in given.rights]
        await Audit(edge).delegated(connection, actor, owner_id, delegate[1], rights, given.until)


async def check_terms(connection: asyncpg.Connection, owner_id: int, until: datetime | None) -> None:
    """Raise Refused(NOT_ALLOWED) when this mailbox is not one to open to another, or not for so long."""
    kind = await connection.fetchval(queries.KIND, owner_id)
    if kind not in (*SHARED, *PEOPLE):
        raise Refused(Reason.NOT_ALLOWED, "Only mailboxes of type ORG, CAB and PER are shared.")
    if kind in PEOPLE and (until is None or until > clock.now() + LONGEST_LOAN):
        raise Refused(
            Reason.NOT_ALLOWED, f"A person's own mailbox is shared until a day, at most {LONGEST_LOAN.days} days away."
        )


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


async def of_people(pool: asyncpg.Pool, edge: EdgeKeys, people: Sequence[int]) -> list[Part]:
    """What these people (numbers of own mailboxes) may open now beside their own."""
    rows = await pool.fetch(queries.SHARED_WITH, list(people), clock.now())
    return [Part(row["owner_id"], row["delegate_id"], rights) for row in rows if (rights := rights_in(edge, row))]


async def rights_now(pool: asyncpg.Pool, edge: EdgeKeys, owner_id: int, delegate_id: int) -> Rights:
    """What the delegate may do with the mailbox now."""
    row = await pool.fetchrow(queries.SHARED_ONE, owner_id, delegate_id, clock.now())
    return Rights(0) if row is None else rights_in(edge, row)


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
