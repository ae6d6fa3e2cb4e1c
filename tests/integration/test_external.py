"""A PostgreSQL of the operator's, by DSN: older, over TCP, with an administrator who is no superuser."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from server.base.sections import Database as DatabaseSettings
from server.base.settings import Settings
from server.db import pool as database_pool
from server.db.confinement import Kind, choose, installed_binaries
from server.db.migrate import MigrationError, pending, read, upgrade
from server.roles import allowed

SECONDS = 60


@dataclass
class External:
    """A server that somebody else runs."""

    settings: Settings
    port: int

    @property
    def dsn(self) -> str:
        assert self.settings.database.dsn is not None
        return self.settings.database.dsn


@pytest.fixture
def external(tmp_path: Path) -> Iterator[External]:
    """The oldest PostgreSQL of the wheel, on a TCP port, with the database made by its operator."""
    confinement = choose()
    if confinement.kind is Kind.SYSTEM_USER:
        pytest.skip("needs user namespaces when run by root: the binaries are out of reach of a system user")
    binaries = installed_binaries().parents[1] / "pginstall" / "bin"
    (tmp_path / "password").write_text("operator")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {"LC_ALL": "C", "PATH": os.defpath}
    data = tmp_path / "data"
    initdb: list[str | Path] = [
        binaries / "initdb",
        "-D",
        data,
        "-U",
        "operator",
        "-A",
        "scram-sha-256",
        "-E",
        "UTF8",
        "--no-sync",
    ]
    made = subprocess.run(
        confinement.command(*initdb, f"--pwfile={tmp_path / 'password'}"), env=environment, capture_output=True
    )
    assert made.returncode == 0, made.stderr
    run: list[str | Path] = [
        binaries / "postgres",
        "-D",
        data,
        "-p",
        str(port),
        "-k",
        "",
        "-F",
        "-c",
        "listen_addresses=127.0.0.1",
    ]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(confinement.command(*run), env=environment, stderr=log)
    try:
        deadline = time.monotonic() + SECONDS
        while "ready" not in ((data / "postmaster.pid").read_text() if (data / "postmaster.pid").exists() else ""):
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        dsn = f"postgresql://administrator:chosen@127.0.0.1:{port}/mail"
        home = tmp_path / "home"
        yield External(Settings(home=home, domain="msg.exemple.fr", database=DatabaseSettings(dsn=dsn)), port)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(SECONDS)


async def test_upgraded_and_used_without_a_superuser(external: External) -> None:
    operator = await asyncpg.connect(f"postgresql://operator:operator@127.0.0.1:{external.port}/postgres")
    version = operator.get_server_version()
    await operator.execute("CREATE ROLE administrator LOGIN CREATEROLE PASSWORD 'chosen'")
    await operator.execute("CREATE DATABASE mail OWNER administrator")
    await operator.close()
    assert version.major < 18
    keys = external.settings.keys_directory
    assert [m.number for m in await upgrade(external.dsn, keys)] == [m.number for m in read()]
    assert await upgrade(external.dsn, keys) == []
    pool = await database_pool.connect(external.settings, "relay")
    try:
        assert await pool.fetchval("SELECT current_user") == "caducee_relay"
        assert await pool.fetchval("SHOW statement_timeout") == "5s"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.fetch("SELECT body FROM content")
    finally:
        await pool.close()
    administrator = await asyncpg.connect(external.dsn)
    try:
        with pytest.raises(MigrationError, match="newer than this program"):
            await pending(administrator, read()[:1])
    finally:
        await administrator.close()


def test_a_sealed_role_may_connect_to_it_and_nowhere_else(external: External) -> None:
    assert allowed(external.settings, "relay", external.dsn).connect == (external.port, 53)
    assert allowed(external.settings, "relay", "postgresql:///caducee?host=/run/pg").connect == ()
