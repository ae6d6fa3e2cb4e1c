"""The store checks itself: every invariant it lives by, in one snapshot. `caducee check`, and the end of every test.

Without the keyring: counters, references and the log. With it every key, name, summary and body is opened too.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg

from crypto import blob
from crypto.edge import EdgeKeys
from crypto.errors import CryptoError
from crypto.keyring import Keyring
from server.mail.gist import kept
from server.mailbox.beside import annotation, entrusted, signing_keys, url_keys
from server.mailbox.blocks import shelf
from server.mailbox.blocks.block import PARTS, WORDS
from server.mailbox.check import queries
from server.mailbox.content import open_header, open_summary
from server.mailbox.folders import subscribed_name
from server.mailbox.keys import OwnerKey, open_owner
from server.mailbox.model import OwnerKind, OwnerState
from server.mailbox.routes import proof

PAGE = 500  # owners read at a time; contents come through a cursor
CONTENTS_AT_ONCE = 20  # bodies in memory at a time


@dataclass(frozen=True, slots=True)
class Problem:
    """An invariant that does not hold, and where. No text of anybody's."""

    invariant: str
    owner_id: int | None
    where: str = ""

    def __str__(self) -> str:
        return f"{self.invariant} (owner {self.owner_id}{', ' + self.where if self.where else ''})"


_ROWS: tuple[tuple[str, str], ...] = (
    ("a message's content exists", queries.DANGLING_MESSAGES),
    ("a message has the size of its content", queries.SIZES),
    ("a folder has its counters and counters their folder", queries.FOLDERLESS_STATES),
    ("an owner has an address, INBOX, and folder numbers below its counter", queries.UNNAMED_OWNERS),
    ("unreferenced content is on the collector's list and collected in time", queries.ORPHANS),
    ("a large body has a message or is collected in time", queries.LARGE_ORPHANS),
    ("the change log does not run ahead of its folder", queries.CHANGES_AHEAD),
    ("every change since the log's beginning is in the log", queries.CHANGES_MISSING),
    ("what the log says vanished is gone", queries.VANISHED_PRESENT),
    ("a view block with something expunged goes in time", queries.BLOCKS_LEFT),
    ("a view block has its members", queries.BLOCKS_HEADLESS),
    ("a message in the queue is for somebody", queries.QUEUE_UNADDRESSED),
    ("a message in the queue is whole", queries.QUEUE_CUT),
)


async def check(
    connection: asyncpg.Connection, keyring: Keyring | None, edge: EdgeKeys, sample: int | None = None
) -> list[Problem]:
    """All problems found. `sample`: open only about this percentage of contents. For the database's owner."""
    async with connection.transaction():
        await connection.execute(queries.BEGIN)
        await connection.execute(queries.NO_TIMEOUT)
        return await problems_of(connection, keyring, edge, sample)


async def problems_of(
    connection: asyncpg.Connection, keyring: Keyring | None, edge: EdgeKeys, sample: int | None = None
) -> list[Problem]:
    """The same in the caller's transaction, whose statements should share one snapshot."""
    problems: list[Problem] = []
    for row in await connection.fetch(queries.COUNTERS):
        wrong = [name for name, right in row.items() if right is False]
        where = f"folder {row['folder_id']}: {', '.join(wrong)}"
        problems.append(Problem("counters equal rows", row["owner_id"], where))
    for invariant, statement in _ROWS:
        problems += [_problem(invariant, row) for row in await connection.fetch(statement)]
    problems += [problem async for problem in _proofs(connection, edge)]
    if keyring is not None:
        problems += [problem async for problem in _opened(connection, keyring, edge, sample)]
    return problems


def _problem(invariant: str, row: asyncpg.Record) -> Problem:
    places = [
        f"{name} {value.hex() if isinstance(value, bytes) else value}"
        for name, value in row.items()
        if name != "owner_id"
    ]
    return Problem(invariant, row["owner_id"], ", ".join(places))


async def _proofs(connection: asyncpg.Connection, edge: EdgeKeys) -> AsyncIterator[Problem]:
    async for row in connection.cursor(queries.PROOFS, 0, 2**31, prefetch=PAGE):
        expected = proof(edge, row["token"], row["owner_id"], row["public_key"])
        if not hmac.compare_digest(row["proof"], expected):
            yield Problem("an address is proven to lead to its owner's key", row["owner_id"])


async def _opened(
    connection: asyncpg.Connection, keyring: Keyring, edge: EdgeKeys, sample: int | None
) -> AsyncIterator[Problem]:
    last = 0
    while rows := await connection.fetch(queries.OWNERS, last, PAGE):
        for row in rows:
            last = row["owner_id"]
            if row["state"] == OwnerState.CLOSED:
                continue  # its keys may be destroyed, and that is right
            try:
                kind, state = OwnerKind(row["kind"]), OwnerState(row["state"])
                key = open_owner(keyring, last, kind, state, row["wrapped_private_key"], row["others"] or ())
                if key.private.public() != row["public_key"]:
                    yield Problem("an owner's public key is that of its private key", last)
                key.open_identity(row["identity"], row["identity_key"])
            except CryptoError:
                yield Problem("an owner's keys and identity open", last)
                continue
            async for problem in _folder_names(connection, key):
                yield problem
            async for problem in _annotations(connection, key):
                yield problem
            async for problem in _url_keys(connection, key):
                yield problem
            async for problem in _signing_keys(connection, key):
                yield problem
            async for problem in _entrusted(connection, key):
                yield problem
            async for problem in _contents(connection, key, edge, sample):
                yield problem
            async for problem in _blocks(connection, key, edge, sample):
                yield problem


