"""What RCPT must know of the addresses asked, in one question to the database.

Where they lead, whether there is room, whether the holder takes messages, whether this patient may write there, and how
many unknown ones were asked for before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from crypto.blind_index import token
from crypto.edge import EdgeKeys
from server.mailbox.model import Route
from server.mailbox.routes import proven
from server.transport import queries
from server.transport.unknown import Counted


@dataclass(frozen=True, slots=True)
class Standing:
    """One address. `route` is None where no mailbox of ours has it; `quota` None where it has none of its own.

    `answerable`: the patient who asks was written to from there, and nobody ended it. `used` counts octets.
    """

    route: Route | None
    answerable: bool
    refuses_mail: bool = False
    open_to_patients: bool = False
    quota: int | None = None
    used: int = 0


NOBODY = Standing(None, answerable=False)


async def standings(
    pool: asyncpg.Pool,
    edge: EdgeKeys,
    addresses: Sequence[str],
    *,
    patient: int | None,
    counted: Sequence[Counted],
    hour: datetime,
) -> tuple[Mapping[str, Standing], Sequence[int]]:
    """By normalised address its standing; for each of `counted` the unknown recipients asked for in `hour`.

    `patient` is the owner number of the patient who writes, if one does.
    """
    asked = {token(edge.address, address): address for address in addresses}
    kinds, names = [one.kind for one in counted], [one.name for one in counted]
    rows = await pool.fetch(queries.RECIPIENTS, list(asked), patient, kinds, names, hour)
    found = {asked[row["token"]]: _standing(edge, row) for row in rows}
    return found, rows[0]["unknown"] if rows else []


def _standing(edge: EdgeKeys, row: asyncpg.Record) -> Standing:
    answerable = bool(row["answerable"])
    route = proven(edge, row) if row["owner_id"] is not None else None
    if route is None:
        return Standing(None, answerable)
    return Standing(
        route, answerable, row["refuses_mail"], row["open_to_patients"], row["quota_bytes"], int(row["used"] or 0)
    )
