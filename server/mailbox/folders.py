"""Folders of one mailbox: list, create, rename, delete, subscribe. Names are encrypted, found by token.

Commands that change the set of folders hold the owner's row, so that two of them never pass each other. A new folder is
subscribed only if its name was before: a subscription is to a name, and outlives the folder (RFC 9051 §6.3.7).
"""

from __future__ import annotations

import asyncio

import asyncpg

from server.base.errors import Reason, Refused
from server.base.limits import FOLDERS_PER_OWNER
from server.db.gathered import Gathered
from server.mailbox import commands, names, queries, views
from server.mailbox.keys import OwnerKey
from server.mailbox.model import INBOX_ID, SEPARATOR, Folder, FolderState
from server.mailbox.trouble import connection

SUBSCRIPTION = "subscription"  # what its wrapped name is bound to


async def listed(connection: asyncpg.Connection, key: OwnerKey) -> list[Folder]:
    """All folders, INBOX first, then by name."""
    found = [_folder(key, row) for row in await connection.fetch(queries.FOLDERS, key.owner_id)]
    return sorted(found, key=lambda folder: (folder.folder_id != INBOX_ID, folder.name))


async def named(connection: asyncpg.Connection, key: OwnerKey, name: str) -> Folder:
    """Raises Refused(NO_SUCH_FOLDER), also for what cannot be a name."""
    row = await connection.fetchrow(queries.FOLDER_NAMED, key.owner_id, _token(key, name))
    if row is None:
        raise _no_such_folder()
    return _folder(key, row)


