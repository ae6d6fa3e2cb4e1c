"""What is kept of the trust space and how its sources do, for the command line and the doctor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import asyncpg

from server.trust import queries
from server.trust.members import Peer
from server.trust.space import TrustSpace

PEERS: Final = 1_000  # certificates looked after, the latest seen


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


@dataclass(frozen=True, slots=True)
class Seen:
    """A certificate that an operator showed, and what is known of its revocation ("good", "revoked", "unknown")."""

    subject: str
    serial: str  # hexadecimal
    expires_at: datetime
    seen_on: date
    standing: str
    source: str
    as_of: datetime | None


async def seen(connection: asyncpg.Connection, space: TrustSpace, domain: str, now: datetime) -> list[Seen]:
    """The certificates lately shown by operators that may speak for a domain."""
    found = []
    for row in await connection.fetch(queries.PEERS, PEERS):
        try:
            peer = Peer.from_path(row["path"])
        except ValueError:
            continue  # somebody wrote to the database: no operator's certificate
        if space.may_speak_for(peer.subject, domain):
            answer = space.revocations.judge(peer.path, now)
            leaf = peer.path[0]
            found.append(
                Seen(
                    peer.text,
                    f"{leaf.serial_number:x}",
                    leaf.not_valid_after_utc,
                    row["seen_on"],
                    answer.status.value,
                    answer.source,
                    answer.as_of,
                )
            )
    return found


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
