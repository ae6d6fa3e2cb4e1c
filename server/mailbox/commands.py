"""Commands that change a folder: flags, expunge, copy, move, append. Each step locks first, then acts, then logs.

A step is 1,000 messages at most. STORE, EXPUNGE and MOVE commit each step by itself (a phone that asks for 100,000 does
not stop deliveries); COPY and APPEND are all or nothing (RFC 9051 §6.4.7, §6.3.12), so their steps share a transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from server.base.errors import Reason, Refused
from server.base.limits import KEYWORDS_PER_MESSAGE, STEP_MESSAGES
from server.mailbox import marks, queries
from server.mailbox.model import Row, StoreResult
from server.mailbox.table import Table
from server.mailbox.views import no_such_folder, table

Progress = Callable[[int, int], None]  # called between steps: messages done, messages in all; quick
HIGHEST_UID = 2**31 - 1  # int4multirange; two thousand million messages in one folder come first


@dataclass(frozen=True, slots=True)
class Addition:
    """A message about to enter a folder."""

    content_id: bytes
    flags: int
    keywords: Sequence[str]
    internaldate: datetime
    size: int


async def store(
    connection: asyncpg.Connection,
    owner_id: int,
    folder_id: int,
    uids: Sequence[int],
    op: str,
    flags: int,
    keywords: Sequence[str],
    unchanged_since: int | None,
    progress: Progress | None,
) -> StoreResult:
    """Changes flags step by step. Raises Refused: NO_SUCH_FOLDER, LIMIT_REACHED."""
    words = list({word.lower(): word for word in reversed(keywords)}.values())[::-1]
    words = marks.clearable(words) if op == "remove" else marks.settable(words)
    rows = Table()
    conflicts: list[int] = []
    modseq, since, alone = 0, None, True
    for step in _steps(uids, progress):
        found = None
        # Flags alone take one statement, unless another command passed it; then, and to judge before, with the lock.
        if unchanged_since is None and not words:
            found = await connection.fetchrow(
                queries.STORE_FLAGS, owner_id, folder_id, step, op, int(flags), [], None, marks.LASTING
            )
        if found is None or found["lost"]:
            async with connection.transaction():
                await _lock(connection, owner_id, folder_id)
                if unchanged_since is not None:
                    before = await present(connection, owner_id, folder_id, step)
                    conflicts += [row.uid for row in before if row.modseq > unchanged_since]
                    step = [row.uid for row in before if row.modseq <= unchanged_since]
                found = await connection.fetchrow(
                    queries.STORE_FLAGS,
                    owner_id,
                    folder_id,
                    step,
                    op,
                    int(flags),
                    words,
                    unchanged_since,
                    marks.LASTING,
                )
                if found is None:
                    raise no_such_folder()
                if any(len(own) > KEYWORDS_PER_MESSAGE for own in table(found).keywords.values()):
                    raise Refused(Reason.LIMIT_REACHED, f"A message has {KEYWORDS_PER_MESSAGE} keywords at most.")
        rows.put(table(found))
        highest, moved = found["highest"], found["moved"]
        if since is not None:
            alone &= highest == modseq + moved
        elif moved:
            since = highest - 1
        modseq = highest
    return StoreResult(rows, conflicts, modseq, (modseq if since is None else since) if alone else None)


async def expunge(
    connection: asyncpg.Connection,
    owner_id: int,
    folder_id: int,
    uids: Sequence[int] | None,
    progress: Progress | None,
) -> list[int]:
    """Removes what carries \\Deleted, step by step; returns the uids."""
    wanted = None if uids is None else _valid(uids)
    candidates = [row["uid"] for row in await connection.fetch(queries.DELETED, owner_id, folder_id, wanted)]
    gone: list[int] = []
    for step in _steps(candidates, progress):
        async with connection.transaction():
            await _lock(connection, owner_id, folder_id)
            # A flag may have been taken away meanwhile: judged again under the lock.
            gone += [row["uid"] for row in await connection.fetch(queries.REMOVE, owner_id, folder_id, step, True)]
    return gone


async def copy(
    connection: asyncpg.Connection,
    owner_id: int,
    folder_id: int,
    uids: Sequence[int],
    target_id: int,
    progress: Progress | None,
) -> list[tuple[int, int]]:
    """Copies all or nothing; flags, keywords and INTERNALDATE go along (RFC 9051 §6.4.7)."""
    copied: list[tuple[int, int]] = []
    async with connection.transaction():
        await _lock(connection, owner_id, folder_id, target_id)
        for step in _steps(uids, progress):
            rows = await present(connection, owner_id, folder_id, step)
            new = await add(connection, owner_id, target_id, [_addition(row) for row in rows])
            copied += zip([row.uid for row in rows], new, strict=True)
    return copied


async def move(
    connection: asyncpg.Connection,
    owner_id: int,
    folder_id: int,
    uids: Sequence[int],
    target_id: int,
    progress: Progress | None,
) -> list[tuple[int, int]]:
    """Moves step by step; a message is in one of the two folders at every moment (RFC 6851 §3.3)."""
    moved: list[tuple[int, int]] = []
    for step in _steps(uids, progress):
        async with connection.transaction():
            await _lock(connection, owner_id, folder_id, target_id)
            moved += await _move_step(connection, owner_id, folder_id, step, target_id)
    return moved


async def move_all(connection: asyncpg.Connection, owner_id: int, folder_id: int, target_id: int) -> None:
    """Moves every message, in the caller's transaction (RENAME INBOX)."""
    await _lock(connection, owner_id, folder_id, target_id)
    uids = await connection.fetchval(queries.ALL_UIDS, owner_id, folder_id)
    for step in _steps(uids or ()):
        await _move_step(connection, owner_id, folder_id, step, target_id)


