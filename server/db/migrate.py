"""Migrations: numbered plain SQL files, each applied once, in a transaction, with its checksum kept.

A file is never edited after it landed: `upgrade` refuses a database whose checksums differ, and one that is newer than
this program. Users, groups and all pending files go in one transaction: an upgrade happened or it did not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from server.db import queries
from server.db.grants import make_users

FOLDER = Path(__file__).with_name("migrations")
SMALLEST_SERVER = 150_000  # PostgreSQL 15, as server_version_num


class MigrationError(Exception):
    """The database and this program do not fit; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file `NNN_name.sql`."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> bytes:
        return hashlib.sha256(self.sql.encode()).digest()


def read(folder: Path = FOLDER) -> list[Migration]:
    """The migrations of a folder by number. Raises MigrationError: a name is no NNN_name.sql, a number twice."""
    found: dict[int, Migration] = {}
    for file in sorted(folder.glob("*.sql")):
        match = re.fullmatch(r"(\d{3})_([a-z0-9_]+)", file.stem)
        if match is None:
            raise MigrationError(f"{file.name}: a migration is called NNN_name.sql")
        number = int(match[1])
        if number in found:
            raise MigrationError(f"{file.name}: {found[number].name} has this number")
        found[number] = Migration(number, match[2], file.read_text(encoding="utf-8"))
    return [found[number] for number in sorted(found)]


async def pending(connection: asyncpg.Connection, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """What `upgrade` would apply. Raises MigrationError: an applied file was edited, or is unknown here."""
    known = {migration.number: migration for migration in (read() if migrations is None else migrations)}
    if await connection.fetchval(queries.LIST_EXISTS):
        for number, name, checksum in await connection.fetch(queries.APPLIED):
            migration = known.pop(number, None)
            if migration is None:
                raise MigrationError(f"the database is newer than this program: it has migration {number:03}_{name}")
            if migration.checksum != checksum:
                raise MigrationError(f"migration {number:03}_{name} was edited after it was applied")
    return list(known.values())


async def upgrade(dsn: str, keys: Path, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """Make users and groups, apply what is pending; returns what was applied. `dsn` is the owner's (caducee_admin).

    Raises MigrationError (see `pending`; or a server older than PostgreSQL 15); an error in a file is PostgreSQL's.
    """
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            if await connection.fetchval(queries.SERVER_VERSION) < SMALLEST_SERVER:
                raise MigrationError("PostgreSQL 15 or newer is needed")
            await connection.execute(queries.LOCK_UPGRADE)
            todo = await pending(connection, migrations)
            await make_users(connection, keys)
            await connection.execute(queries.CREATE_LIST)
            for migration in todo:
                await connection.execute(migration.sql)
                await connection.execute(queries.RECORD, migration.number, migration.name, migration.checksum)
            return todo
    finally:
        await connection.close()
