"""A role process by itself: run alone, told to stop, left by its parent, started where it must not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.base.seal import code
from server.base.settings import Settings, SettingsError, load
from server.db.embedded import EmbeddedPostgres
from server.roles import CANNOT_START, TABLE, allowed, prepare

ROOT = Path(__file__).parents[2]
SECONDS = 60


def role(home: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "server.roles", *words, "--home", str(home)]
    environment = os.environ | {"CADUCEE_FACILITY__WORKERS": "1"}  # off as `init` leaves it
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize("name", sorted(TABLE))
async def test_every_role_runs_alone_and_stops_when_told(home: Path, name: str) -> None:
    async with EmbeddedPostgres(home):
        process = role(home, name)
        assert process.stderr is not None
        line = json.loads(process.stderr.readline())
        assert (line["event"], line["role"]) == ("serving", name), line
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, said
        assert [json.loads(line)["event"] for line in said.splitlines()] == ["stopped"]


def test_a_child_of_a_dead_parent_does_not_start(home: Path) -> None:
    process = role(home, "jobs", "--parent", "1")
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "the supervisor is gone" in said


def test_without_its_database_password_it_says_what_is_missing(home: Path) -> None:
    (home / "run").mkdir()
    (home / "run" / "postgresql.json").write_text(json.dumps({"sockets": str(home / "run" / "pg")}))
    (home / "keys" / "database" / "jobs").unlink()
    process = role(home, "jobs")
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == CANNOT_START
    assert "keys/database/jobs" in json.loads(said)["reason"]


def test_a_home_inside_what_every_role_may_read_is_refused() -> None:
    settings = Settings(home=code()[0] / "home", domain="msg.exemple.fr")
    with pytest.raises(SettingsError, match="must not lie in"):
        allowed(settings, "relay", "postgresql:///caducee?host=/run")


async def test_each_role_holds_the_keys_of_its_kind_and_no_more(home: Path) -> None:
    held = {}
    async with EmbeddedPostgres(home):
        for name in TABLE:
            prepared = prepare(load(home), name, 9)
            held[name] = tuple(
                kind for kind in ("edge", "keyring", "queue_secret") if getattr(prepared, kind) is not None
            )
            prepared.sockets.close()
            prepared.health.close()
    edge, reader = ("edge",), ("edge", "keyring")
    assert held == {
        "relay": edge,
        "submission": edge,
        "imap": reader,
        "web": reader,
        "jobs": reader,
        "sender": ("edge", "queue_secret"),
        "ldap": edge,
        "facility": edge,
        "provider": (),
        "console": edge,
        "fetcher": (),
        "identity": (),
    }
