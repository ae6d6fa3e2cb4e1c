"""A sealed process has what it was given and nothing else, on every Landlock ABI up to the kernel's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.base import landlock
from server.base.seal import Sealed

ROOT = Path(__file__).parents[2]
KERNEL = landlock.abi()

# Runs in a process of its own, since a seal is for ever; prints what came of each attempt.
ATTEMPTS = """
import json, os, socket, sys
from pathlib import Path
from server.base.seal import Allowed, seal
given = json.loads(sys.argv[1])
home = Path(given["home"])
allowed = Allowed(read=(home / "open",), write=(home / "run",), connect=(given["connect"],))
sealed = seal(allowed, level=given["level"])
done = {}
def attempt(name, function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        done[name] = type(error).__name__
    else:
        done[name] = "done"
attempt("read allowed", (home / "open" / "file").read_text)
attempt("write allowed", (home / "run" / "new").write_text, "x")
attempt("write null", Path("/dev/null").write_text, "x")
attempt("import", __import__, "xmlrpc.client")
attempt("connect allowed", socket.create_connection, ("127.0.0.1", given["connect"]))
attempt("read secret", (home / "keys" / "master.json").read_text)
attempt("add secret", (home / "keys" / "more").write_text, "x")
attempt("delete secret", (home / "keys" / "master.json").unlink)
attempt("list home", os.listdir, home)
attempt("write what is for reading", (home / "open" / "file").write_text, "x")
attempt("read system secret", Path("/etc/shadow").read_text)
attempt("read memory of another", open, f"/proc/{os.getppid()}/mem", "rb")
attempt("temporary file", (home.parent / "temporary").write_text, "x")
attempt("run a program", os.posix_spawn, "/usr/bin/env", ["env", "true"], {})
attempt("become another user", os.setuid, 1)
attempt("truncate secret", os.truncate, home / "keys" / "other", 0)
attempt("connect elsewhere", socket.create_connection, ("127.0.0.1", given["elsewhere"]))
attempt("listen", socket.create_server, ("127.0.0.1", 0))
attempt("signal another", os.kill, os.getppid(), 0)
print(json.dumps({"attempts": done, "says": str(sealed), "status": given["level"]}))
"""


def sealed(home: Path, level: int) -> dict[str, Any]:
    """What a process of its own could do once sealed at an ABI."""
    for name in ("open", "run", "keys"):
        (home / name).mkdir(parents=True)
    for name in ("open/file", "keys/master.json", "keys/other"):
        (home / name).write_text("content")
    with socket.create_server(("127.0.0.1", 0)) as here, socket.create_server(("127.0.0.1", 0)) as elsewhere:
        given = {
            "home": str(home),
            "level": level,
            "connect": here.getsockname()[1],
            "elsewhere": elsewhere.getsockname()[1],
        }
        command = [sys.executable, "-c", ATTEMPTS, json.dumps(given)]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


GIVEN = ("read allowed", "write allowed", "write null", "import", "connect allowed")
NEVER = (
    "read secret",
    "add secret",
    "delete secret",
    "list home",
    "write what is for reading",
    "read system secret",
    "read memory of another",
    "temporary file",
    "run a program",
    "become another user",
)
FROM = {"truncate secret": 3, "connect elsewhere": 4, "listen": 4, "signal another": 6}


@pytest.mark.skipif(KERNEL == 0, reason="needs a kernel with Landlock")
@pytest.mark.parametrize("level", range(1, KERNEL + 1))
def test_has_what_it_was_given_and_nothing_else(tmp_path: Path, level: int) -> None:
    attempts = sealed(tmp_path / "home", level)["attempts"]
    assert {name: attempts[name] for name in GIVEN} == dict.fromkeys(GIVEN, "done")
    assert {name: attempts[name] for name in NEVER} == dict.fromkeys(NEVER, "PermissionError")
    for name, first in FROM.items():
        assert attempts[name] == ("PermissionError" if level >= first else "done"), name
    assert (tmp_path / "home" / "keys" / "master.json").read_text() == "content"


def test_without_landlock_it_says_so_and_still_drops_privileges(tmp_path: Path) -> None:
    answer = sealed(tmp_path / "home", 0)
    assert answer["says"].startswith("no Landlock in this kernel")
    assert answer["attempts"]["become another user"] == "PermissionError"
    assert answer["attempts"]["read secret"] == "done"


@pytest.mark.parametrize(
    ("abi", "says"),
    [(1, "Landlock ABI 1 (does not cover truncation, TCP, signals)"), (4, "(does not cover signals)"), (6, "ABI 6")],
)
def test_names_what_an_older_kernel_leaves_open(abi: int, says: str) -> None:
    assert str(Sealed(abi)).endswith(says)


PRIVILEGES = """
import resource, sys, threading
from server.base.seal import Allowed, seal
if sys.argv[1:] == ["threads"]:
    stop = threading.Event()
    threading.Thread(target=stop.wait, daemon=True).start()
seal(Allowed(read=tuple(__import__("pathlib").Path(p) for p in ["/proc/self"])))
print(open("/proc/self/status").read())
print("core", resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_has_no_privilege_left_and_cannot_gain_one() -> None:
    run = subprocess.run([sys.executable, "-c", PRIVILEGES], cwd=ROOT, capture_output=True, text=True, timeout=60)
    lines = dict(line.split(":\t", 1) for line in run.stdout.splitlines() if ":\t" in line)
    assert lines["NoNewPrivs"] == "1"
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", *(["CapBnd"] if os.geteuid() == 0 else [])):
        assert int(lines[name], 16) == 0, name
    assert "core (0, 0)" in run.stdout


def test_refuses_to_seal_a_process_with_threads() -> None:
    command = [sys.executable, "-c", PRIVILEGES, "threads"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert "2 threads run" in run.stderr
