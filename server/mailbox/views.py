"""Reading folders: counters, whole views and what changed since. What is returned together is of one snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from server.base.errors import Reason, Refused
from server.mailbox import queries
from server.mailbox.keys import OwnerKey
from server.mailbox.model import Changes, Folder, FolderState, View
from server.mailbox.table import Table


async def states(
    connection: asyncpg.Connection, owner_id: int, folder_ids: Sequence[int] | None
) -> dict[int, FolderState]:
    """Counters by folder id."""
    if folder_ids is None:
        rows = await connection.fetch(queries.STATES, owner_id)
    else:
        rows = await connection.fetch(queries.SOME_STATES, owner_id, list(folder_ids))
    return {row["folder_id"]: state(row["folder_id"], row) for row in rows}


async def deleted_bytes(connection: asyncpg.Connection, owner_id: int) -> dict[int, int]:
    """Octets of the messages with \\Deleted by folder id; folders without such are left out."""
    return {row["folder_id"]: row["octets"] for row in await connection.fetch(queries.DELETED_BYTES, owner_id)}


async def view(connection: asyncpg.Connection, key: OwnerKey, folder_id: int) -> View:
    """The folder with all its rows."""
    row = await connection.fetchrow(queries.VIEW, key.owner_id, folder_id)
    if row is None:
        raise no_such_folder()
    name = key.open_folder_name(folder_id, row["name"])
    folder = Folder(folder_id, name, row["uidvalidity"], row["special_use"], row["subscribed"])
    return View(folder, state(folder_id, row), table(row))


async def changes(connection: asyncpg.Connection, owner_id: int, folder_id: int, since_modseq: int) -> Changes:
    """What happened after a modseq; past the log's horizon the whole folder is read instead."""
    row = await connection.fetchrow(queries.CHANGES, owner_id, folder_id, since_modseq)
    if row is None:
        raise no_such_folder()
    if since_modseq >= row["changes_from"]:
        return Changes(state(folder_id, row), table(row), _spans(row["vanished"]), True)
    row = await connection.fetchrow(queries.VIEW, owner_id, folder_id)
    if row is None:
        raise no_such_folder()
    found, now = table(row), state(folder_id, row)
    return Changes(now, found.changed_since(since_modseq), missing(found.uids, now.uidnext), False)


async def vanished(
    connection: asyncpg.Connection, owner_id: int, folder_id: int, since_modseq: int
) -> list[tuple[int, int]] | None:
    """Inclusive ranges of the uids removed after a modseq; None where the log was trimmed past it."""
    row = await connection.fetchrow(queries.VANISHED, owner_id, folder_id, since_modseq)
    if row is None:
        raise no_such_folder()
    return _spans(row["vanished"]) if since_modseq >= row["changes_from"] else None


async def claim_recent(connection: asyncpg.Connection, owner_id: int, folder_id: int, end: int) -> int | None:
    """Messages below uid `end` that no session was told of are the caller's; the first of them, None for none."""
    first: int | None = await connection.fetchval(queries.CLAIM_RECENT, owner_id, folder_id, end)
    return first


def _spans(multirange: Sequence[Any] | None) -> list[tuple[int, int]]:
    # int4multirange comes with exclusive upper bounds.
    return [(span.lower, span.upper - 1) for span in multirange or ()]


def missing(uids: Sequence[int], uidnext: int) -> list[tuple[int, int]]:
    """The inclusive ranges below uidnext in which no uid of the sorted list lies."""
    ranges, expected = [], 1
    for uid in [*uids, uidnext]:
        if uid > expected:
            ranges.append((expected, uid - 1))
        expected = uid + 1
    return ranges


def no_such_folder() -> Refused:
    """What is said when a folder went away."""
    return Refused(Reason.NO_SUCH_FOLDER, "There is no such folder.")


def state(folder_id: int, row: asyncpg.Record) -> FolderState:
    """The counters that a row holds."""
    return FolderState(
        folder_id,
        row["uidnext"],
        row["highestmodseq"],
        row["messages"],
        row["unseen"],
        row["deleted"],
        row["bytes"],
        row["recent_from"],
    )


def table(row: asyncpg.Record) -> Table:
    """The messages that a row holds in columns."""
    if row["uids"] is None:
        return Table()
    return Table.packed(
        row["uids"],
        row["contents"],
        row["flags"],
        row["internaldates"],
        row["savedates"],
        row["modseqs"],
        row["sizes"],
        zip(row["named"] or (), row["keywords"] or (), strict=True),
    )
