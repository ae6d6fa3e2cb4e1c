"""`caducee serve`: starts PostgreSQL and the role processes, and keeps them running.

Invariants:
- nothing it started outlives it, however it dies: PostgreSQL and workers asked the kernel to end with it;
- a worker that was killed or had served is started again at once; one that ends before, at growing intervals; all
  are forked by `nursery.py`, which has their code and nothing else;
- run/ports.json is written once every worker has answered: who waits for it can use every port in it (after a
  kill -9 the old one lies there until the next start takes it away);
- PostgreSQL is stopped last, and started again when it was killed; workers find it again by themselves.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import asyncpg

from server.app import LISTENERS, PORTS_VARIABLE, Sockets, bind
from server.base import clock, health, log
from server.base.settings import Settings
from server.db.confinement import EmbeddedError
from server.db.embedded import EmbeddedPostgres, Holder
from server.db.migrate import MigrationError, pending
from server.db.pool import admin_dsn
from server.nursery import Nursery, NurseryGoneError
from server.nursery import Worker as Process
from server.roles import CANNOT_START, DRAIN_SECONDS

ROLES: Final = tuple(LISTENERS)
FIRST_DELAY: Final = 0.05
LONGEST_DELAY: Final = 30.0
PROBE_SECONDS: Final = 0.05  # how often a starting worker is asked
LIVENESS_SECONDS: Final = 5.0  # how often a serving one is
MISSES: Final = 6  # a loop that did not turn for half a minute will not turn again
STOP_SECONDS: Final = DRAIN_SECONDS + 5


class SupervisorError(Exception):
    """`serve` cannot start or go on; the text is for the operator."""


@dataclass
class Worker:
    """One role process, through all its restarts."""

    role: str
    number: int
    process: Process | None = None
    served: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return f"{self.role}-{self.number}"


class Supervisor:
    """The processes of one home."""

    def __init__(self, settings: Settings, logger: Any, roles: Sequence[str] = ROLES) -> None:
        self._settings = settings
        self._log = logger
        self._run = settings.home / "run"
        self._workers = [Worker(role, number) for role in roles for number in range(self._count(role))]
        self._roles = roles
        self._nursery = Nursery()
        self._postgres: EmbeddedPostgres | None = None
        self._reserved: list[Sockets] = []
        self._stopping = asyncio.Event()

    def _count(self, role: str) -> int:
        if role == "identity" and not self._settings.identity.providers:
            return 0  # there is nobody to ask
        return getattr(getattr(self._settings, role, None), "workers", 1)  # jobs and fetcher are one each

    async def run(self, stop: asyncio.Event) -> None:
        """Start everything, keep it running until `stop` is set, drain, stop.

        Raises SupervisorError, EmbeddedError, MigrationError or OSError when it cannot start; all is stopped then.
        """
        lock = self._lock()
        tasks: list[asyncio.Task[None]] = []
        waiting = asyncio.create_task(stop.wait())
        try:
            (self._run / "ports.json").unlink(missing_ok=True)
            ports = self._reserve()
            self._nursery.open()  # imports while the database starts
            await self._start_database(tasks)
            await self._check_migrations()
            tasks += [asyncio.create_task(self._keep(worker, ports)) for worker in self._workers]
            tasks.append(asyncio.create_task(self._announce(ports)))
            await self._until(waiting, tasks)
        finally:
            self._stopping.set()
            (self._run / "ports.json").unlink(missing_ok=True)
            await self._stop_workers()
            self._nursery.close()
            for task in (*tasks, waiting):
                task.cancel()
            await asyncio.gather(*tasks, waiting, return_exceptions=True)
            if self._postgres is not None:
                await self._postgres.stop()
            for sockets in self._reserved:
                sockets.close()
            lock.close()
            self._log.info("stopped")

    async def _until(self, waiting: asyncio.Task[bool], tasks: Sequence[asyncio.Task[None]]) -> None:
        """Wait for the stop; a task that failed ends everything with its error."""
        left: set[asyncio.Task[Any]] = {waiting, *tasks}
        while not waiting.done():
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    def _lock(self) -> IO[str]:
        """One `serve` a home."""
        self._run.mkdir(exist_ok=True, mode=0o700)
        lock = (self._run / "serve.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read()
            lock.close()
            raise SupervisorError(f"{self._settings.home} is served already, by process {holder}") from None
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        return lock

    def _reserve(self) -> dict[str, int]:
        """Bind every port and keep it, so that it stays ours while a worker is being started again."""
        ports: dict[str, int] = {}
        for role in self._roles:
            sockets = bind(self._settings, role, alone=True)
            self._reserved.append(sockets)
            ports |= sockets.ports
        return ports

    async def _start_database(self, tasks: list[asyncio.Task[None]]) -> None:
        if self._settings.database.dsn is not None:
            return
        postgres = EmbeddedPostgres(self._settings.home, self._settings.keys_directory, holder=Holder.SERVE)
        self._postgres = postgres
        await postgres.acquire()
        await postgres.init()
        await postgres.start()
        self._log.info("database_started", pid=postgres.pid)
        tasks.append(asyncio.create_task(self._keep_database(postgres)))

    async def _keep_database(self, postgres: EmbeddedPostgres) -> None:
        while True:
            status = await postgres.wait()
            self._log.error("database_ended", status=status)
            delay = FIRST_DELAY
            while True:
                try:
                    await postgres.start()
                except (EmbeddedError, OSError, asyncpg.PostgresError) as error:
                    self._log.error("database_does_not_start", reason=str(error))
                    await asyncio.sleep(delay)
                    delay = min(2 * delay, LONGEST_DELAY)
                else:
                    self._log.info("database_started", pid=postgres.pid)
                    break

    async def _check_migrations(self) -> None:
        connection = await asyncpg.connect(admin_dsn(self._settings))
        try:
            if todo := await pending(connection):
                names = ", ".join(f"{migration.number:03}_{migration.name}" for migration in todo)
                raise SupervisorError(f"the database lacks {names}: run `caducee db upgrade` first")
        finally:
            await connection.close()

    async def _announce(self, ports: dict[str, int]) -> None:
        """Write run/ports.json once every worker has answered."""
        await asyncio.gather(*(worker.served.wait() for worker in self._workers))
        partial = self._run / "ports.json.partial"
        partial.write_text(json.dumps(ports))
        partial.rename(self._run / "ports.json")
        self._log.info("serving", ports=ports)

    async def _keep(self, worker: Worker, ports: dict[str, int]) -> None:
        """Start a worker, again and again."""
        delay = FIRST_DELAY
        while not self._stopping.is_set():
            ready = asyncio.Event()
            try:
                worker.process = await self._start(worker, ports)
                probing = asyncio.create_task(self._probe(worker, worker.process, ready))
                try:
                    status = await worker.process.wait()
                finally:
                    probing.cancel()
            except NurseryGoneError:
                status = 1
            if self._stopping.is_set():
                return
            if status == CANNOT_START and not worker.served.is_set():
                raise SupervisorError(f"{worker.role} cannot start: see {self._log_file(worker)}")
            # who was killed, perhaps before we saw it serve, is not the cause of its end: only who ends by itself waits
            blameless = ready.is_set() or status == -signal.SIGKILL
            delay = FIRST_DELAY if blameless else min(2 * delay, LONGEST_DELAY)
            self._log.warning("worker_ended", worker=worker.name, status=status, again_in=delay)
            await asyncio.sleep(delay)

    async def _start(self, worker: Worker, ports: dict[str, int]) -> Process:
        descriptor = os.open(self._log_file(worker), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            chosen = {PORTS_VARIABLE: json.dumps(ports)}
            return await self._nursery.start(worker.role, worker.number, self._settings.home, descriptor, chosen)
        finally:
            os.close(descriptor)

    def _log_file(self, worker: Worker) -> Path:
        folder = self._settings.home / "log"
        folder.mkdir(exist_ok=True, mode=0o700)
        return folder / f"{worker.role}.log"

    async def _probe(self, worker: Worker, process: Process, ready: asyncio.Event) -> None:
        """Ask until the worker is ready; from then on kill it when its loop turns no more."""
        misses = 0
        while True:
            await asyncio.sleep(LIVENESS_SECONDS if ready.is_set() else PROBE_SECONDS)
            try:
                status, _ = await health.ask(
                    self._run, f"{worker.name}.sock", "/health" if ready.is_set() else "/ready"
                )
            except (OSError, TimeoutError):
                misses += ready.is_set()
            else:
                misses = 0
                if status == 200 and not ready.is_set():
                    ready.set()
                    worker.served.set()
                    self._log.info("worker_ready", worker=worker.name, pid=process.pid)
            if misses >= MISSES:
                self._log.error("worker_hangs", worker=worker.name, pid=process.pid)
                process.send(signal.SIGKILL)
                return

    async def _stop_workers(self) -> None:
        """Ask all to drain at once; kill who does not end in time."""
        living = [w.process for w in self._workers if w.process is not None and w.process.status is None]
        for process in living:
            process.send(signal.SIGTERM)
        deadline = clock.monotonic() + STOP_SECONDS
        for process in living:
            try:
                await asyncio.wait_for(process.wait(), max(0.0, deadline - clock.monotonic()))
            except TimeoutError:
                self._log.error("worker_killed", pid=process.pid)
                process.send(signal.SIGKILL)
                await process.wait()


async def serve(settings: Settings, logger: Any, roles: Sequence[str] = ROLES) -> None:
    """Run a supervisor until SIGTERM or SIGINT (from the main thread: children follow the thread that made them)."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await Supervisor(settings, logger, roles).run(stop)


def is_served(home: Path) -> bool:
    """Whether a `serve` runs for this home."""
    try:
        with (home / "run" / "serve.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def run(settings: Settings) -> int:
    """Be the supervisor until SIGTERM; the exit status. Why it could not start stands on standard error."""
    logger = log.configure("supervisor", level=settings.log_level)
    try:
        asyncio.run(serve(settings, logger))
    except (SupervisorError, EmbeddedError, MigrationError, OSError) as error:
        logger.error("cannot_serve", reason=str(error))
        return 1
    return 0
