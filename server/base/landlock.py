"""Landlock, the kernel's sandbox that needs no privilege (landlock(7)), through its three system calls.

A ruleset names the rights it handles; what no rule allows is denied from `restrict_self` on, for this thread and all it
starts. Kernels differ by ABI: a right that the kernel does not know is left out, and `Abi` says what holds.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

# System call numbers, the same on every architecture (they are newer than the common table of 5.1).
CREATE_RULESET: Final = 444
ADD_RULE: Final = 445
RESTRICT_SELF: Final = 446
VERSION_FLAG: Final = 1
RULE_PATH_BENEATH: Final = 1
RULE_NET_PORT: Final = 2

# <linux/landlock.h>, LANDLOCK_ACCESS_FS_*
EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
TRUNCATE: Final = 1 << 14  # ABI 3
IOCTL_DEV: Final = 1 << 15  # ABI 5
ABI_1: Final = (1 << 13) - 1
REFER: Final = 1 << 13  # ABI 2
READ: Final = READ_FILE | READ_DIR
USE: Final = READ | EXECUTE
ON_FILES: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # the rights a rule on one file may give
BIND_TCP: Final = 1 << 0  # ABI 4
CONNECT_TCP: Final = 1 << 1
SCOPE_ABSTRACT_UNIX: Final = 1 << 0  # ABI 6
SCOPE_SIGNAL: Final = 1 << 1


def _call(*arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    result: int = library.syscall(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return result


def abi() -> int:
    """The kernel's Landlock ABI, 0 when it has none (too old, not built in, or switched off at boot)."""
    try:
        return _call(ctypes.c_long(CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION_FLAG))
    except OSError:
        return 0


def file_rights(level: int) -> int:
    """Every file-system right that the ABI `level` can deny."""
    rights = ABI_1
    if level >= 2:
        rights |= REFER
    if level >= 3:
        rights |= TRUNCATE
    if level >= 5:
        rights |= IOCTL_DEV
    return rights


class Ruleset:
    """Denies everything this ABI can deny, but for what is allowed before `enforce`."""

    def __init__(self, level: int) -> None:
        """`level`: the ABI to use, at most the kernel's. Raises OSError when the kernel refuses."""
        self.level = level
        self._rights = file_rights(level)
        network = BIND_TCP | CONNECT_TCP if level >= 4 else 0
        scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL if level >= 6 else 0
        # struct landlock_ruleset_attr grew with the ABI; an older kernel refuses a longer one
        attributes = struct.pack("=QQQ", self._rights, network, scoped)[: 24 if level >= 6 else 16 if level >= 4 else 8]
        self._descriptor = _call(
            ctypes.c_long(CREATE_RULESET), attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)
        )

    def allow(self, paths: Iterable[Path], rights: int) -> None:
        """Allow `rights` on files, and on folders with all below. Paths that do not exist are left out."""
        for path in paths:
            try:
                target = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                allowed = rights & self._rights & (-1 if path.is_dir() else ON_FILES)
                # struct landlock_path_beneath_attr is packed
                self._add(RULE_PATH_BENEATH, struct.pack("=Qi", allowed, target))
            finally:
                os.close(target)

    def allow_connect(self, ports: Iterable[int]) -> None:
        """Allow TCP connections to these ports (all are allowed before ABI 4)."""
        if self.level >= 4:
            for port in ports:
                self._add(RULE_NET_PORT, struct.pack("=QQ", CONNECT_TCP, port))

    def allow_local_address(self) -> None:
        """Allow a connection to choose its local address: a bind to port 0, and to no port of its own."""
        if self.level >= 4:
            self._add(RULE_NET_PORT, struct.pack("=QQ", BIND_TCP, 0))

    def _add(self, kind: int, attributes: bytes) -> None:
        _call(
            ctypes.c_long(ADD_RULE),
            ctypes.c_int(self._descriptor),
            ctypes.c_int(kind),
            attributes,
            ctypes.c_uint32(0),
        )

    def enforce(self) -> None:
        """Deny the rest from now on, for ever, for this thread. Needs no_new_privs."""
        _call(ctypes.c_long(RESTRICT_SELF), ctypes.c_int(self._descriptor), ctypes.c_uint32(0))
        os.close(self._descriptor)
