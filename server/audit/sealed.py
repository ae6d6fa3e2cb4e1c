"""How the trail is sealed: who writes an event cannot read it back.

Each writing process has a key of some minutes, sealed with HPKE to the trail's reader, whose private half is wrapped in
the keyring. A detail is then one AES-GCM. The reader's public key is proven with an edge secret, so that who can write
to the database alone cannot put a key of their own there.
"""

from __future__ import annotations

import hmac
import json
import os
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from crypto.blind_index import token
from crypto.edge import EdgeKeys
from crypto.errors import IntegrityError
from crypto.keyring import Keyring
from crypto.sealing import KEY_BYTES, MailboxKey, open_sealed, seal, unwrap, wrap
from server.audit import queries

KEY_ID_BYTES = 16
MESSAGE_TOKEN_BYTES = 8
_READER_CONTEXT = b"caducee audit reader 1"


@dataclass(frozen=True, slots=True)
class WriterKey:
    """A writer's key as one process holds it. `made_at` is monotonic seconds."""

    key_id: bytes
    reader_id: int
    sealed: bytes
    made_at: float
    key: bytes = field(repr=False)

    def seal(self, kind: str, owner_id: int | None, detail: dict[str, Any]) -> bytes:
        """The detail as the row keeps it, bound to its kind and owner."""
        text = json.dumps(detail, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        return wrap(self.key, text, _context(kind, owner_id))


def new_writer_key(reader_id: int, public_key: bytes, now: float) -> WriterKey:
    """A fresh key sealed to the reader."""
    key_id, key = os.urandom(KEY_ID_BYTES), os.urandom(KEY_BYTES)
    return WriterKey(key_id, reader_id, seal(public_key, key, _key_info(key_id)), now, key)


async def make_reader(connection: asyncpg.Connection, keyring: Keyring, edge: EdgeKeys) -> None:
    """Give the trail its reader's key when it has none; idempotent. For the database's owner."""
    if await connection.fetchrow(queries.READER) is not None:
        return
    private = MailboxKey.generate()
    wrapped = wrap(keyring.identity_key, private.seeds(), _READER_CONTEXT)
    await connection.execute(queries.ADD_READER, private.public(), wrapped, _proof(edge, private.public()))


async def reader(connection: asyncpg.Connection, edge: EdgeKeys) -> tuple[int, bytes]:
    """The trail's reader: (id, public key). Raises IntegrityError when there is none that our edge secret proves."""
    row = await connection.fetchrow(queries.READER)
    if row is None or not hmac.compare_digest(row["proof"], _proof(edge, row["public_key"])):
        raise IntegrityError("the trail has no proven reader: run `caducee init` or `caducee db upgrade`")
    return row["reader_id"], row["public_key"]


class TrailReader:
    """Opens details; each reader's and writer's key is unwrapped once."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._readers: dict[int, MailboxKey] = {}
        self._writers: dict[bytes, bytes] = {}

    def detail(self, row: asyncpg.Record) -> dict[str, Any]:
        """The detail of a row of the queries that read. Raises IntegrityError."""
        key_id = bytes(row["key_id"])
        if key_id not in self._writers:
            self._writers[key_id] = open_sealed(self._private(row), row["sealed"], _key_info(key_id))
        plain = unwrap(self._writers[key_id], row["detail"], _context(row["kind"], row["owner_id"]))
        detail: dict[str, Any] = json.loads(plain)
        return detail

    def _private(self, row: asyncpg.Record) -> MailboxKey:
        if row["reader_id"] not in self._readers:
            seeds = unwrap(self._keyring.identity_key, row["wrapped_private_key"], _READER_CONTEXT)
            self._readers[row["reader_id"]] = MailboxKey.from_seeds(seeds)
        return self._readers[row["reader_id"]]


def actor_token(edge: EdgeKeys, actor: str) -> bytes:
    """By whom, searchable by those who hold the edge's pseudonym key and know the name."""
    return token(edge.pseudonym, f"actor {actor}")


def message_token(edge: EdgeKeys, message_id: str) -> bytes:
    """Which message, by its Message-ID without brackets; short, for a coincidence shows when the detail opens."""
    return token(edge.pseudonym, f"message {message_id}")[:MESSAGE_TOKEN_BYTES]


def _proof(edge: EdgeKeys, public_key: bytes) -> bytes:
    return hmac.digest(edge.address, b"caducee audit reader 1\0" + public_key, "sha256")


def _key_info(key_id: bytes) -> bytes:
    return b"caducee audit key 1\0" + key_id


def _context(kind: str, owner_id: int | None) -> bytes:
    return f"caducee audit 1\0{kind}\0{'' if owner_id is None else owner_id}".encode()
