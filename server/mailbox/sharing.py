"""Who shares a mailbox, by address: what `server.identity.delegations` keeps by number, for whoever may say so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import asyncpg

from crypto.edge import EdgeKeys
from server.base.errors import Reason, Refused
from server.identity import delegations
from server.identity.delegations import Delegation
from server.identity.model import Rights
from server.mail.addresses import normalise
from server.mailbox.model import Identity
from server.mailbox.routes import routes


@dataclass(frozen=True, slots=True)
class Share:
    """A person's part in a shared mailbox."""

    address: str
    rights: Rights


async def shares(
    found: Sequence[Delegation], identity_of: Callable[[int], Awaitable[Identity]], now: float
) -> list[Share]:
    """The parts that have not run out, by address."""
    current = [one for one in found if one.until is None or one.until.timestamp() > now]
    named = [Share((await identity_of(one.delegate_id)).address, one.rights) for one in current]
    return sorted(named, key=lambda share: share.address)


async def share(
    connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int, address: str, rights: Rights, actor: str
) -> None:
    """Give a person these rights in place of those before, without touching until when; none: end the part.

    Raises Refused: UNKNOWN_RECIPIENT; NOT_ALLOWED (what `grant` raises).
    """
    address = normalise(address)
    route = (await routes(connection, edge, [address])).get(address)
    if route is None:
        raise Refused(Reason.UNKNOWN_RECIPIENT, "There is no such mailbox.")
    person = route.owner_id, address
    if not rights:
        await delegations.revoke(connection, edge, owner_id, person, actor)
        return
    before = await delegations.of_mailbox(connection, edge, owner_id)
    until = next((one.until for one in before if one.delegate_id == route.owner_id), None)
    await delegations.grant(connection, edge, owner_id, person, Delegation(route.owner_id, rights, until), actor)
