"""Annotations of a mailbox and of its folders (IMAP METADATA, RFC 5464): short texts under names, shared or a reader's.

Names are lower case, since they compare in any; names and values are sealed under the mailbox's key, because "to call
back: M. Martin" is what people write there.
"""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

from crypto.errors import IntegrityError
from server.base.errors import Reason, Refused
from server.base.limits import METADATA_BYTES, METADATA_ENTRIES
from server.mailbox import queries as mailbox_queries
from server.mailbox.beside import queries
from server.mailbox.keys import OwnerKey

PRIVATE = "/private/"
LABEL = "annotation"  # binds what is sealed to this use

# Folder (None: the mailbox as a whole) → name → value.
Annotations = dict[int | None, dict[str, bytes]]


async def seen_by(connection: asyncpg.Connection, key: OwnerKey, reader_id: int) -> Annotations:
    """All that this reader may read. Raises IntegrityError when a row was moved or changed."""
    found: Annotations = {}
    for row in await connection.fetch(queries.ANNOTATIONS, key.owner_id, reader_id):
        name, value = opened(key, row)
        found.setdefault(row["folder_id"], {})[name] = value
    return found


async def change(
    connection: asyncpg.Connection,
    key: OwnerKey,
    folder_id: int | None,
    reader_id: int,
    entries: Mapping[str, bytes | None],
) -> None:
    """Set entries, or remove those whose value is None; all or none. Those under /private/ are the reader's own.

    Raises Refused: LIMIT_REACHED (entries of one folder), MAILBOX_FULL (octets of all), NO_SUCH_FOLDER.
    """
    async with connection.transaction():
        await connection.execute(mailbox_queries.LOCK_OWNER, key.owner_id)
        for name, value in entries.items():
            reader = reader_id if name.startswith(PRIVATE) else None
            token = key.own_token(LABEL, name.encode())
            entry = key.owner_id, folder_id, reader, token
            if value is None:
                await connection.execute(queries.REMOVE_ANNOTATION, *entry)
                continue
            sealed = key.wrap_own(LABEL, place(folder_id, reader, token), name.encode() + b"\0" + value)
            try:
                await connection.execute(queries.SET_ANNOTATION, *entry, sealed)
            except asyncpg.ForeignKeyViolationError:
                raise Refused(Reason.NO_SUCH_FOLDER, "There is no such folder.") from None
            ((entries_there, octets),) = await connection.fetch(
                queries.COUNT_ANNOTATIONS, key.owner_id, folder_id, reader
            )
            if entries_there > METADATA_ENTRIES:
                raise Refused(Reason.LIMIT_REACHED, f"A folder has {METADATA_ENTRIES} annotations at most.")
            if octets > METADATA_BYTES:
                raise Refused(Reason.MAILBOX_FULL, "There is no more room for annotations.")


def opened(key: OwnerKey, row: asyncpg.Record) -> tuple[str, bytes]:
    """Name and value of a row. Raises IntegrityError when it is not this place's."""
    bound = place(row["folder_id"], row["reader_id"], row["token"])
    name, _, value = key.unwrap_own(LABEL, bound, row["sealed"]).partition(b"\0")
    if key.own_token(LABEL, name) != row["token"]:
        raise IntegrityError("this annotation has another's token")
    return name.decode(), value


def place(folder_id: int | None, reader_id: int | None, token: bytes) -> bytes:
    """What an entry is bound to."""
    return f"{folder_id or ''}/{reader_id or ''}/".encode() + token