async def _folder_names(connection: asyncpg.Connection, key: OwnerKey) -> AsyncIterator[Problem]:
    for folder_id, wrapped, token in await connection.fetch(queries.FOLDER_NAMES, key.owner_id):
        try:
            holds = hmac.compare_digest(key.name_token(key.open_folder_name(folder_id, wrapped)), token)
        except CryptoError:
            holds = False
        if not holds:
            yield Problem("a folder's name opens and has its token", key.owner_id, f"folder {folder_id}")
    for token, wrapped in await connection.fetch(queries.SUBSCRIPTIONS, key.owner_id):
        try:
            holds = hmac.compare_digest(key.name_token(subscribed_name(key, token, wrapped)), token)
        except CryptoError:
            holds = False
        if not holds:
            yield Problem("a subscription's name opens and has its token", key.owner_id)


async def _annotations(connection: asyncpg.Connection, key: OwnerKey) -> AsyncIterator[Problem]:
    for row in await connection.fetch(queries.ANNOTATIONS, key.owner_id):
        try:
            annotation.opened(key, row)
        except CryptoError:
            where = f"folder {row['folder_id'] or 'none'}, reader {row['reader_id'] or 'all'}"
            yield Problem("an annotation opens and has its token", key.owner_id, where)


async def _url_keys(connection: asyncpg.Connection, key: OwnerKey) -> AsyncIterator[Problem]:
    for row in await connection.fetch(queries.URL_KEYS, key.owner_id):
        try:
            url_keys.opened(key, row["folder_id"], row["sealed"])
        except CryptoError:
            yield Problem("the key of a folder's URLs opens", key.owner_id, f"folder {row['folder_id']}")


async def _signing_keys(connection: asyncpg.Connection, key: OwnerKey) -> AsyncIterator[Problem]:
    for row in await connection.fetch(queries.SIGNING_KEYS, key.owner_id):
        try:
            pair = signing_keys.opened(key, row["made_at"], row["sealed"])
            holds = pair.certificate.not_valid_after_utc == row["ends_at"]
        except CryptoError:
            holds = False
        if not holds:
            yield Problem("a signing key opens and ends with its certificate", key.owner_id)


async def _entrusted(connection: asyncpg.Connection, key: OwnerKey) -> AsyncIterator[Problem]:
    for row in await connection.fetch(queries.ENTRUSTED, key.owner_id):
        try:
            entrusted.opened(key, row)
        except CryptoError:
            yield Problem("an entrusted key opens and has its token", key.owner_id)


async def _contents(
    connection: asyncpg.Connection, key: OwnerKey, edge: EdgeKeys, sample: int | None
) -> AsyncIterator[Problem]:
    cursor = connection.cursor(queries.CONTENTS, key.owner_id, sample, prefetch=CONTENTS_AT_ONCE)
    async for row in cursor:
        content_id = row["content_id"]
        try:
            message_key = key.message_key(content_id, row["key"], row["key_form"])
            summary = open_summary(message_key, content_id, edge.salts, row["summary"])
            if row["large"]:
                header = open_header(message_key, content_id, edge.salts, row["body"])
                rest, octets = row["size"] - len(header), 0
                reader = blob.BlobReader(message_key, content_id, edge.salts, rest)
                async for piece in connection.cursor(queries.BODY_PIECES, key.owner_id, content_id, prefetch=1):
                    octets += len(piece["data"])
                    reader.update(piece["data"])
                is_whole = reader.complete and octets == blob.sealed_size(rest)
            else:
                is_whole = len(blob.decrypt(message_key, content_id, edge.salts, row["body"])) == row["size"]
        except CryptoError:
            yield Problem("a content's key, summary and body open", key.owner_id, content_id.hex())
            continue
        if not (is_whole and row["size"] == summary.size):
            yield Problem("a content has the size it says", key.owner_id, content_id.hex())


async def _blocks(
    connection: asyncpg.Connection, key: OwnerKey, edge: EdgeKeys, sample: int | None
) -> AsyncIterator[Problem]:
    """Every part of a block opens, and says of a message what the message says."""
    for folder_id, number, stale in await connection.fetch(queries.BLOCK_NUMBERS, key.owner_id, sample):
        where = f"folder {folder_id}, block {number}"
        one = (await shelf.read(connection, key, folder_id, [number], (*PARTS, WORDS))).get(number)
        if one is None or not one.has(PARTS):
            yield Problem("a view block opens", key.owner_id, where)
            continue
        at = {uid: place for place, uid in enumerate(one.members.uids)}
        lines = {name: column.split() for name, column in one.lines.items()}
        contents = one.members.each()
        rows = await connection.fetch(queries.BLOCK_ROWS, key.owner_id, folder_id, list(at))
        for row in rows:
            content_id, place = row["content_id"], at[row["uid"]]
            try:
                message_key = key.message_key(content_id, row["key"], row["key_form"])
                summary = open_summary(message_key, content_id, edge.salts, row["summary"])
            except CryptoError:
                continue  # told above: a content's key and summary do not open
            told = kept(summary.header)._asdict() if summary.header_complete else {}
            if contents[place] != content_id or any(lines[name][place] != line for name, line in told.items()):
                yield Problem("a view block says what its messages say", key.owner_id, f"{where}, uid {row['uid']}")
        if len(rows) < len(at) and not stale:
            yield Problem("a view block with something expunged is dated", key.owner_id, where)
