"""What an operator sees of the queue and orders about it, while the sender runs or not.

Invariants:
- Nothing is opened: there are pseudonyms, domains, sizes, times and what the peers said.
- What is being tried at this moment is left alone, so that no order changes what was perhaps delivered already.
- An order and its row in the trail are one transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import asyncpg

from crypto.edge import EdgeKeys
from server.audit.trail import Audit
from server.base.errors import Reason, Refused
from server.sender import queries

SHORTEST = 6  # hexadecimal digits that name a message, when no other begins so
_ID = 32


class Order(StrEnum):
    """What can be asked for."""

    RETRY = "retry"
    HOLD = "hold"
    RELEASE = "release"
    CANCEL = "cancel"
    BOUNCE = "bounce"


_STATEMENTS = {
    Order.RETRY: queries.RETRY,
    Order.HOLD: queries.HOLD,
    Order.RELEASE: queries.RELEASE,
    Order.CANCEL: queries.CANCEL,
    Order.BOUNCE: queries.BOUNCE,
}


@dataclass(frozen=True, slots=True)
class Listed:
    """One recipient's row. `recipient` and `sender` are pseudonyms ("" for the null sender); `size` in octets.

    `state`: waiting, trying, held (by an operator), scheduled (its sender wants it to leave later). `unsure`: an
    attempt ended nobody knows how. `wish`: what an operator ordered and the sender has not done yet.
    """

    id: str
    recipient: str
    domain: str
    sender: str
    size: int
    queued_at: datetime
    state: str
    attempts: int
    next_attempt: datetime
    last_status: str
    last_reply: str
    unsure: bool
    wish: str
    trace: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows: of these messages (None for all), to this domain (None for any), to this pseudonym (None for any)."""

    messages: list[bytes] | None
    domain: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What an order changed: the ids of the messages, how many recipients, and how many are being tried just now."""

    messages: list[str]
    recipients: int
    trying: int


async def resolve(connection: asyncpg.Connection, ids: Sequence[str]) -> list[bytes]:
    """The messages that shortened ids stand for. Raises Refused: MALFORMED, NO_SUCH_MESSAGE."""
    found = []
    for given in ids:
        digits = given.lower()
        if not SHORTEST <= len(digits) <= _ID or set(digits) - set("0123456789abcdef"):
            raise Refused(Reason.MALFORMED, f"“{given}” is no message of the queue: an id has 6 to 32 digits 0-9, a-f.")
        bounds = (bytes.fromhex(digits.ljust(_ID, fill)) for fill in "0f")
        rows = await connection.fetch(queries.MESSAGES_BETWEEN, *bounds)
        if not rows:
            raise Refused(
                Reason.NO_SUCH_MESSAGE, f"No message of the queue has the id {digits}: it has left, or never was."
            )
        if len(rows) > 1:
            raise Refused(Reason.MALFORMED, f"Several messages have an id that begins with {digits}: give more digits.")
        found.append(bytes(rows[0]["queue_id"]))
    return found


async def listed(connection: asyncpg.Connection, choice: Choice, limit: int) -> tuple[list[Listed], dict[str, int]]:
    """The oldest rows of a choice, at most `limit`, and how many of all are in each state."""
    rows = await connection.fetch(queries.LISTED, choice.messages, choice.domain, limit, choice.name)
    counts = await connection.fetch(queries.COUNTED, choice.messages, choice.domain, choice.name)
    return [
        Listed(
            bytes(row["queue_id"]).hex(),
            row["name"],
            row["domain"],
            row["sender"],
            row["size"],
            row["created_at"],
            row["state"],
            row["attempts"],
            row["not_before"],
            row["last_status"],
            row["last_reply"],
            row["unsure"],
            row["wish"],
            row["trace_id"],
        )
        for row in rows
    ], {row["state"]: row["count"] for row in counts}


async def give(connection: asyncpg.Connection, edge: EdgeKeys, order: Order, choice: Choice, actor: str) -> Done:
    """Carry out an order and tell the trail, a row a message."""
    async with connection.transaction():
        messages = [
            row["queue_id"] for row in await connection.fetch(queries.LOCK_ORDERED, choice.messages, choice.domain)
        ]
        owners = {row["queue_id"]: row for row in await connection.fetch(queries.OWNERS, messages)}
        names: dict[bytes, list[str]] = defaultdict(list)
        for row in await connection.fetch(_STATEMENTS[order], messages, choice.domain):
            names[row["queue_id"]].append(row["name"])
        audit = Audit(edge)
        for queue_id, changed in names.items():
            await audit.queue_ordered(
                connection,
                actor,
                owners[queue_id]["owner_id"],
                order,
                changed,
                queue=queue_id.hex(),
                trace=owners[queue_id]["trace_id"],
            )
        _, counts = await listed(connection, choice, 0)
        if order is Order.CANCEL:
            await connection.execute(queries.DROP_EMPTY, messages)
    return Done([queue_id.hex() for queue_id in names], sum(map(len, names.values())), counts.get("trying", 0))
