"""Migrations: applied once, in order, whole or not at all; an edited or unknown one is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from server.db.migrate import Migration, MigrationError, pending, read, upgrade
from tests.conftest import Database

ONE = Migration(901, "one", "CREATE TABLE one (id int); GRANT SELECT ON one TO caducee_reader;")
TWO = Migration(902, "two", "CREATE TABLE two (id int);")


async def apply(database: Database, *more: Migration) -> list[int]:
    keys = database.settings.keys_directory
    return [m.number for m in await upgrade(database.dsn(), keys, [*read(), *more])]


async def test_each_file_is_applied_once(database: Database) -> None:
    assert await apply(database, ONE) == [901]
    assert await apply(database, ONE, TWO) == [902]
    assert await apply(database, ONE, TWO) == []


async def test_two_upgrades_at_once_apply_a_file_once(database: Database) -> None:
    applied = await asyncio.gather(*(apply(database, ONE, TWO) for _ in range(4)))
    assert sorted(applied) == [[], [], [], [901, 902]]


async def test_an_edited_file_is_refused(database: Database) -> None:
    await apply(database, ONE)
    with pytest.raises(MigrationError, match="901_one was edited"):
        await apply(database, Migration(901, "one", ONE.sql + " "))


async def test_a_newer_database_is_refused(database: Database) -> None:
    await apply(database, ONE)
    with pytest.raises(MigrationError, match="newer than this program: it has migration 901_one"):
        await apply(database)


async def test_a_failing_file_takes_the_whole_upgrade_back(database: Database) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        await apply(database, ONE, Migration(902, "two", "INSERT INTO nowhere VALUES (1);"))
    connection = await database.connect()
    try:
        assert [m.number for m in await pending(connection, [*read(), ONE])] == [901]
        assert await connection.fetchval("SELECT to_regclass('one')") is None
    finally:
        await connection.close()


@pytest.mark.parametrize(("names", "said"), [(["1_a.sql"], "NNN_name"), (["001_a.sql", "001_b.sql"], "this number")])
def test_names_are_checked(tmp_path: Path, names: list[str], said: str) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match=said):
        read(tmp_path)
