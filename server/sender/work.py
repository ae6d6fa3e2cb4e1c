"""What the sender has in hand: a message, and those of its recipients that are due in one domain."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import asyncpg

from crypto.edge import Salts
from crypto.errors import CryptoError
from server.sender import queries
from server.sender.keys import DayKeys
from server.transport.queued import Addressee, Queued, open_body, open_envelope


@dataclass(frozen=True, slots=True)
class Due:
    """One recipient's row under lease. `unsure`: an earlier attempt ended nobody knows how."""

    number: int
    attempts: int
    delay_told: bool
    unsure: bool


@dataclass(frozen=True, slots=True)
class Work:
    """Recipients of one message in one domain, to be served in one transaction."""

    queue_id: bytes
    domain: str
    due: tuple[Due, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """A message as the sender alone sees it."""

    envelope: Queued
    data: bytes = field(repr=False)
    owner_id: int | None
    trace_id: str
    queued_at: datetime

    def addressees(self, due: tuple[Due, ...]) -> list[Addressee]:
        return [self.envelope.recipients[one.number] for one in due]


async def open_message(
    connection: asyncpg.Connection, keys: DayKeys, salts: Salts, queue_id: bytes, *, body: bool = True
) -> Opened | None:
    """A message of the queue, None when it is no longer there; without `body` only its envelope is opened.

    Raises CryptoError: it does not open, so that somebody wrote to the database or a key is gone.
    """
    row = await connection.fetchrow(queries.MESSAGE, queue_id)
    if row is None:
        return None
    key = await keys.message_key(connection, row["key_id"], queue_id, bytes(row["key"]))
    envelope = open_envelope(key, queue_id, salts, bytes(row["envelope"]))
    data = b""
    if body:
        cipher = row["body"]
        if cipher is None:
            cipher = b"".join(piece["data"] for piece in await connection.fetch(queries.PIECES, queue_id))
        data = open_body(key, queue_id, salts, cipher)
        if len(data) != row["size"]:
            raise CryptoError("this message has been cut")
    return Opened(envelope, data, row["owner_id"], row["trace_id"], row["created_at"])
