"""The embedded PostgreSQL: starts, recovers from kill -9, dies with its parent, is shared or excluded, logs no data."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from server.db.confinement import EmbeddedError, Kind, choose, system_user
from server.db.embedded import SOCKET_PATH_BYTES, EmbeddedPostgres, Holder, socket_directory

ROOT = Path(__file__).parents[2]


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def fetch(postgres: EmbeddedPostgres, sql: str) -> object:
    connection = await asyncpg.connect(postgres.dsn())
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_made_as_the_design_says(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    async with EmbeddedPostgres(tmp_path) as postgres:
        assert await fetch(postgres, "SELECT datlocprovider::text || datlocale FROM pg_database LIMIT 1") == "bC.UTF-8"
        assert await fetch(postgres, "SHOW data_checksums") == "on"
        assert await fetch(postgres, "SHOW listen_addresses") == ""
        assert await fetch(postgres, "SHOW fsync") == "on"
        assert await fetch(postgres, "SELECT usesuper FROM pg_user WHERE usename = current_user") is False
        assert await fetch(postgres, "SELECT lower('ÉÀŒ')") == "éàœ"
        sockets = socket_directory(tmp_path)
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        wrong = postgres.dsn().replace("caducee_admin:", "caducee_admin:x")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(wrong)
    for folder in (tmp_path, tmp_path / "pg", tmp_path / "keys" / "database", tmp_path / "run", tmp_path / "log"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    for file in (tmp_path / "keys" / "database").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_stops_and_starts_again_with_its_data(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path) as postgres:
        await fetch(postgres, "CREATE TABLE kept AS SELECT 7 AS n")
        pid = postgres.pid
    assert pid is not None
    assert not alive(pid)
    async with EmbeddedPostgres(tmp_path) as postgres:
        assert await fetch(postgres, "SELECT n FROM kept") == 7


async def test_a_killed_postmaster_is_started_again_and_lost_nothing(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path) as postgres:
        await fetch(postgres, "CREATE TABLE kept (n int)")
        busy = await asyncpg.connect(postgres.dsn())
        for n in range(3):
            await busy.execute("INSERT INTO kept VALUES ($1)", n)
            pid = postgres.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            assert await postgres.wait() == -signal.SIGKILL
            await postgres.start()
            assert await fetch(postgres, "SELECT count(*) FROM kept") == n + 1
            busy = await asyncpg.connect(postgres.dsn())
        await busy.close()


async def test_a_killed_backend_is_recovered_by_the_postmaster(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path) as postgres:
        connection = await asyncpg.connect(postgres.dsn())
        await connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        pid = postgres.pid
        os.kill(connection.get_server_pid(), signal.SIGKILL)
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await fetch(postgres, "SELECT n FROM kept") == 7
                    break
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await asyncio.sleep(0.05)
        assert postgres.pid == pid


STARTER = """
import asyncio, sys
from pathlib import Path
from server.db.embedded import EmbeddedPostgres, Holder
async def main():
    async with EmbeddedPostgres(Path(sys.argv[1]), holder=Holder(sys.argv[2])) as postgres:
        print(postgres.pid, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
asyncio.run(main())
"""


def starter(home: Path, holder: Holder) -> tuple[subprocess.Popen[str], int]:
    """A process that starts the cluster, and the postmaster's id."""
    process = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(home), holder],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


async def test_dies_with_a_killed_parent_and_the_next_start_waits_for_its_memory(tmp_path: Path) -> None:
    process, postmaster = starter(tmp_path, Holder.SERVE)
    everyone = [postmaster, *children(postmaster)]
    assert len(everyone) > 3
    process.kill()
    process.wait()
    async with EmbeddedPostgres(tmp_path) as postgres:  # at once: the dying one may still hold the folder
        assert postgres.pid not in (None, postmaster)
    await until(lambda: not any(map(alive, everyone)))


