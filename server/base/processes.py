"""Parents and children: a child dies with its parent, and its end can be awaited on any event loop."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when `parent` dies; exits at once when it is dead already.

    Linux follows the thread that forked, so a parent starts its children from its main thread. A later change of
    credentials that takes no rights beyond the present ones (dropping capabilities) leaves the request in force.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the supervisor is gone")


async def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for a child's end and return its status; on its pidfd, so that no other child's status is taken."""
    if process.poll() is None:
        descriptor = os.pidfd_open(process.pid)
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        loop.add_reader(descriptor, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
    return process.wait()
