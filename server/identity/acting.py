"""What a session's person may open: their own mailboxes, and those of others that are shared with them or lent to them.

Asked at each request of a page, so that a revocation, or the end of a delegation, counts at the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from crypto.edge import EdgeKeys
from server.identity import delegations, holders, queries
from server.identity.model import OWN, Rights
from server.identity.sessions.model import Session


@dataclass(frozen=True, slots=True)
class Openable:
    """One mailbox; `delegate_id` the person's own one that it is shared with, None where it is theirs."""

    owner_id: int
    delegate_id: int | None
    rights: Rights


async def openable(pool: asyncpg.Pool, edge: EdgeKeys, session: Session) -> list[Openable]:
    """All that the person may open now: their own first, in the order of numbers, each once."""
    own = await _own(pool, edge, session)
    found = {owner_id: Openable(owner_id, None, OWN) for owner_id in own}
    for part in await delegations.of_people(pool, edge, own):
        if Rights.READ in part.rights:
            found.setdefault(part.owner_id, Openable(part.owner_id, part.delegate_id, part.rights))
    return list(found.values())


async def rights_now(pool: asyncpg.Pool, edge: EdgeKeys, session: Session) -> Rights:
    """What the person may do now with the mailbox that is open; nothing when it is theirs to open no more."""
    if session.delegate_id is not None:
        return await delegations.rights_now(pool, edge, session.owner_id, session.delegate_id)
    if session.owner_id == session.person_id:
        return OWN if await pool.fetchval(queries.IS_ACTIVE, session.owner_id) else Rights(0)
    return OWN if session.owner_id in await _own(pool, edge, session) else Rights(0)


async def _own(pool: asyncpg.Pool, edge: EdgeKeys, session: Session) -> list[int]:
    if session.holder is None:
        return [session.person_id]
    rows = await pool.fetch(queries.HELD, session.holder)
    own = [row["owner_id"] for row in rows if holders.opened(edge, row) is not None]
    return own if session.person_id in own else [session.person_id, *own]
