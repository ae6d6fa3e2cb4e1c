"""The role ldap as an operator runs it, on PostgreSQL with the small national directory, and clients that ask it."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from directory.load import load
from server.base.settings import load as load_settings
from server.db.pool import admin_dsn
from tests.directory_sample import write
from tests.ldap_messages import bind, decode, split
from tests.programs import need
from tests.serving import REPOSITORY, START_SECONDS, Served

SUFFIX = "dc=msg,dc=exemple,dc=fr"
SERVE = """
import asyncio, sys
from pathlib import Path
from server import supervisor
from server.base.log import configure
from server.base.settings import load
asyncio.run(supervisor.serve(load(Path(sys.argv[1])), configure("supervisor"), ["ldap"]))
"""
NOW = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)
CERTIFICATE = b"\x30\x03\x02\x01\x07"  # octets that stand for one: nothing of ours reads it


@dataclass
class Listening:
    """`served.passwords` are app passwords by address."""

    served: Served
    port: int
    tls_port: int

    @property
    def root(self) -> Path:
        return self.served.home / "pki" / "root.pem"

    @property
    def ldaps(self) -> str:
        return f"ldaps://127.0.0.1:{self.tls_port}"

    @property
    def ldap(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"

    def signed_in(self) -> list[str]:
        """The words of ldapsearch that sign the doctor in."""
        return ["-D", self.served.doctor, "-w", self.served.passwords[self.served.doctor]]


def start(home: Path, environment: dict[str, str] | None = None) -> Listening:
    """The role of a new data directory, once it answers. End it by `served.stop()`."""
    served = Served(home)
    served.make()
    command = [sys.executable, "-c", SERVE, str(home)]
    with (home / "serve.log").open("ab") as log:
        served.process = subprocess.Popen(
            command, env=os.environ | (environment or {}), cwd=REPOSITORY, stdout=log, stderr=log
        )
    deadline = time.monotonic() + START_SECONDS
    while not (home / "run" / "ports.json").exists():
        assert served.process.poll() is None, (home / "serve.log").read_text()[-3000:]
        assert time.monotonic() < deadline, (home / "serve.log").read_text()[-3000:]
        time.sleep(0.02)
    ports = served.ports
    return Listening(served, ports["ldap"], ports["ldap_tls"])


async def fill(home: Path, files: Path) -> None:
    """Load the small directory; one mailbox of it is unlisted, one has a certificate and one an old one."""
    connection = await asyncpg.connect(admin_dsn(load_settings(home)))
    try:
        await load(connection, write(files), NOW)
        await connection.execute(
            "UPDATE directory.mailbox_entry SET unlisted = true WHERE address = 'louis.martin@msg.exemple.fr'"
        )
        await connection.executemany(
            "INSERT INTO directory.mailbox_certificate (address, certificate, not_after)"
            " VALUES ('claire.martin@msg.exemple.fr', $1, now() + $2::int * interval '1 day')",
            [(CERTIFICATE, 30), (b"old", -1)],
        )
    finally:
        await connection.close()


def ldapsearch(listening: Listening, url: str, *words: str) -> tuple[int, str]:
    """Status and LDIF, without folded lines; values in base64 are decoded."""
    environment = os.environ | {"LDAPTLS_CACERT": str(listening.root), "LDAPTLS_REQCERT": "demand", "LDAPRC": "/none"}
    command = [need("ldapsearch"), "-LLL", "-x", "-o", "ldif-wrap=no", "-o", "nettimeout=60", "-H", url, *words]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100)
    lines = []
    for line in done.stdout.decode().splitlines():
        kind, found, value = line.partition(":: ")
        if found:
            line = f"{kind}: {base64.b64decode(value).decode('utf-8', 'replace')}"
        lines.append(line)
    return done.returncode, "\n".join(lines)


class Client:
    """A client of octets, over TLS."""

    def __init__(self, listening: Listening, *, tls: bool = True) -> None:
        plain = socket.create_connection(("localhost", listening.tls_port if tls else listening.port), timeout=60)
        context = ssl.create_default_context(cafile=str(listening.root))
        self.socket = context.wrap_socket(plain, server_hostname="localhost") if tls else plain
        self._listening = listening

    def sign_in(self) -> None:
        served = self._listening.served
        (answer,) = self.ask(bind(1, served.doctor, served.passwords[served.doctor]))
        assert answer["protocolOp"][1]["resultCode"] == "success"

    def ask(self, message: bytes, answers: int = 1) -> list[dict[str, Any]]:
        """Send, and read until so many operations have ended."""
        self.socket.sendall(message)
        data = b""
        while True:
            whole = _whole(data)
            found = [decode(one) for one in split(whole)]
            ended = [one for one in found if one["protocolOp"][0] != "searchResEntry"]
            if len(ended) >= answers:
                return found
            more = self.socket.recv(65_536)
            assert more, f"the connection ended after {found}"
            data += more

    def rest(self) -> bytes:
        """Everything until the server closes."""
        data = b""
        while True:
            try:
                more = self.socket.recv(65_536)
            except (ConnectionError, ssl.SSLError):
                return data
            if not more:
                return data
            data += more

    def close(self) -> None:
        self.socket.close()


def _whole(data: bytes) -> bytes:
    """As many whole messages as there are."""
    place = 0
    while len(data) - place >= 2:
        short = data[place + 1] < 0x80
        head = 2 if short else 2 + data[place + 1] - 0x80
        if len(data) - place < head:
            break
        size = data[place + 1] if short else int.from_bytes(data[place + 2 : place + head], "big")
        if len(data) - place < head + size:
            break
        place += head + size
    return data[:place]


def prepared(home: Path, environment: dict[str, str] | None = None) -> Listening:
    """The role with the directory in it."""
    listening = start(home, environment)
    files = home.parent / "national"
    files.mkdir()
    asyncio.run(fill(home, files))
    return listening
