"""A role's pool: its own user, its limits, and a server that goes away and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import asyncpg
import pytest

from server.base.errors import Reason, TryLater
from server.base.sections import Database as DatabaseSettings
from server.base.settings import Settings
from server.db import pool as database_pool
from server.db.embedded import EmbeddedPostgres
from server.db.migrate import upgrade
from server.db.pool import access, trouble
from tests.conftest import Database


async def test_signs_in_as_its_own_user_and_ends_a_long_statement(database: Database) -> None:
    pool = await database.pool("imap")
    try:
        assert await pool.fetchval("SELECT current_user") == "caducee_imap"
        assert await pool.fetchval("SHOW application_name") == "caducee_imap"
        async with pool.acquire() as connection:
            await connection.execute("SET statement_timeout = '10ms'")
            with pytest.raises(asyncpg.QueryCanceledError) as caught:
                await connection.execute("SELECT pg_sleep(30)")
            answer = trouble(caught.value)
            assert answer is not None
            assert answer.reason is Reason.STORE_AWAY
    finally:
        await pool.close()


def test_an_access_hides_its_secrets(database_settings: Settings) -> None:
    way = access(database_settings, "imap")
    assert way.password not in repr(way)
    assert way.dsn not in repr(way)


@pytest.fixture
def database_settings(cluster: EmbeddedPostgres) -> Settings:
    dsn = cluster.dsn()
    return Settings(home=cluster.home, domain="msg.exemple.fr", database=DatabaseSettings(dsn=dsn))


async def test_finds_a_killed_server_again_by_itself(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path) as postgres:
        await upgrade(postgres.dsn(), tmp_path / "keys", [])
        settings = Settings(home=tmp_path, domain="msg.exemple.fr")
        pool = await database_pool.connect(settings, "jobs")
        assert await pool.fetchval("SELECT 1") == 1
        pid = postgres.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await postgres.wait()
        with pytest.raises(database_pool.AWAY) as caught:
            await pool.fetchval("SELECT 1")
        assert isinstance(trouble(caught.value), TryLater)
        await postgres.start()
        assert await pool.fetchval("SELECT 1") == 1
        await pool.close()


async def test_waits_for_a_server_that_is_not_there_yet_and_gives_up_in_the_domains_words(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path) as postgres:
        await upgrade(postgres.dsn(), tmp_path / "keys", [])
    settings = Settings(home=tmp_path, domain="msg.exemple.fr")
    with pytest.raises(TryLater) as caught:
        await database_pool.connect(settings, "jobs", patience=0)
    assert caught.value.reason is Reason.STORE_AWAY
    waiting = asyncio.create_task(database_pool.connect(settings, "jobs"))
    async with EmbeddedPostgres(tmp_path):
        pool = await waiting
        assert await pool.fetchval("SELECT 1") == 1
        await pool.close()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (asyncpg.DiskFullError("no space"), Reason.STORE_FULL),
        (asyncpg.TooManyConnectionsError("too many"), Reason.STORE_AWAY),
        (ConnectionRefusedError(), Reason.STORE_AWAY),
        (asyncpg.AdminShutdownError("leaving"), Reason.STORE_AWAY),
        (TimeoutError(), Reason.STORE_AWAY),
        (asyncpg.InternalClientError("cannot switch to state 12"), Reason.STORE_AWAY),
        (asyncpg.UniqueViolationError("taken"), None),
        (ValueError("ours"), None),
    ],
)
def test_an_error_is_told_in_the_domains_words(error: Exception, reason: Reason | None) -> None:
    answer = trouble(error)
    assert (answer.reason if answer else None) == reason
