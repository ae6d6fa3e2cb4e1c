"""The process tree of a running `serve`, read from /proc, and the kinds of process in it."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def tree(root: int) -> dict[int, str]:
    """pid → command line of every descendant of `root`, and of `root` itself."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
            except OSError:  # it ended while we looked
                continue
    family = {root}
    while grown := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= grown
    found = {}
    for pid in family:
        try:
            found[pid] = (
                (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
        except OSError:
            continue
    return {pid: command for pid, command in found.items() if command}


def alive(pid: int) -> bool:
    """Whether a process still runs (a zombie does not)."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def kind_of(command: str) -> str:
    """What a process of the tree is: a role's name, "postmaster", "backend", or "other" (the supervisor, a child of it
    that has not become anything yet)."""
    words = command.split()
    if "server.roles" in words:
        return words[words.index("server.roles") + 1]
    if words and words[0].startswith("postgres:"):
        return "backend"
    if words and words[0].endswith("/postgres"):
        return "postmaster"
    return "other"


def memory(pid: int, what: str) -> int:
    """KiB of a line in /proc/<pid>/status: VmRSS now, VmHWM the most there was."""
    lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what))


def kill(pid: int) -> None:
    """SIGKILL, as the kernel's memory killer or a power cut would."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
