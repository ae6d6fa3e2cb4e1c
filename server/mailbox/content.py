"""Content at rest: one random key a message, body and summary encrypted with it, the key closed to its owner.

The body's ciphertext is the same for all recipients of a message; each has a row of its own, with the key sealed to it.
Past 1 MiB a message is two blobs: its top header, which we change when all the rest has passed, stands in the row; the
rest is committed in pieces while it comes, before the transaction that refers to it. A reading of a large body opens
its header's blob whole, so that nobody who writes to the database moves the border between the two.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg
import structlog

from crypto import blob
from crypto.edge import Salts
from crypto.errors import CryptoError
from crypto.sealing import KEY_BYTES
from server.base import metrics
from server.base.errors import Reason, Refused
from server.base.ids import content_id as new_content_id
from server.base.limits import MIB
from server.mail.summary import Summary
from server.mailbox import queries, reading
from server.mailbox.keys import SEALED_FORM, OwnerKey
from server.mailbox.reading import Reader, Reading, Wanted
from server.mailbox.trouble import connection

LARGE_BODY = MIB  # a row past this makes the accept transaction slow for everybody in its group
PIECE = MIB  # bytes of ciphertext in one row of body_piece
_BEYOND = 2**30  # past every body; PostgreSQL cuts what is read to what is there
_SUMMARY = b"summary"
_HEADER = b"header"  # of a large body

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message encrypted and ready to be written. `size` counts plain octets. `body` is the whole blob; of a `large`
    message the header's, and the rest was committed in pieces."""

    content_id: bytes
    size: int
    summary: bytes = field(repr=False)
    body: bytes = field(repr=False)
    message_key: bytes = field(repr=False)
    large: bool = False


def prepare(data: bytes, summary: Summary, salts: Salts, content_id: bytes | None = None) -> Prepared:
    """Encrypt a message's text and its summary under a key of its own; for a content that is there, or a new one."""
    content_id, message_key = content_id or new_content_id(), os.urandom(KEY_BYTES)
    return Prepared(
        content_id,
        len(data),
        blob.encrypt(message_key, content_id, salts, summary.to_bytes(), _SUMMARY),
        blob.encrypt(message_key, content_id, salts, data),
        message_key,
    )


class Pieces:
    """A blob on its way into the database: what is added is committed, a piece a statement, so that no transaction is
    open while more is awaited. A piece and a chunk are in memory."""

    def __init__(self, pool: asyncpg.Pool, writer: blob.BlobWriter, statement: str, *place: object) -> None:
        """`statement` takes the values of `place`, the number of a piece, and its bytes."""
        self._pool = pool
        self._writer = writer
        self._statement = statement
        self._place = place
        self._number = 0
        self._cipher = bytearray()
        self.size = 0  # plain octets added

    async def add(self, data: bytes | memoryview) -> None:
        """Raises TryLater."""
        self.size += len(data)
        self._cipher += self._writer.update(data)
        while len(self._cipher) >= PIECE:
            await self._commit(PIECE)

    async def finish(self) -> None:
        """The rest of the blob. Raises TryLater."""
        self._cipher += self._writer.finish()
        while self._cipher:
            await self._commit(PIECE)

    async def _commit(self, size: int) -> None:
        with memoryview(self._cipher) as view:
            piece = bytes(view[:size])
        async with connection(self._pool) as acquired:
            await acquired.execute(self._statement, *self._place, self._number, piece)
        del self._cipher[:size]
        self._number += 1


