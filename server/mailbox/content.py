"""Content at rest: one random key a message, body and summary encrypted with it, the key closed to its owner.

The body's ciphertext is the same for all recipients of a message; each has a row of its own, with the key sealed to it.
Past 1 MiB the ciphertext is committed in pieces before the transaction that refers to it.
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
from server.mailbox import queries
from server.mailbox.keys import SEALED_FORM, OwnerKey

LARGE_BODY = MIB  # a row past this makes the accept transaction slow for everybody in its group
PIECE = MIB  # bytes of ciphertext in one row of body_piece
_BEYOND = 2**30  # past every body; PostgreSQL cuts what is read to what is there
_SUMMARY = b"summary"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message encrypted and ready to be written. `size` counts plain octets, `body` is the whole blob."""

    content_id: bytes
    size: int
    summary: bytes = field(repr=False)
    body: bytes = field(repr=False)
    message_key: bytes = field(repr=False)

    @property
    def large(self) -> bool:
        """Whether the body goes into pieces, ahead of the transaction."""
        return len(self.body) > LARGE_BODY


def prepare(data: bytes, summary: Summary, salts: Salts) -> Prepared:
    """Encrypt a message's text and its summary under a key of its own."""
    content_id, message_key = new_content_id(), os.urandom(KEY_BYTES)
    return Prepared(
        content_id,
        len(data),
        blob.encrypt(message_key, content_id, salts, summary.to_bytes(), _SUMMARY),
        blob.encrypt(message_key, content_id, salts, data),
        message_key,
    )


async def write_pieces(connection: asyncpg.Connection, owner_ids: Sequence[int], prepared: Prepared) -> None:
    """Commit a large body for each owner, a piece a statement: no transaction stays open."""
    owners = list(owner_ids)
    await connection.execute(queries.ADD_LARGE, owners, prepared.content_id)
    for number, start in enumerate(range(0, len(prepared.body), PIECE)):
        piece = prepared.body[start : start + PIECE]
        await connection.execute(queries.ADD_PIECE, owners, prepared.content_id, number, piece)


async def write(connection: asyncpg.Connection, key: OwnerKey, contents: Sequence[Prepared]) -> None:
    """Write content rows of a mailbox's own messages, in the caller's transaction; pieces were written before."""
    await connection.execute(
        queries.ADD_CONTENTS,
        key.owner_id,
        [prepared.content_id for prepared in contents],
        [prepared.size for prepared in contents],
        [key.wrap_message_key(prepared.content_id, prepared.message_key) for prepared in contents],
        [prepared.summary for prepared in contents],
        [None if prepared.large else prepared.body for prepared in contents],
        [prepared.content_id if prepared.large else None for prepared in contents],
    )


async def summaries(
    connection: asyncpg.Connection, key: OwnerKey, content_ids: Sequence[bytes], salts: Salts
) -> dict[bytes, Summary]:
    """Summaries by content id, one query; what does not open is left out and logged without its content."""
    found: dict[bytes, Summary] = {}
    fresh: list[tuple[bytes, bytes]] = []
    for content_id, closed, form, cipher in await connection.fetch(queries.SUMMARIES, key.owner_id, list(content_ids)):
        try:
            message_key = key.message_key(content_id, closed, form)
            found[content_id] = open_summary(message_key, content_id, salts, cipher)
        except CryptoError:
            log.error("content_damaged", owner=key.owner_id, content=content_id.hex(), part="summary")
            continue
        if form == SEALED_FORM:
            fresh.append((content_id, message_key))
    await rewrap(connection, key, fresh)
    return found


def open_summary(message_key: bytes, content_id: bytes, salts: Salts, cipher: bytes) -> Summary:
    """Raises CryptoError when it does not open, or opens to what is no summary."""
    plain = blob.decrypt(message_key, content_id, salts, cipher, _SUMMARY)
    try:
        return Summary.from_bytes(plain)
    except (ValueError, TypeError, KeyError) as error:
        raise CryptoError("this summary cannot be understood") from error


async def body(
    connection: asyncpg.Connection, key: OwnerKey, content_id: bytes, start: int, end: int | None, salts: Salts
) -> bytes:
    """Plain octets [start, end); only the chunks that hold them are read."""
    stop = _BEYOND if end is None else min(end, _BEYOND)
    if start >= stop:
        return b""
    begin, until = blob.cipher_range(start, stop, _BEYOND)
    row = await connection.fetchrow(queries.BODY, key.owner_id, content_id, begin, until, blob.HEADER)
    if row is None:
        raise Refused(Reason.NO_SUCH_MESSAGE, "This message is no longer there.")
    try:
        message_key = key.message_key(content_id, row["key"], row["key_form"])
        part, header, offset = row["part"], row["header"], begin
        if row["large"]:
            part, header, offset = await _from_pieces(connection, key.owner_id, content_id, begin, until)
        size = row["size"]
        plain = blob.decrypt_range(
            message_key, content_id, salts, part, offset, header, min(start, size), min(stop, size), size
        )
    except CryptoError:
        log.error("content_damaged", owner=key.owner_id, content=content_id.hex(), part="body")
        raise Refused(Reason.CONTENT_DAMAGED, "This message is damaged and cannot be opened.") from None
    if row["key_form"] == SEALED_FORM:
        await rewrap(connection, key, [(content_id, message_key)])
    return plain


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


async def _from_pieces(
    connection: asyncpg.Connection, owner_id: int, content_id: bytes, begin: int, until: int
) -> tuple[bytes, bytes, int]:
    first = begin // PIECE
    rows = await connection.fetch(queries.PIECES, owner_id, content_id, first, (until - 1) // PIECE)
    header = await connection.fetchval(queries.PIECE_HEADER, owner_id, content_id, blob.HEADER)
    return b"".join(row["data"] for row in rows), header or b"", first * PIECE
