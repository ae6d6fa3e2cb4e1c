"""What the sender has in hand: a message, and those of its recipients that are due in one domain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import asyncpg

from crypto import blob
from crypto.edge import Salts
from crypto.errors import CryptoError
from server.base.limits import KIB
from server.mailbox.content import PIECE
from server.mailbox.trouble import connection
from server.sender import queries
from server.sender.dialogue import Transaction
from server.sender.keys import DayKeys
from server.transport.accept import top_header
from server.transport.queued import Queued, body_reader, open_envelope

PART = 256 * KIB  # octets of a blob that are read, opened and sent at a time; divides PIECE
HEAD = blob.HEADER + blob.SEALED_CHUNK  # of a blob, what holds the top header that a notification returns


@dataclass(frozen=True, slots=True)
class Due:
    """One recipient's row under lease. `name`: its pseudonym; `attempts`, this one counted, `since` the first.

    `unsure`: an earlier attempt ended nobody knows how; `wish`: the operator's ("try", "return", "").
    """

    number: int
    name: str
    attempts: int
    since: datetime
    delay_told: bool
    unsure: bool
    wish: str


@dataclass(frozen=True, slots=True)
class Work:
    """Recipients of one message in one domain, to be served in one transaction."""

    queue_id: bytes
    domain: str
    due: tuple[Due, ...]

    def split(self, first: Callable[[Due], bool]) -> tuple[Work, Work]:
        """Those of its recipients, and the others."""
        return (
            replace(self, due=tuple(due for due in self.due if first(due))),
            replace(self, due=tuple(due for due in self.due if not first(due))),
        )


@dataclass(frozen=True, slots=True)
class Message:
    """What is known of a message beside its content: `header` is its top header."""

    envelope: Queued
    header: bytes = field(repr=False)
    size: int
    owner_id: int | None
    trace_id: str


@dataclass(frozen=True, slots=True)
class Content:
    """A message's octets as they leave, opened while they are read: a PART in memory."""

    first: bytes = field(repr=False)  # what the first part of the blob completes
    reader: blob.BlobReader
    more: AsyncIterator[bytes]

    async def pieces(self) -> AsyncIterator[bytes]:
        """Raises CryptoError: it does not open, or has been cut."""
        yield self.first
        async for cipher in self.more:
            yield self.reader.update(cipher)
        if not self.reader.complete:
            raise CryptoError("this message has been cut")


async def open_message(
    pool: asyncpg.Pool, keys: DayKeys, salts: Salts, queue_id: bytes, worker: str, *, head_only: bool = False
) -> tuple[Message, Content, list[int]] | None:
    """A message of the queue, and which of its recipients are this worker's; None when it is no longer there.

    With `head_only` its content is cut after the header. Raises CryptoError: it does not open, so that somebody wrote
    to the database or a key is gone; TryLater.
    """
    part = HEAD if head_only else PART
    async with connection(pool) as acquired:
        row = await acquired.fetchrow(queries.MESSAGE, queue_id, part, worker)
        if row is None:
            return None
        key = await keys.message_key(acquired, row["key_id"], queue_id, bytes(row["key"]))
    envelope = open_envelope(key, queue_id, salts, bytes(row["envelope"]))
    reader = body_reader(key, queue_id, salts, row["size"])
    first = reader.update(bytes(row["part"] or b""))
    message = Message(envelope, top_header(first), row["size"], row["owner_id"], row["trace_id"])
    rest = range(part, blob.sealed_size(row["size"]), PART)
    return message, Content(first, reader, _parts(pool, queue_id, rest, row["in_pieces"])), row["leased"]


async def _parts(pool: asyncpg.Pool, queue_id: bytes, offsets: range, in_pieces: bool) -> AsyncIterator[bytes]:
    """What follows the first part of a blob; no connection is held between two."""
    for offset in offsets:
        number, within = divmod(offset, PIECE) if in_pieces else (0, offset)
        async with connection(pool) as acquired:
            part = await acquired.fetchval(queries.PART, queue_id, number, within, PART)
        yield bytes(part or b"")


def transaction(message: Message, content: Content, work: Work) -> Transaction:
    """What is said to the peer for these recipients."""
    envelope = message.envelope
    recipients = [envelope.recipients[one.number] for one in work.due]
    return Transaction(envelope, recipients, message.header, message.size, content.first.isascii())