class LargeBody:
    """The body of a large message on its way to its owners: `begin`, `add`, and `finish` with the header.

    Until a transaction refers to it nobody sees it; what none ever refers to, the collector takes.
    """

    def __init__(self, pool: asyncpg.Pool, owner_ids: Sequence[int], salts: Salts) -> None:
        self._pool = pool
        self._owners = list(owner_ids)
        self._salts = salts
        self._content_id, self._message_key = new_content_id(), os.urandom(KEY_BYTES)
        writer = blob.BlobWriter(self._message_key, self._content_id, salts)
        self._pieces = Pieces(pool, writer, queries.ADD_PIECE, self._owners, self._content_id)

    async def begin(self) -> None:
        """Raises TryLater."""
        async with connection(self._pool) as acquired:
            await acquired.execute(queries.ADD_LARGE, self._owners, self._content_id)

    async def add(self, data: bytes | memoryview) -> None:
        """More of what stands behind the header. Raises TryLater."""
        await self._pieces.add(data)

    async def finish(self, header: bytes, summary: Summary) -> Prepared:
        """The message under this header. Raises TryLater."""
        await self._pieces.finish()
        return Prepared(
            self._content_id,
            len(header) + self._pieces.size,
            blob.encrypt(self._message_key, self._content_id, self._salts, summary.to_bytes(), _SUMMARY),
            blob.encrypt(self._message_key, self._content_id, self._salts, header, _HEADER),
            self._message_key,
            large=True,
        )


async def write(connection: asyncpg.Connection, key: OwnerKey, contents: Sequence[Prepared]) -> None:
    """Write content rows of a mailbox's own messages, in the caller's transaction; pieces were written before."""
    await connection.execute(
        queries.ADD_CONTENTS,
        key.owner_id,
        [prepared.content_id for prepared in contents],
        [prepared.size for prepared in contents],
        [key.wrap_message_key(prepared.content_id, prepared.message_key) for prepared in contents],
        [prepared.summary for prepared in contents],
        [prepared.body for prepared in contents],
        [prepared.content_id if prepared.large else None for prepared in contents],
    )


async def replace(connection: asyncpg.Connection, key: OwnerKey, prepared: Prepared) -> None:
    """Write another text over a content that no folder has yet, in the caller's transaction: the trail knows its id."""
    wrapped = key.wrap_message_key(prepared.content_id, prepared.message_key)
    place = key.owner_id, prepared.content_id
    await connection.execute(queries.REPLACE_CONTENT, *place, prepared.size, wrapped, prepared.summary, prepared.body)


async def summaries(
    connection: asyncpg.Connection, key: OwnerKey, content_ids: Sequence[bytes], salts: Salts
) -> dict[bytes, Summary]:
    """Summaries by content id, in the caller's transaction; what does not open is left out and logged."""
    found, fresh = opened(key, await reading.summaries(connection, key.owner_id, content_ids), salts)
    await rewrap(connection, key, fresh)
    return found


def opened(
    key: OwnerKey, rows: Sequence[asyncpg.Record], salts: Salts
) -> tuple[dict[bytes, Summary], list[tuple[bytes, bytes]]]:
    """The summaries that rows of `queries.CONTENTS` hold, by content id, and the keys that were still sealed.

    What does not open is left out and logged without its content.
    """
    found: dict[bytes, Summary] = {}
    fresh: list[tuple[bytes, bytes]] = []
    for row in rows:
        content_id = row["content_id"]
        try:
            message_key = key.message_key(content_id, row["key"], row["key_form"])
            found[content_id] = open_summary(message_key, content_id, salts, row["summary"])
        except CryptoError:
            log.error("content_damaged", owner=key.owner_id, content=content_id.hex(), part="summary")
            continue
        if row["key_form"] == SEALED_FORM:
            fresh.append((content_id, message_key))
    return found, fresh


async def bodies(
    connection: asyncpg.Connection, key: OwnerKey, content_ids: Sequence[bytes], salts: Salts
) -> dict[bytes, bytes]:
    """Whole messages by content id, one query; for small ones. What is large or does not open is left out."""
    found: dict[bytes, bytes] = {}
    for content_id, closed, form, cipher in await connection.fetch(queries.BODIES, key.owner_id, list(content_ids)):
        try:
            found[content_id] = blob.decrypt(key.message_key(content_id, closed, form), content_id, salts, cipher)
        except CryptoError:
            log.error("content_damaged", owner=key.owner_id, content=content_id.hex(), part="body")
    return found


