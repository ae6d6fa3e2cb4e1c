"""Keys of folders, by which a URL proves that the mailbox's holder made it (RFC 4467): one each, until it is reset."""

from __future__ import annotations

import os

import asyncpg

from server.mailbox.beside import queries
from server.mailbox.keys import OwnerKey

LABEL = "url key"  # binds what is sealed to this use
_BYTES = 32


async def known(connection: asyncpg.Connection, key: OwnerKey, folder_id: int) -> bytes | None:
    """The folder's key, None where it has none. Raises IntegrityError."""
    sealed = await connection.fetchval(queries.URL_KEY, key.owner_id, folder_id)
    return None if sealed is None else opened(key, folder_id, sealed)


async def made(connection: asyncpg.Connection, key: OwnerKey, folder_id: int) -> bytes:
    """The folder's key, made now where it has none."""
    sealed = key.wrap_own(LABEL, str(folder_id).encode(), os.urandom(_BYTES))
    await connection.execute(queries.ADD_URL_KEY, key.owner_id, folder_id, sealed)
    stored = await connection.fetchval(queries.URL_KEY, key.owner_id, folder_id)
    return opened(key, folder_id, stored)


async def drop(connection: asyncpg.Connection, owner_id: int, folder_id: int | None) -> None:
    """Forget the key of a folder, or of all of the mailbox's: no URL made until now opens or hands over anything."""
    await connection.execute(queries.DROP_URL_KEYS, owner_id, folder_id)
    await connection.execute(queries.DROP_HANDED_OF, owner_id, folder_id)


def opened(key: OwnerKey, folder_id: int, sealed: bytes) -> bytes:
    """Raises IntegrityError."""
    return key.unwrap_own(LABEL, str(folder_id).encode(), sealed)