class Opener:
    """Folders with their counters, found for all sessions that ask at the same time."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._gathered = Gathered(self._ask)

    def find(self, owner_id: int, token: bytes) -> asyncio.Future[asyncpg.Record | None]:
        """The row of `queries.FOLDERS_OPENED`, to be awaited."""
        return self._gathered.ask((owner_id, token))

    async def _ask(self, wanted: list[tuple[int, bytes]]) -> list[asyncpg.Record | None]:
        found: list[asyncpg.Record | None] = [None] * len(wanted)
        async with connection(self._pool) as acquired:
            for row in await acquired.fetch(queries.FOLDERS_OPENED, *map(list, zip(*wanted, strict=True))):
                found[row["question"] - 1] = row
        return found


async def opened(opener: Opener, key: OwnerKey, name: str) -> tuple[Folder, FolderState]:
    """The folder and its counters, of one snapshot. Raises as `named`."""
    row = await opener.find(key.owner_id, _token(key, name))
    if row is None:
        raise _no_such_folder()
    return _folder(key, row), views.state(row["folder_id"], row)


def _token(key: OwnerKey, name: str) -> bytes:
    try:
        return key.name_token(names.normalise(name))
    except Refused:
        raise _no_such_folder() from None


async def create(connection: asyncpg.Connection, key: OwnerKey, name: str, special_use: str | None) -> Folder:
    """Creates the folder and those above it that are missing (RFC 9051 §6.3.4)."""
    # RFC 9051 §6.3.4: a separator at the end says that folders below will follow; it is not part of the name.
    wanted = names.normalise(name.removesuffix(SEPARATOR))
    if special_use is not None and special_use not in names.SPECIAL_USES:
        raise Refused(Reason.BAD_SPECIAL_USE, "No folder can have that special use.")
    async with connection.transaction():
        await connection.execute(queries.LOCK_OWNER, key.owner_id)
        folders = await listed(connection, key)
        known = {folder.name for folder in folders}
        if wanted in known:
            raise Refused(Reason.FOLDER_EXISTS, "There is already a folder of that name.")
        if special_use is not None and any(folder.special_use == special_use for folder in folders):
            raise Refused(Reason.BAD_SPECIAL_USE, "Another folder has that special use.")
        missing = [parent for parent in names.parents(wanted) if parent not in known]
        if len(known) + len(missing) >= FOLDERS_PER_OWNER:
            raise Refused(Reason.LIMIT_REACHED, f"A mailbox has {FOLDERS_PER_OWNER} folders at most.")
        for parent in missing:
            await _add(connection, key, parent, None)
        return await _add(connection, key, wanted, special_use)


async def rename(connection: asyncpg.Connection, key: OwnerKey, name: str, new_name: str) -> Folder:
    """Renames a folder and all below it; of INBOX only the messages move (RFC 9051 §6.3.6)."""
    wanted = names.normalise(new_name.removesuffix(SEPARATOR))
    async with connection.transaction():
        await connection.execute(queries.LOCK_OWNER, key.owner_id)
        folder = await named(connection, key, name)
        known = await listed(connection, key)
        if any(other.name == wanted for other in known):
            raise Refused(Reason.FOLDER_EXISTS, "There is already a folder of that name.")
        if wanted.startswith(folder.name + SEPARATOR) and folder.folder_id != INBOX_ID:
            raise Refused(Reason.BAD_FOLDER_NAME, "A folder cannot go below itself.")
        for parent in names.parents(wanted):
            if all(other.name != parent for other in known):
                await _add(connection, key, parent, None)
        if folder.folder_id == INBOX_ID:
            target = await _add(connection, key, wanted, None)
            await commands.move_all(connection, key.owner_id, INBOX_ID, target.folder_id)
            return target
        for other in known:
            if other.folder_id == folder.folder_id or other.name.startswith(folder.name + SEPARATOR):
                moved = names.normalise(wanted + other.name[len(folder.name) :])
                wrapped, token = key.folder_name(other.folder_id, moved), key.name_token(moved)
                await connection.execute(queries.RENAME, key.owner_id, other.folder_id, wrapped, token)
        return Folder(folder.folder_id, wanted, folder.uidvalidity, folder.special_use, folder.subscribed)


async def delete(connection: asyncpg.Connection, key: OwnerKey, name: str) -> Folder:
    """Deletes a folder and its messages; those below it stay (RFC 9051 §6.3.5)."""
    async with connection.transaction():
        await connection.execute(queries.LOCK_OWNER, key.owner_id)
        folder = await named(connection, key, name)
        if folder.folder_id == INBOX_ID:
            raise Refused(Reason.FOLDER_PROTECTED, "INBOX cannot be deleted.")
        # The lock comes first: a delivery that holds it is seen by the release, one that waits finds no folder.
        await connection.execute(queries.LOCK_FOLDERS, key.owner_id, [folder.folder_id])
        if folder.subscribed:
            token = key.name_token(folder.name)
            kept = key.wrap_own(SUBSCRIPTION, token, folder.name.encode())
            await connection.execute(queries.KEEP_SUBSCRIPTION, key.owner_id, token, kept, FOLDERS_PER_OWNER)
        await connection.execute(queries.RELEASE_FOLDER, key.owner_id, folder.folder_id)
        await connection.execute(queries.DELETE_FOLDER, key.owner_id, folder.folder_id)
    return folder


async def subscribe(connection: asyncpg.Connection, key: OwnerKey, name: str, subscribed: bool) -> None:
    """Raises Refused(NO_SUCH_FOLDER): there is neither such a folder nor such a subscription."""
    try:
        token = key.name_token(names.normalise(name))
    except Refused:
        raise _no_such_folder() from None
    if await connection.fetchval(queries.SUBSCRIBE, key.owner_id, token, subscribed):
        return
    known = queries.IS_SUBSCRIBED if subscribed else queries.END_SUBSCRIPTION
    if not await connection.fetchval(known, key.owner_id, token):
        raise _no_such_folder()


async def kept_subscriptions(connection: asyncpg.Connection, key: OwnerKey) -> list[str]:
    """The subscribed names that no folder has, in order."""
    rows = await connection.fetch(queries.KEPT_SUBSCRIPTIONS, key.owner_id)
    return sorted(subscribed_name(key, row["name_token"], row["name"]) for row in rows)


def subscribed_name(key: OwnerKey, token: bytes, wrapped: bytes) -> str:
    """The name of a subscription that no folder has. Raises IntegrityError."""
    return key.unwrap_own(SUBSCRIPTION, token, wrapped).decode()


async def _add(connection: asyncpg.Connection, key: OwnerKey, name: str, special_use: str | None) -> Folder:
    number = await connection.fetchval(queries.NEXT_FOLDER, key.owner_id)
    subscribed = await connection.fetchval(
        queries.ADD_FOLDERS,
        [key.owner_id],
        [number],
        [key.folder_name(number, name)],
        [key.name_token(name)],
        [special_use],
        False,
    )
    return Folder(number, name, number, special_use, subscribed)


def _folder(key: OwnerKey, row: asyncpg.Record) -> Folder:
    name = key.open_folder_name(row["folder_id"], row["name"])
    return Folder(row["folder_id"], name, row["uidvalidity"], row["special_use"], row["subscribed"])


def _no_such_folder() -> Refused:
    return Refused(Reason.NO_SUCH_FOLDER, "There is no such folder.")
