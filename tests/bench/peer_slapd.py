"""OpenLDAP's slapd with the entries that our directory shows, on a loopback port of its own: a peer for bench_ldap.

slapadd fills an mdb database with equality, substring, presence and phonetic indexes; slapd runs in the foreground,
with its configuration and data in a temporary folder, and ends with the benchmark.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from directory.ldap.entries import Entry, Tree
from directory.ldap.schema import CLASSES, OURS, TYPES

SCHEMAS = Path("/etc/ldap/schema")
INDEXED = ("cn", "sn", "givenName", "mail", "l")
# What is set by slapd itself.
_OWN = {"entryDN", "entryUUID", "structuralObjectClass", "subschemaSubentry", "hasSubordinates"}


@dataclass(frozen=True)
class Slapd:
    port: int
    pid: int
    fill_seconds: float
    bytes: int


def program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


@contextlib.contextmanager
def slapd(folder: Path, tree: Tree, entries: Iterable[Entry]) -> Iterator[Slapd | None]:
    """The server with these entries below the suffix; None where it is not installed."""
    found, fill = program("slapd"), program("slapadd")
    if found is None or fill is None:
        yield None
        return
    data = folder / "data"
    data.mkdir(parents=True)
    (folder / "ours.schema").write_text(_schema())
    configuration = folder / "slapd.conf"
    includes = [SCHEMAS / f"{name}.schema" for name in ("core", "cosine", "inetorgperson")] + [folder / "ours.schema"]
    configuration.write_text(
        "".join(f"include {path}\n" for path in includes)
        + "moduleload back_mdb\nsizelimit 1000\ndatabase mdb\n"
        + f'suffix "{tree.suffix}"\ndirectory {data}\nmaxsize {16 * 2**30}\nindex objectClass eq\n'
        + f"index {','.join(INDEXED)} eq,sub,pres,approx\ndbnosync\n"
    )
    everybody = folder / "entries.ldif"
    with everybody.open("wb") as file:
        for entry in itertools.chain(tree.fixed, entries):
            file.write(_ldif(entry))
    started = time.monotonic()  # of slapadd alone: to make its file is our work
    subprocess.run([fill, "-q", "-f", str(configuration), "-l", str(everybody)], check=True)
    seconds = time.monotonic() - started
    everybody.unlink()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [found, "-f", str(configuration), "-h", f"ldap://127.0.0.1:{port}", "-d", "0"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(ConnectionError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            assert running.poll() is None
            time.sleep(0.05)
        yield Slapd(port, running.pid, seconds, sum(file.stat().st_blocks * 512 for file in data.iterdir()))
    finally:
        running.terminate()
        running.wait()


def _ldif(entry: Entry) -> bytes:
    lines = [_line("dn", entry.name)]
    for kind, values in entry.attributes.items():
        if kind not in _OWN and kind != "userCertificate":
            lines += [_line(kind, value) for value in values]
    return b"".join(lines) + b"\n"


def _line(kind: str, value: str | bytes) -> bytes:
    octets = value.encode() if isinstance(value, str) else value
    return kind.encode() + b":: " + base64.b64encode(octets) + b"\n"


def _schema() -> str:
    """Our own types and classes in slapd's form; displayName and mail are its own."""
    types = [f"attributetype {one.described()}\n" for one in TYPES if one.oid.startswith(OURS)]
    classes = [f"objectclass {one.described()}\n" for one in CLASSES if one.oid.startswith(OURS)]
    return "".join(types + classes)
