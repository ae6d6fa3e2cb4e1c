"""What the processes of one server cost: CPU and memory of whole process trees, read from /proc (Linux)."""

from __future__ import annotations

import os
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(roots: list[int]) -> float:
    """User and system CPU of `roots` and all their descendants, with the children they reaped (10 ms ticks)."""
    return sum(sum(int(field) for field in fields[11:15]) for _, fields in _tree(roots)) / TICKS_PER_SECOND


def pss_bytes(roots: list[int]) -> int:
    """Memory of the same processes, what they share counted once between them. For root: sealed roles hide theirs."""
    found = 0
    for pid, _ in _tree(roots):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        found += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return found * 1024


def _tree(roots: list[int]) -> list[tuple[int, list[bytes]]]:
    """Roots and descendants: process id and the fields of /proc/<pid>/stat behind the name."""
    children: dict[int, list[int]] = {}
    stats: dict[int, list[bytes]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:  # it ended while we looked
            continue
        stats[int(entry.name)] = fields
        children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [root for root in roots if root in stats]
    while queue:
        pid = queue.pop()
        found.append((pid, stats[pid]))
        queue += children.get(pid, [])
    return found


def steal_share(before: list[int], after: list[int]) -> float:
    """The share of time that the hypervisor took between two readings of `machine_ticks`."""
    spent = [b - a for a, b in zip(before, after, strict=True)]
    return spent[7] / (sum(spent) or 1)


def machine_ticks() -> list[int]:
    """The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal…"""
    return [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