async def add(
    connection: asyncpg.Connection, owner_id: int, folder_id: int, additions: Sequence[Addition]
) -> list[int]:
    """Gives uids to messages in order, in the caller's transaction. Raises Refused(NO_SUCH_FOLDER)."""
    given: list[int] = []
    for start in range(0, len(additions), STEP_MESSAGES):
        step = additions[start : start + STEP_MESSAGES]
        rows = await connection.fetch(
            queries.ADD_MESSAGES,
            owner_id,
            folder_id,
            [message.content_id for message in step],
            [int(message.flags) for message in step],
            [" ".join(message.keywords) for message in step],
            [message.internaldate for message in step],
            [message.size for message in step],
        )
        if len(rows) != len(step):
            raise no_such_folder()
        given += sorted(row["uid"] for row in rows)
    return given


async def append(
    connection: asyncpg.Connection, owner_id: int, folder_id: int, additions: Sequence[Addition]
) -> list[int]:
    """Adds messages whose content is written, in the caller's transaction: content first, then the folder's lock."""
    await _lock(connection, owner_id, folder_id)
    return await add(connection, owner_id, folder_id, additions)


async def replace(
    connection: asyncpg.Connection, owner_id: int, folder_id: int, uid: int, target_id: int, addition: Addition
) -> int:
    """Adds a message whose content is written and removes another, in the caller's transaction.

    Raises Refused: NO_SUCH_FOLDER, NO_SUCH_MESSAGE.
    """
    await _lock(connection, owner_id, folder_id, target_id)
    (new,) = await add(connection, owner_id, target_id, [addition])
    if not await connection.fetch(queries.REMOVE, owner_id, folder_id, [uid], False):
        raise Refused(Reason.NO_SUCH_MESSAGE, "This message is no longer there.")
    return new


async def _move_step(
    connection: asyncpg.Connection, owner_id: int, folder_id: int, step: list[int], target_id: int
) -> list[tuple[int, int]]:
    rows = await present(connection, owner_id, folder_id, step)
    new = await add(connection, owner_id, target_id, [_addition(row) for row in rows])
    await connection.fetch(queries.REMOVE, owner_id, folder_id, [row.uid for row in rows], False)
    return list(zip([row.uid for row in rows], new, strict=True))


async def _lock(connection: asyncpg.Connection, owner_id: int, *folder_ids: int) -> None:
    """Both folders in their order. Raises Refused(NO_SUCH_FOLDER) when one is not there."""
    wanted = set(folder_ids)
    if len(await connection.fetch(queries.LOCK_FOLDERS, owner_id, list(wanted))) != len(wanted):
        raise no_such_folder()


async def present(connection: asyncpg.Connection, owner_id: int, folder_id: int, uids: Sequence[int]) -> list[Row]:
    """Those of these messages that are there, in order of uid."""
    return list(map(_row, await connection.fetch(queries.ROWS, owner_id, folder_id, uids)))


def _row(found: asyncpg.Record) -> Row:
    return Row(
        found["uid"],
        found["content_id"],
        found["flags"],
        tuple(found["keywords"]),
        found["internaldate"],
        found["savedate"],
        found["modseq"],
        found["size"],
    )


def _addition(row: Row) -> Addition:
    return Addition(row.content_id, row.flags, row.keywords, row.internaldate, row.size)


def _valid(uids: Sequence[int]) -> list[int]:
    return sorted({uid for uid in uids if 0 < uid <= HIGHEST_UID})


def _steps(uids: Sequence[int], progress: Progress | None = None) -> Iterator[list[int]]:
    ordered = _valid(uids)
    for start in range(0, len(ordered), STEP_MESSAGES):
        if progress is not None:
            progress(start, len(ordered))
        yield ordered[start : start + STEP_MESSAGES]
