"""The supervisor: starts, restarts, drains, and leaves nothing behind, however it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from server import supervisor
from server.base import health, log
from server.base.settings import load
from server.db.embedded import EmbeddedPostgres
from server.supervisor import SupervisorError
from tests.durability.processes import alive, tree

ROOT = Path(__file__).parents[2]
SECONDS = 60  # patience, never what is measured
ROLES = "ldap,jobs"
SERVE = """
import asyncio, sys
from pathlib import Path
from server import supervisor
from server.base.log import configure
from server.base.settings import load
try:
    asyncio.run(supervisor.serve(load(Path(sys.argv[1])), configure("supervisor"), sys.argv[2].split(",")))
except (supervisor.SupervisorError, OSError) as error:
    sys.exit(str(error))
"""


def until(condition: Callable[[], Any]) -> Any:
    """The first true value of a condition."""
    deadline = time.monotonic() + SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return value


class Serving:
    """A supervisor in a process of its own, as `caducee serve` is."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(home), ROLES], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )

    def up(self) -> dict[str, int]:
        """The ports, once every role answers."""

        def there() -> bool:
            assert self.process.poll() is None, self.process.stderr.read()  # type: ignore[union-attr]
            return (self.home / "run" / "ports.json").exists()

        until(there)
        ports: dict[str, int] = json.loads((self.home / "run" / "ports.json").read_text())
        return ports

    def pid(self, what: str) -> int:
        """The process id of a role's worker, or of the postmaster."""
        found = [pid for pid, command in tree(self.process.pid).items() if what in command and pid != self.process.pid]
        return found[0] if found else 0

    def ready(self, name: str) -> bool:
        try:
            return asyncio.run(health.ask(self.home / "run", f"{name}.sock", "/ready"))[0] == 200
        except (OSError, TimeoutError):
            return False

    def ended(self) -> tuple[int, str]:
        _, said = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, said


@pytest.fixture
def serving(home: Path) -> Iterator[Serving]:
    started = Serving(home)
    started.up()
    yield started
    if started.process.poll() is None:
        started.process.send_signal(signal.SIGTERM)
        assert started.ended()[0] == 0


def another(serving: Serving, first: int) -> bool:
    return serving.pid("server.roles ldap") not in (0, first)


POSTMASTER = "bin/postgres -D"


def test_writes_the_ports_once_every_role_answers_and_takes_them_back(serving: Serving) -> None:
    ports = serving.up()
    assert set(ports) == {"ldap", "ldap_tls"}
    for port in ports.values():
        socket.create_connection(("127.0.0.1", port)).close()
    status, body = asyncio.run(health.ask(serving.home / "run", "ldap-0.sock", "/ready"))
    assert status == 200
    assert json.loads(body)["notes"]["seal"].startswith(("Landlock ABI", "no Landlock"))
    assert asyncio.run(health.ask(serving.home / "run", "ldap-0.sock", "/metrics"))[1].startswith(b"# HELP")
    everyone = tree(serving.process.pid)
    serving.process.send_signal(signal.SIGTERM)
    assert serving.ended()[0] == 0
    assert not any(map(alive, everyone))
    assert not (serving.home / "run" / "ports.json").exists()


def test_a_killed_worker_is_back_at_once_on_the_same_ports(serving: Serving) -> None:
    ports = serving.up()
    for _ in range(3):  # a worker that served is never made to wait, however often it dies
        first = serving.pid("server.roles ldap")
        os.kill(first, signal.SIGKILL)
        until(partial(another, serving, first))
        until(lambda: serving.ready("ldap-0"))
        socket.create_connection(("127.0.0.1", ports["ldap"])).close()
    serving.process.send_signal(signal.SIGTERM)
    said = [json.loads(line) for line in serving.ended()[1].splitlines()]
    delays = [line["again_in"] for line in said if line["event"] == "worker_ended"]
    assert delays == [supervisor.FIRST_DELAY] * 3


def test_a_killed_nursery_takes_its_workers_along_and_all_are_back(serving: Serving) -> None:
    first = serving.pid("server.roles ldap")
    os.kill(serving.pid("server.nursery"), signal.SIGKILL)
    until(partial(another, serving, first))
    until(lambda: serving.ready("ldap-0") and serving.ready("jobs-0"))
    assert not alive(first)


