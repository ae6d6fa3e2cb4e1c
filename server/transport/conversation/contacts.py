"""A patient's contacts, by keyed token: PostgreSQL learns neither who the patient is nor who wrote."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from crypto.blind_index import token
from crypto.edge import EdgeKeys
from server.transport.conversation import queries


async def open_among(
    connection: asyncpg.Connection | asyncpg.Pool, edge: EdgeKeys, patient_id: int, addresses: Sequence[str]
) -> frozenset[str]:
    """Which of the normalised addresses the patient may write to."""
    asked = {token(edge.address, address): address for address in addresses}
    rows = await connection.fetch(queries.OPEN_AMONG, patient_id, list(asked))
    return frozenset(asked[row["token"]] for row in rows)