def open_summary(message_key: bytes, content_id: bytes, salts: Salts, cipher: bytes) -> Summary:
    """Raises CryptoError when it does not open, or opens to what is no summary."""
    plain = blob.decrypt(message_key, content_id, salts, cipher, _SUMMARY)
    try:
        return Summary.from_bytes(plain)
    except (ValueError, TypeError, KeyError) as error:
        raise CryptoError("this summary cannot be understood") from error


async def body(
    reader: Reader, key: OwnerKey, content_id: bytes, start: int, end: int | None, salts: Salts, told: Reading | None
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Plain octets [start, end), of which only their chunks are read; and the message's key where it was sealed."""
    stop = _BEYOND if end is None else min(end, _BEYOND)
    if start >= stop:
        return b"", []
    begin, until = blob.cipher_range(start, stop, _BEYOND)
    rows = await reader.read(Wanted(key.owner_id, [content_id], begin, until, told))
    if not rows:
        raise Refused(Reason.NO_SUCH_MESSAGE, "This message is no longer there.")
    row = rows[0]
    try:
        message_key = key.message_key(content_id, row["key"], row["key_form"])
        size = row["size"]
        wanted = min(start, size), min(stop, size)
        if row["large"]:
            header = open_header(message_key, content_id, salts, row["part"])
            cut = max(0, wanted[0] - len(header)), max(0, wanted[1] - len(header))
            rest = await _from_pieces(reader.pool, key.owner_id, content_id, cut)
            plain = header[wanted[0] : wanted[1]]
            plain += (
                blob.decrypt_range(message_key, content_id, salts, *rest, *cut, size - len(header)) if rest else b""
            )
        else:
            plain = blob.decrypt_range(message_key, content_id, salts, row["part"], begin, row["header"], *wanted, size)
    except CryptoError:
        log.error("content_damaged", owner=key.owner_id, content=content_id.hex(), part="body")
        raise Refused(Reason.CONTENT_DAMAGED, "This message is damaged and cannot be opened.") from None
    return plain, [(content_id, message_key)] if row["key_form"] == SEALED_FORM else []


async def rewrap(connection: asyncpg.Connection, key: OwnerKey, fresh: Sequence[tuple[bytes, bytes]]) -> None:
    """First reading: close the message keys again with the mailbox's symmetric key, which opens 20 times faster.

    The reading does not depend on it: on a full disk it stays undone, and the jobs role comes by later.
    """
    if not fresh:
        return
    wrapped = [key.wrap_message_key(content_id, message_key) for content_id, message_key in fresh]
    try:
        contents = [content_id for content_id, _ in fresh]
        await connection.execute(queries.REWRAP, [key.owner_id] * len(fresh), contents, wrapped)
    except asyncpg.PostgresError as error:
        log.warning("rewrap_postponed", error=error)
        return
    metrics.REWRAPPED.inc(len(fresh))


def open_header(message_key: bytes, content_id: bytes, salts: Salts, cipher: bytes) -> bytes:
    """The header of a large message. Raises CryptoError."""
    return blob.decrypt(message_key, content_id, salts, cipher, _HEADER)


async def _from_pieces(
    pool: asyncpg.Pool, owner_id: int, content_id: bytes, wanted: tuple[int, int]
) -> tuple[bytes, int, bytes] | None:
    """The part of the blob that holds the octets wanted, where it begins in the blob, and the blob's header; None when
    nothing is wanted."""
    if wanted[0] >= wanted[1]:
        return None
    begin, until = blob.cipher_range(*wanted, _BEYOND)
    first = begin // PIECE
    async with connection(pool) as acquired:
        rows = await acquired.fetch(queries.PIECES, owner_id, content_id, first, (until - 1) // PIECE)
        header = await acquired.fetchval(queries.PIECE_HEADER, owner_id, content_id, blob.HEADER)
    return b"".join(row["data"] for row in rows), first * PIECE, header or b""
