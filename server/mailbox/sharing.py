"""Who shares a mailbox, by address: what `server.identity.delegations` keeps by number, for whoever may say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.base import clock
from server.base.errors import Reason, Refused
from server.identity import delegations
from server.identity.delegations import Delegation
from server.identity.model import Rights
from server.mail.addresses import normalise
from server.mailbox.routes import routes
from server.mailbox.trouble import connection

if TYPE_CHECKING:
    from server.mailbox.store import Store


@dataclass(frozen=True, slots=True)
class Share:
    """A person's part in a shared mailbox."""

    address: str
    rights: Rights


async def shares(store: Store, owner_id: int) -> list[Share]:
    """The parts that have not run out, by address."""
    async with connection(store.pool) as acquired:
        found = await delegations.of_mailbox(acquired, store.edge, owner_id)
    named = [
        Share((await (await store.open(one.delegate_id)).identity()).address, one.rights)
        for one in found
        if one.until is None or one.until > clock.now()
    ]
    return sorted(named, key=lambda share: share.address)


async def share(store: Store, owner_id: int, address: str, rights: Rights, actor: str) -> None:
    """Give a person these rights in place of those before, without touching until when; none: end the part.

    Raises Refused: UNKNOWN_RECIPIENT; NOT_ALLOWED (what `grant` raises).
    """
    edge = store.edge
    address = normalise(address)
    async with connection(store.pool) as acquired:
        route = (await routes(acquired, edge, [address])).get(address)
        if route is None:
            raise Refused(Reason.UNKNOWN_RECIPIENT, "There is no such mailbox.")
        person = route.owner_id, address
        if not rights:
            await delegations.revoke(acquired, edge, owner_id, person, actor)
            return
        before = await delegations.of_mailbox(acquired, edge, owner_id)
        until = next((one.until for one in before if one.delegate_id == route.owner_id), None)
        await delegations.grant(acquired, edge, owner_id, person, Delegation(route.owner_id, rights, until), actor)
