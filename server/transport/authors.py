"""As whom a principal may write: its own mailbox by any of its addresses, and those shared with it for sending.

The holder of a mailbox who writes as the address that signed in costs no question. For a delegate, or
somebody of a facility, the database is asked each time, so that a revocation counts at the next message.
"""

from __future__ import annotations

from collections.abc import Set

import asyncpg

from crypto.blind_index import token
from crypto.edge import EdgeKeys
from server.base import clock
from server.base.errors import Reason, Refused
from server.base.limits import ADDRESS
from server.identity.delegations import rights_in
from server.identity.facility import bindings
from server.identity.model import Principal, Rights
from server.mailbox.model import OwnerState
from server.mailbox.routes import proven
from server.transport import queries


async def speaks_as(pool: asyncpg.Pool, edge: EdgeKeys, who: Principal, names: Set[str]) -> None:
    """Whether `who` may write as all of these normalised addresses. Raises Refused(SENDER_NOT_YOURS)."""
    others = names if who.delegate is not None else names - {who.address}
    if not others:
        return
    asked = {token(edge.address, name): name for name in others if len(name) <= ADDRESS}
    person = who.owner_id if who.delegate is None else who.delegate.owner_id
    lent = Rights(0)
    if who.delegate is not None and who.delegate.facility:
        lent = await bindings.rights_now(pool, edge, who.owner_id, who.delegate.facility)
    rows = await pool.fetch(queries.AUTHORS, list(asked), person, clock.now())
    if {asked[row["token"]] for row in rows if _may(edge, who, row, lent)} != others:
        raise Refused(Reason.SENDER_NOT_YOURS, "This account may not write as the sender.")


def _may(edge: EdgeKeys, who: Principal, row: asyncpg.Record, lent: Rights) -> bool:
    route = proven(edge, row)
    if route is None:
        return False
    opened = route.owner_id == who.owner_id
    if who.delegate is None and opened:
        return True
    # Who opened a shared mailbox writes as that one; who opened their own, as any that is shared with them.
    if who.delegate is not None and not opened:
        return False
    return route.state is OwnerState.ACTIVE and Rights.SEND in rights_in(edge, row) | lent