def test_a_worker_has_no_way_to_another_process(serving: Serving) -> None:
    descriptors = Path(f"/proc/{serving.pid('server.roles jobs')}/fd")
    held = {os.readlink(one) for one in descriptors.iterdir()}
    assert "anon_inode:[pidfd]" not in held


def test_a_killed_postgresql_is_started_again_and_workers_find_it(serving: Serving) -> None:
    worker, first = serving.pid("server.roles jobs"), serving.pid(POSTMASTER)
    os.kill(first, signal.SIGKILL)
    until(lambda: serving.pid(POSTMASTER) not in (0, first))
    until(lambda: serving.ready("jobs-0"))
    assert serving.pid("server.roles jobs") == worker


def test_a_killed_backend_is_recovered(serving: Serving) -> None:
    postmaster = serving.pid(POSTMASTER)
    os.kill(serving.pid("postgres: caducee_jobs"), signal.SIGKILL)
    until(lambda: not serving.ready("ldap-0") or serving.pid("postgres: caducee_jobs"))
    until(lambda: serving.ready("ldap-0") and serving.ready("jobs-0"))
    assert serving.pid(POSTMASTER) == postmaster


def test_nothing_outlives_a_killed_supervisor_and_the_next_starts(serving: Serving) -> None:
    everyone = tree(serving.process.pid)
    assert len(everyone) > 6
    serving.process.kill()
    serving.process.wait()
    (serving.home / "run" / "ports.json").unlink()
    after = Serving(serving.home)
    until(lambda: not any(map(alive, everyone)))
    after.up()
    after.process.send_signal(signal.SIGTERM)
    assert after.ended()[0] == 0


def test_a_home_is_served_once(serving: Serving) -> None:
    status, said = Serving(serving.home).ended()
    assert status == 1
    assert f"is served already, by process {serving.process.pid}" in said
    assert serving.ready("ldap-0")


def test_a_port_in_use_is_named_with_its_setting(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = taken.getsockname()[1]
        settings = load(home, {"CADUCEE_LDAP__TLS_PORT": str(port)})
        with pytest.raises(OSError, match=rf"ldap.tls_port: cannot listen on 127.0.0.1 port {port}"):
            asyncio.run(supervisor.serve(settings, log.configure("supervisor"), ["ldap"]))


def test_a_database_that_lacks_a_migration_is_not_served(home: Path) -> None:
    async def forget_one() -> None:
        async with EmbeddedPostgres(home) as postgres:
            connection = await asyncpg.connect(postgres.dsn())
            await connection.execute("DELETE FROM migration WHERE number = 1")
            await connection.close()

    asyncio.run(forget_one())
    with pytest.raises(SupervisorError, match="lacks 001_store: run `caducee db upgrade`"):
        asyncio.run(supervisor.serve(load(home), log.configure("supervisor"), ["jobs"]))


def test_a_role_that_can_never_start_ends_serve_and_says_where_to_look(home: Path) -> None:
    (home / "pki" / "root.pem").unlink()
    with pytest.raises(SupervisorError, match=r"jobs cannot start: see .*/log/jobs.log"):
        asyncio.run(supervisor.serve(load(home), log.configure("supervisor"), ["jobs"]))
    assert json.loads((home / "log" / "jobs.log").read_text())["event"] == "cannot_start"


async def test_a_worker_that_hangs_is_replaced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LIVENESS_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "MISSES", 1)
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.2)
    stop = asyncio.Event()
    serving = asyncio.create_task(supervisor.Supervisor(load(home), log.configure("supervisor"), ["jobs"]).run(stop))
    first = await asyncio.to_thread(until, lambda: (home / "run" / "ports.json").exists() and _jobs())
    os.kill(first, signal.SIGSTOP)
    second = await asyncio.to_thread(until, lambda: _jobs() not in (0, first) and _jobs())
    assert second != first
    stop.set()
    await serving
    assert not alive(first)


def _jobs() -> int:
    return next((pid for pid, command in tree(os.getpid()).items() if "server.roles jobs" in command), 0)
