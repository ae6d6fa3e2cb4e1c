"""What is kept of the trust space and how its sources do, for the command line and the doctor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from server.trust import queries


@dataclass(frozen=True, slots=True)
class Kept:
    """The white list that is kept."""

    source: str
    generated_at: datetime
    accepted_at: datetime
    entries: int


@dataclass(frozen=True, slots=True)
class SourceState:
    """How a source does: `failure` is empty when the last attempt passed; `valid_until`: the end of what is kept of a
    revocation list or an answer."""

    source: str
    kind: str
    tried_at: datetime
    good_at: datetime | None
    failure: str
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class State:
    """All of it."""

    kept: Kept | None
    sources: Sequence[SourceState]


@dataclass(frozen=True, slots=True)
class Changed:
    """One row that a list added or removed."""

    accepted_at: datetime
    generated_at: datetime
    added: bool
    domain: str
    name: str


async def state(connection: asyncpg.Connection) -> State:
    """What is kept now."""
    newest = await connection.fetchrow(queries.NEWEST_LIST)
    ends = {row["source"]: row["next_update"] for row in await connection.fetch(queries.REVOCATION_STATES)}
    return State(
        None
        if newest is None
        else Kept(newest["source"], newest["generated_at"], newest["accepted_at"], newest["entries"]),
        [
            SourceState(
                row["source"], row["kind"], row["tried_at"], row["good_at"], row["failure"], ends.get(row["source"])
            )
            for row in await connection.fetch(queries.SOURCES)
        ],
    )


async def changes(connection: asyncpg.Connection, since: datetime) -> list[Changed]:
    """What the lists accepted since a moment changed, in order."""
    rows = await connection.fetch(queries.CHANGES, since)
    return [Changed(row["accepted_at"], row["generated_at"], row["added"], row["domain"], row["name"]) for row in rows]
