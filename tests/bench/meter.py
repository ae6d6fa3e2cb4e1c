"""What the processes of one server cost: CPU of whole process trees, read from /proc (Linux)."""

from __future__ import annotations

import os
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(roots: list[int]) -> float:
    """User and system CPU of `roots` and all their descendants, with the children they reaped (10 ms ticks)."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:  # it ended while we looked
            continue
        pid = int(entry.name)
        children.setdefault(int(fields[1]), []).append(pid)
        ticks[pid] = sum(int(field) for field in fields[11:15])
    total, queue = 0, [root for root in roots if root in ticks]
    while queue:
        pid = queue.pop()
        total += ticks[pid]
        queue += children.get(pid, [])
    return total / TICKS_PER_SECOND


def steal_share(before: list[int], after: list[int]) -> float:
    """The share of time that the hypervisor took between two readings of `machine_ticks`."""
    spent = [b - a for a, b in zip(before, after, strict=True)]
    return spent[7] / (sum(spent) or 1)


def machine_ticks() -> list[int]:
    """The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal…"""
    return [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
