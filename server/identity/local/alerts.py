"""What holders are to be told, written in the transaction of what happened; `transport/notices.py` tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from crypto.edge import EdgeKeys
from server.identity.local import queries
from server.identity.local.model import Alert
from server.identity.local.seal import opened, seal

_LABEL = "alert"


@dataclass(frozen=True, slots=True)
class Happened:
    """An event to tell: when, which browser or what it is called ("" unknown), from which network ("" unknown)."""

    alert: Alert
    at: datetime
    name: str
    network: str


async def add(connection: asyncpg.Connection | asyncpg.Pool, edge: EdgeKeys, owner_id: int, happened: Happened) -> None:
    """Have the holder told."""
    document = {"alert": happened.alert, "name": happened.name, "network": happened.network}
    await connection.execute(queries.ADD_ALERT, owner_id, seal(edge, _LABEL, owner_id, document), happened.at)


def read(edge: EdgeKeys, owner_id: int, sealed: bytes, at: datetime) -> Happened | None:
    """The event of a row; None for one that was not written with the edge's secret."""
    document = opened(edge, _LABEL, owner_id, sealed)
    if document is None:
        return None
    return Happened(Alert(document["alert"]), at, document["name"], document["network"])
