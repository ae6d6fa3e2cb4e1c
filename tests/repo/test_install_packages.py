"""`tests/install-debian-packages` with a false dpkg and apt: what it installs, and that the policy is put back."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.repo.sources import ROOT

SCRIPT = ROOT / "tests/install-debian-packages"
LIST = ROOT / "tests/debian-packages.txt"
PACKAGES = [line.split()[0] for line in LIST.read_text().splitlines() if line and not line.startswith("#")]


@dataclass
class Machine:
    """False programs in front of the real ones; `log` is what apt-get was called with, and the policy at that time."""

    folder: Path

    @property
    def policy(self) -> Path:
        return self.folder / "policy-rc.d"

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def program(self, name: str, body: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def apt(self, *, fails: bool = False, killed: bool = False) -> None:
        body = f'echo "$@" >> {self.folder}/log; cat {self.policy} >> {self.folder}/log'
        if killed:
            body += "; kill -TERM $PPID"
        self.program("apt-get", f"{body}; exit {100 if fails else 0}")

    def installed(self, *packages: str) -> None:
        self.program("dpkg-query", f"printf '{''.join(f'{name}=installed ' for name in packages)}'")

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        base = {key: value for key, value in os.environ.items() if key != "CADUCEE_REQUIRE_ALL"}
        full = {**base, "PATH": path, "POLICY_RC_D": str(self.policy), **environment}
        return subprocess.run(["sh", str(SCRIPT)], env=full, capture_output=True, text=True, check=False, timeout=30)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.program("id", "echo 0")
    made.installed()
    made.apt()
    return made


def test_nothing_is_done_when_all_is_there(machine: Machine) -> None:
    machine.installed(*PACKAGES)
    done = machine.run()
    assert (done.returncode, done.stdout, machine.log) == (0, "", "")


def test_only_what_is_missing_is_installed_and_no_daemon_starts(machine: Machine) -> None:
    machine.installed(*PACKAGES[1:])
    done = machine.run()
    assert done.returncode == 0
    assert re.search(rf"install --no-install-recommends {PACKAGES[0]}\n", machine.log)
    assert "exit 101" in machine.log
    assert not machine.policy.exists()


def test_a_package_half_removed_is_installed_again(machine: Machine) -> None:
    machine.program(
        "dpkg-query", f"printf '{PACKAGES[0]}=config-files {' '.join(f'{p}=installed' for p in PACKAGES[1:])} '"
    )
    assert machine.run().returncode == 0
    assert f" {PACKAGES[0]}\n" in machine.log


@pytest.mark.parametrize("fails", [False, True])
def test_the_policy_is_put_back_as_it_was(machine: Machine, fails: bool) -> None:
    machine.apt(fails=fails)
    machine.policy.write_text("#!/bin/sh\nexit 104\n")
    machine.policy.chmod(0o744)
    os.utime(machine.policy, (1_000_000_000, 1_000_000_000))
    before = machine.policy.stat()
    machine.run()
    after = machine.policy.stat()
    assert "exit 101" in machine.log
    assert machine.policy.read_text() == "#!/bin/sh\nexit 104\n"
    assert (after.st_mode, after.st_mtime, after.st_ino) == (before.st_mode, before.st_mtime, before.st_ino)
    assert sorted(path.name for path in machine.folder.glob("policy*")) == ["policy-rc.d"]


def test_a_link_stays_a_link(machine: Machine) -> None:
    machine.policy.symlink_to("/nowhere/policy")
    machine.run()
    assert "exit 101" in machine.log
    assert os.readlink(machine.policy) == "/nowhere/policy"


def test_the_policy_is_put_back_when_the_script_is_told_to_stop(machine: Machine) -> None:
    machine.apt(killed=True)
    machine.policy.write_text("mine")
    assert machine.run().returncode == 143
    assert machine.policy.read_text() == "mine"


def test_what_a_killed_run_left_is_mended_by_the_next(machine: Machine) -> None:
    machine.policy.write_text("#!/bin/sh\n# for the time of an installation by caducee tests\nexit 101\n")
    machine.policy.with_name("policy-rc.d.before-caducee").write_text("mine")
    assert machine.run().returncode == 0
    assert machine.policy.read_text() == "mine"
    assert sorted(path.name for path in machine.folder.glob("policy*")) == ["policy-rc.d"]


def test_a_failure_is_said_and_fails_where_all_is_required(machine: Machine) -> None:
    machine.apt(fails=True)
    done = machine.run()
    assert done.returncode == 0
    assert "apt-get could not install" in done.stdout
    assert "update" in machine.log
    assert machine.run(CADUCEE_REQUIRE_ALL="1").returncode == 1


def test_who_is_not_root_is_told_what_is_missing(machine: Machine) -> None:
    machine.program("id", "echo 1000")
    machine.installed(*PACKAGES[1:])
    done = machine.run()
    assert (done.returncode, machine.log) == (0, "")
    assert done.stdout.endswith(f"skipped: {PACKAGES[0]}\n")
