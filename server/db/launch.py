"""Becomes PostgreSQL: `python -I -S launch.py PARENT MODE COMMAND…`, run as a script of its own, standard library only.

Between fork and exec three things must happen in this order, and no ready-made program does all of them everywhere:
the credentials change first (a user namespace, or a system user), because changing them clears the parent-death signal;
then the signal is asked for; then the parent is looked at again, because it may have died in between.
MODE is `plain`, `namespace:UID:GID` (how the present user is called inside) or `user:UID:GID`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000  # <linux/sched.h>
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def _enter_namespace(uid: int, gid: int) -> None:
    """Be `uid`:`gid` in a user namespace of our own: root outside owns the files, PostgreSQL inside sees no root."""
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    # user_namespaces(7): gid_map may be written without privilege only after setgroups is denied
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outside_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {outside_gid} 1")


def main(parent: int, mode: str, command: list[str]) -> None:
    """Change credentials, tie our life to `parent` (SIGQUIT: PostgreSQL's immediate shutdown), become `command`."""
    os.setsid()  # a Ctrl-C at the terminal is for the supervisor, which stops PostgreSQL last
    os.umask(0o077)
    kind, _, numbers = mode.partition(":")
    if kind == "namespace":
        uid, gid = map(int, numbers.split(":"))
        _enter_namespace(uid, gid)
    elif kind == "user":
        uid, gid = map(int, numbers.split(":"))
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent died before PostgreSQL could start")
    os.execv(command[0], command)  # noqa: S606 -- becoming it is the point


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
