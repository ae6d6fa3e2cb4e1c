"""Seals a process: from then on it has what it was given and can open nothing else, whoever runs code in it.

In this order: no core dump and no tracing by equals; no_new_privs; every capability dropped; then Landlock, which
denies the file system but for an allow-list, TCP but for given ports, and signals to processes outside.
Landlock binds threads, so a process is sealed while it has one thread only: what a thread started before could still
do, code injected into the process could do through it.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.base import landlock

PR_SET_DUMPABLE: Final = 4  # <linux/prctl.h>
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
CAPABILITY_VERSION_3: Final = 0x20080522  # <linux/capability.h>

# What any Python process needs to go on: itself, the system's libraries, names, zones and its own randomness.
SYSTEM: Final = tuple(
    map(
        Path,
        (
            "/usr/lib",
            "/usr/lib64",
            "/usr/local/lib",
            "/usr/share/zoneinfo",
            "/usr/share/locale",
            "/lib",
            "/lib64",
            "/etc/ld.so.cache",
            "/etc/localtime",
            "/etc/hosts",
            "/etc/resolv.conf",
            "/etc/nsswitch.conf",
            "/etc/host.conf",
            "/etc/gai.conf",
            "/etc/mime.types",
            "/etc/ssl/openssl.cnf",
            "/dev/urandom",
            "/dev/random",
        ),
    )
)
NULL: Final = Path("/dev/null")
# Imported on first use by the standard library or ours, at moments when the disk may be out of reach.
LAZY: Final = (
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.utf_8",
    "encodings.utf_8_sig",
    "encodings.utf_16",
    "encodings.cp1252",
    "encodings.iso8859_15",
    "encodings.punycode",
    "stringprep",
    "idna",
    "_strptime",
    "asyncio.staggered",
    "concurrent.futures.thread",
    "traceback",
    "linecache",
    "zoneinfo",
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """What stays open beside the system: folders and files to read, to write, TCP ports to connect to, and whether a
    connection may choose its local address."""

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    connect: tuple[int, ...] = ()
    local_address: bool = False


@dataclass(frozen=True, slots=True)
class Sealed:
    """What holds after sealing."""

    abi: int

    def __str__(self) -> str:
        if self.abi == 0:
            return "no Landlock in this kernel: separated against injection, not against code execution"
        missing = [what for level, what in ((3, "truncation"), (4, "TCP"), (6, "signals")) if self.abi < level]
        return f"Landlock ABI {self.abi}" + (f" (does not cover {', '.join(missing)})" if missing else "")


def code() -> tuple[Path, ...]:
    """The Python installation, its packages and our own code."""
    ours = Path(__file__).parents[2]
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, *(p for p in sys.path if p.endswith("-packages"))}
    return (*(ours / name for name in ("server", "crypto", "directory")), *map(Path, sorted(prefixes)))


def seal(allowed: Allowed, *, level: int | None = None) -> Sealed:
    """Seal this process for ever. `level` lowers the ABI used (to try what an older kernel gives).

    Raises RuntimeError when the process has other threads, OSError when the kernel refuses a step it should know.
    """
    for name in LAZY:
        importlib.import_module(name)
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise RuntimeError(f"{threads} threads run: a process is sealed before it starts any")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(PR_SET_DUMPABLE, 0)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    kernel = landlock.abi()
    used = kernel if level is None else min(level, kernel)
    if used:
        rules = landlock.Ruleset(used)
        rules.allow((*SYSTEM, *code()), landlock.USE)
        rules.allow((NULL,), landlock.READ_FILE | landlock.WRITE_FILE)
        rules.allow(allowed.read, landlock.READ)
        rules.allow(allowed.write, landlock.file_rights(used) & ~landlock.EXECUTE)
        rules.allow_connect(allowed.connect)
        if allowed.local_address:
            rules.allow_local_address()
        drop_capabilities()
        rules.enforce()
    else:
        drop_capabilities()
    sys.dont_write_bytecode = True
    return Sealed(used)


def drop_capabilities() -> None:
    """Give up every capability, also the right to gain one by running a program."""
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for number in _bounding_set():
        _prctl(PR_CAPBSET_DROP, number)
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, bytes(24)) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _bounding_set() -> Iterable[int]:
    """The capabilities in our bounding set, which only a process that may set capabilities can (and need) drop."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    if not int(status["CapEff"], 16) & (1 << 8):  # CAP_SETPCAP; without it and with no_new_privs there is no way up
        return ()
    bounding = int(status["CapBnd"], 16)
    return [number for number in range(64) if bounding & (1 << number)]


def _prctl(option: int, argument: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if library.prctl(option, ctypes.c_ulong(argument), zero, zero, zero) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")
