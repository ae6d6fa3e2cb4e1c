"""From an address to where it leads, by keyed token: PostgreSQL sees neither the address nor the person."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import asyncpg

from crypto.blind_index import token
from crypto.edge import EdgeKeys
from server.base.limits import ADDRESS
from server.mailbox import queries
from server.mailbox.model import OwnerKind, OwnerState, Route


async def routes(
    connection: asyncpg.Connection | asyncpg.Pool, edge: EdgeKeys, addresses: Sequence[str]
) -> dict[str, Route]:
    """Normalised address → route; unknown addresses are left out, closed mailboxes come with their state.

    A row whose proof fails (somebody wrote to the database who has no edge secret) is left out as unknown.
    """
    asked = {token(edge.address, address): address for address in addresses if len(address) <= ADDRESS}
    found: dict[str, Route] = {}
    for row in await connection.fetch(queries.ROUTES, list(asked)):
        route = proven(edge, row)
        if route is not None:
            found[asked[row["token"]]] = route
    return found


def proven(edge: EdgeKeys, row: asyncpg.Record) -> Route | None:
    """The route of a row of `queries.ROUTES` or alike; None when its proof fails, or where no person is behind it."""
    expected = proof(edge, row["token"], row["owner_id"], row["public_key"])
    if row["state"] == OwnerState.SPARE or not hmac.compare_digest(row["proof"], expected):
        return None
    state = OwnerState.CLOSED if row["closed_at"] is not None else OwnerState(row["state"])
    return Route(row["owner_id"], OwnerKind(row["kind"]), state, row["public_key"])


def proof(edge: EdgeKeys, address_token: bytes, owner_id: int, public_key: bytes) -> bytes:
    """What binds address, owner and key: nobody leads mail elsewhere by writing to the database alone."""
    return hmac.digest(
        edge.address, b"caducee route 1\0" + address_token + owner_id.to_bytes(8, "big") + public_key, "sha256"
    )
