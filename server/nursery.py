"""Starts role processes by fork: the parent has imported the code of every role once, and knows nothing else.

`python -m server.nursery` reads requests on standard input, a Unix socket of packets, and forks: a worker is there in
milliseconds instead of a second, and workers share the memory of their code. It takes no setting, opens no file of the
home and runs one thread; what a role may know it takes after the fork (`roles.py`), and then seals itself. Who asked
gets a pidfd, so that no signal ever reaches another process. When the supervisor ends it ends, and with it all workers.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import setproctitle

from server import roles
from server.base.limits import MIB
from server.base.processes import die_with
from server.base.seal import LAZY

# glibc gives large blocks back to the kernel and takes them anew for each message, page fault by page fault: a body of
# 1 MB is encrypted seven times faster when it keeps them (mallopt(3)).
MALLOC: Final = {"MALLOC_TRIM_THRESHOLD_": str(64 * MIB), "MALLOC_MMAP_THRESHOLD_": str(32 * MIB)}
_PACKET: Final = 64 * 1024  # octets: a role, a path and a handful of ports


class NurseryGoneError(Exception):
    """The nursery ended before it started the worker; the next request starts another one."""


@dataclass
class Worker:
    """A process started here. `descriptor` is its pidfd."""

    pid: int
    descriptor: int = field(repr=False)
    status: int | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def ended(self, status: int) -> None:
        """Note the exit status, as `subprocess` gives it; the first one counts."""
        if self.status is None:
            self.status = status
            self.over.set()
            os.close(self.descriptor)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing when it has ended."""
        if self.status is None:
            with suppress(ProcessLookupError):  # its end is not told yet
                signal.pidfd_send_signal(self.descriptor, number)

    async def wait(self) -> int:
        """Its exit status, once it has ended."""
        await self.over.wait()
        assert self.status is not None  # noqa: S101 -- set with the event
        return self.status


class Nursery:
    """The supervisor's end. One process, started on first use and again after it was killed."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._born: asyncio.Future[Worker] | None = None
        self._workers: dict[int, Worker] = {}

    def open(self) -> None:
        """Start importing, if it is not there already (from the main thread: children follow who made them)."""
        if self._channel is not None:
            return
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "server.nursery", str(os.getpid())],
                stdin=theirs.fileno(),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **MALLOC},
                start_new_session=True,  # Ctrl-C is for the supervisor, which drains
            )
        asyncio.get_running_loop().add_reader(self._channel, self._heard)

    async def start(self, role: str, worker: int, home: Path, log: int, more: Mapping[str, str]) -> Worker:
        """Start a role process that writes to the descriptor `log`, with `more` in its environment.

        Raises NurseryGoneError.
        """
        async with self._turn:
            self.open()
            assert self._channel is not None  # noqa: S101 -- just opened
            self._born = asyncio.get_running_loop().create_future()
            request = {"role": role, "worker": worker, "home": str(home), "environment": dict(more)}
            try:
                socket.send_fds(self._channel, [json.dumps(request).encode()], [log])
            except OSError:
                self._lost()
            return await self._born

    def close(self) -> None:
        """End it, and with it all workers that are left."""
        if self._process is not None:
            self._process.kill()
            self._lost()

    def _heard(self) -> None:
        assert self._channel is not None  # noqa: S101 -- read only while it is there
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._channel, _PACKET, 1)
        except ConnectionError:
            packet, descriptors = b"", []
        if not packet:
            self._lost()
            return
        told: dict[str, int] = json.loads(packet)
        if descriptors:
            born = self._workers[told["pid"]] = Worker(told["pid"], descriptors[0])
            if self._born is not None:
                self._born.set_result(born)
        else:
            self._workers.pop(told["pid"]).ended(told["status"])

    def _lost(self) -> None:
        """The nursery is gone: the kernel kills its workers."""
        assert self._channel is not None  # noqa: S101 -- lost once
        assert self._process is not None  # noqa: S101 -- opened with the channel
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        self._channel = None
        self._process.wait()
        if self._born is not None and not self._born.done():
            self._born.set_exception(NurseryGoneError())
        for worker in self._workers.values():
            worker.ended(-signal.SIGKILL)
        self._workers.clear()


def _serve(channel: socket.socket) -> None:
    """Fork what is asked for and tell what ends, until nobody asks any more."""
    waiting = selectors.DefaultSelector()
    waiting.register(channel, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.data is not None:
                waiting.unregister(key.fd)
                os.close(key.fd)
                _, status = os.waitpid(key.data, 0)
                channel.send(json.dumps({"pid": key.data, "status": os.waitstatus_to_exitcode(status)}).encode())
                continue
            packet, descriptors, _, _ = socket.recv_fds(channel, _PACKET, 1)
            if not packet:
                return
            (log,) = descriptors
            pid = os.fork()
            if pid == 0:
                _become(json.loads(packet), log, waiting)
            os.close(log)
            descriptor = os.pidfd_open(pid)
            waiting.register(descriptor, selectors.EVENT_READ, pid)
            socket.send_fds(channel, [json.dumps({"pid": pid}).encode()], [descriptor])


def _become(request: dict[str, Any], log: int, waiting: selectors.BaseSelector) -> NoReturn:
    """In the child: be the role process and nothing of the nursery."""
    status = 1
    try:
        parent = os.getppid()
        os.setsid()
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        for key in list(waiting.get_map().values()):  # the channel, and pidfds of others
            os.close(key.fd)
        waiting.close()
        os.environ.update(request["environment"])
        words = [request["role"], "--home", request["home"], "--worker", str(request["worker"])]
        setproctitle.setproctitle(" ".join([sys.executable, "-m", "server.roles", *words]))
        status = roles.main([*words, "--parent", str(parent)])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # what no role foresees is told where its log is, and the process ends
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> int:
    """Be the nursery of the supervisor whose process id is the argument."""
    die_with(int(sys.argv[1]))
    for module in {place.partition(":")[0] for place in roles.TABLE.values()} | set(LAZY):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # what is shared with the workers stays unwritten
    channel = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    _serve(channel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