async def test_a_command_joins_a_running_serve_and_leaves_it_running(tmp_path: Path) -> None:
    process, postmaster = starter(tmp_path, Holder.SERVE)
    try:
        async with EmbeddedPostgres(tmp_path) as postgres:
            assert postgres.pid is None
            assert await fetch(postgres, "SELECT 1") == 1
        assert alive(postmaster)
        with pytest.raises(EmbeddedError, match="already served"):
            await EmbeddedPostgres(tmp_path, holder=Holder.SERVE).acquire()
    finally:
        process.communicate("\n")
    assert not alive(postmaster)


async def test_two_commands_take_turns(tmp_path: Path) -> None:
    process, postmaster = starter(tmp_path, Holder.COMMAND)
    entering = asyncio.create_task(EmbeddedPostgres(tmp_path).__aenter__())
    await asyncio.sleep(0.1)
    assert not entering.done()
    process.communicate("\n")
    postgres = await entering
    try:
        assert postgres.pid not in (None, postmaster)
    finally:
        await postgres.stop()


async def test_a_killed_initdb_leaves_nothing_that_counts(tmp_path: Path) -> None:
    (tmp_path / "pg" / "data.partial" / "base").mkdir(parents=True)
    (tmp_path / "pg" / "data.partial" / "PG_VERSION").write_text("18\n")
    async with EmbeddedPostgres(tmp_path) as postgres:
        assert await fetch(postgres, "SELECT 1") == 1


async def test_a_deep_home_gets_a_short_socket_path_and_keeps_it(tmp_path: Path) -> None:
    home = tmp_path / ("d" * 60) / ("e" * 60)
    home.mkdir(parents=True)
    async with EmbeddedPostgres(home) as postgres:
        first = socket_directory(home)
        assert await fetch(postgres, "SELECT 1") == 1
    assert len(str(first)) < SOCKET_PATH_BYTES
    assert stat.S_IMODE(first.stat().st_mode) == 0o700
    async with EmbeddedPostgres(home):
        assert socket_directory(home) == first
    first.rmdir()


async def test_says_what_postgresql_said_when_it_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match="shared_buffers"):
        await EmbeddedPostgres(tmp_path, parameters={"shared_buffers": "lots"}).__aenter__()


async def test_logs_hold_no_value_and_no_password(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path) as postgres:
        connection = await asyncpg.connect(postgres.dsn())
        await connection.execute("CREATE TABLE person (ins text PRIMARY KEY, n int CHECK (n < 3))")
        await connection.execute("INSERT INTO person VALUES ('279035121518989', 1)")
        for sql in (
            "INSERT INTO person VALUES ('279035121518989', 1)",
            "INSERT INTO person VALUES ('279035121518989x', 4)",
            "SELECT '279035121518989x'::int",
            "SELECT 279035121518989 FROM nowhere",
        ):
            with pytest.raises(asyncpg.PostgresError):
                await connection.execute(sql)
        with pytest.raises(asyncpg.PostgresError):
            await connection.fetchval("SELECT $1::text::int", "279035121518989x")
        await connection.close()
        secret = postgres.dsn().split(":")[2].split("@")[0]
    logs = b"".join(file.read_bytes() for file in (tmp_path / "log").iterdir())
    assert b"database system is shut down" in logs
    assert b"279035121518989" not in logs
    data = b"".join(file.read_bytes() for file in (tmp_path / "pg").rglob("*") if file.is_file())
    assert secret.encode() not in data + logs


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root changes user")
async def test_under_a_system_user_where_namespaces_are_forbidden(tmp_path: Path) -> None:
    assert choose().kind in (Kind.NAMESPACE, Kind.SYSTEM_USER)
    tmp_path.chmod(0o700)
    postgres = EmbeddedPostgres(tmp_path, confinement=system_user())
    try:
        async with postgres:
            assert await fetch(postgres, "SELECT 1") == 1
            status = Path(f"/proc/{postgres.pid}/status").read_text()
            assert f"Uid:\t{system_user().uid}\t" in status
            assert "CapEff:\t0000000000000000" in status
            pid = postgres.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await postgres.wait()
            await postgres.start()
            assert await fetch(postgres, "SELECT 1") == 1
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
        assert postgres.data.parent.stat().st_mode & 0o077 == 0
    finally:
        postgres.remove()
