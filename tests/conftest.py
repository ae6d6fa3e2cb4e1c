"""What many tests stand on: one embedded PostgreSQL for the run, a fresh migrated database for each test that asks."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import asyncpg
import pytest
import structlog

from server.base.sections import Database as DatabaseSettings
from server.base.settings import Settings
from server.cli.initialise import initialise
from server.db import pool as database_pool
from server.db.credentials import SUPERUSER
from server.db.embedded import EmbeddedPostgres
from server.db.grants import make_users
from server.db.migrate import upgrade
from tests.serving import DOMAIN, ONE_WORKER, PROVIDED, Served, serving

TEMPLATE = "migrated"
_numbers = count(1)


@pytest.fixture(autouse=True)
def _logs_as_they_come() -> Iterator[None]:
    """A command that runs in the process of the tests sets up its log: for it alone."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def cluster() -> Iterator[EmbeddedPostgres]:
    """An embedded PostgreSQL in a home of its own. It does not wait for the disk; durability tests start their own."""
    home = Path(tempfile.mkdtemp(prefix="caducee-test-"))
    fast = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB"}
    postgres = EmbeddedPostgres(home, parameters=fast)
    asyncio.run(postgres.__aenter__())
    try:
        asyncio.run(_make_template(postgres, home / "keys"))
        yield postgres
    finally:
        asyncio.run(postgres.stop())
        shutil.rmtree(home)


async def _make_template(postgres: EmbeddedPostgres, keys: Path) -> None:
    connection = await asyncpg.connect(postgres.dsn())
    await connection.execute(f"CREATE DATABASE {TEMPLATE}")
    await connection.close()
    await upgrade(postgres.dsn(database=TEMPLATE), keys)


@dataclass(frozen=True)
class Database:
    """A migrated database of one test. `settings` suit `server.db.pool.connect(settings, role)`."""

    name: str
    cluster: EmbeddedPostgres
    settings: Settings

    def dsn(self, role: str = "admin") -> str:
        return self.cluster.dsn(role, self.name)

    async def connect(self, role: str = "admin") -> asyncpg.Connection:
        """A connection as a role's user; the caller closes it."""
        return await asyncpg.connect(self.dsn(role))

    async def pool(self, role: str) -> asyncpg.Pool:
        """A pool as the role's process has it; the caller closes it."""
        return await database_pool.connect(self.settings, role)


async def make_database(cluster: EmbeddedPostgres) -> Database:
    """A fresh database with all migrations."""
    name = f"test_{next(_numbers)}"
    admin = await asyncpg.connect(cluster.dsn())
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    finally:
        await admin.close()
    dsn = cluster.dsn(database=name)
    settings = Settings(home=cluster.home, domain=DOMAIN, database=DatabaseSettings(dsn=dsn))
    fresh = await asyncpg.connect(dsn)
    await make_users(fresh, settings.keys_directory)  # a copy of a database has none of its grants
    await fresh.close()
    return Database(name, cluster, settings)


async def drop_database(database: Database) -> None:
    """Remove it, whoever is still connected."""
    superuser = await asyncpg.connect(database.cluster.dsn(SUPERUSER, "postgres"))
    await superuser.execute(f"DROP DATABASE IF EXISTS {database.name} WITH (FORCE)")
    await superuser.close()


@pytest.fixture
async def database(cluster: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A fresh database with all migrations, dropped after the test."""
    made = await make_database(cluster)
    try:
        yield made
    finally:
        await drop_database(made)


@pytest.fixture(scope="session")
def initialised() -> Iterator[Path]:
    """A data directory as `caducee init` leaves it, to be copied."""
    with tempfile.TemporaryDirectory(prefix="caducee-home-") as place:
        home = Path(place) / "home"
        initialise(home, DOMAIN, lambda step: None)
        yield home


@pytest.fixture
def home(initialised: Path) -> Iterator[Path]:
    """A fresh data directory (0700) with settings, keys, certificates and an upgraded database; nothing runs in it."""
    with tempfile.TemporaryDirectory(prefix="caducee-") as place:
        copy = Path(place) / "home"
        shutil.copytree(initialised, copy, ignore=shutil.ignore_patterns("run"))
        copy.chmod(0o700)
        yield copy


@pytest.fixture(scope="module")
def running() -> Iterator[Served]:
    """`caducee serve` on free ports with the mailboxes of the main job (tests/serving.py) and their app passwords."""
    with serving(ONE_WORKER) as served:
        yield served


@pytest.fixture(scope="module")
def provided() -> Iterator[Served]:
    """The same with the development provider, at which the doctor can sign in."""
    with serving(PROVIDED) as served:
        yield served
