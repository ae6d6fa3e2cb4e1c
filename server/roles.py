"""What each role process runs: `python -m server.roles ROLE --home DIR --worker N`.

In this order, with one thread until the seal: read settings, secrets and code; bind the sockets; seal; connect to the
database as the role's own user; serve; on SIGTERM drain. After the seal neither `keys/` nor PostgreSQL's data can be
opened, so what a role may know is what it took here (docs/architecture.md, Processes and Keys).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import uvloop

from crypto.edge import EdgeKeys
from crypto.errors import CryptoError
from crypto.keyring import Keyring
from crypto.queue_secret import QueueSecret
from crypto.smime.anchors import TrustAnchors
from server.app import Context, Running, Sockets, bind, ports
from server.audit.indicators import Indicators
from server.base import clock, health, log
from server.base.processes import die_with
from server.base.seal import Allowed, Sealed, code, seal
from server.base.sections import Edge
from server.base.settings import Settings, SettingsError, find_home, load
from server.db import pool, queries
from server.db.confinement import EmbeddedError
from server.identity import questions
from server.identity.hygiene import Own, own_certificates
from server.identity.providers import Registered, registered
from server.trust import sources

Serve = Callable[[Context, Sockets], Awaitable[Running]]

# Where each role's `serve(context, sockets) -> Running` is.
TABLE: Final[dict[str, str]] = {
    "relay": "server.smtp.edge:serve_relay",
    "submission": "server.smtp.edge:serve_submission",
    "imap": "server.imap.edge:serve",
    "web": "server.web.edge:serve",
    "ldap": "server.ldap.edge:serve",
    "facility": "server.facility.edge:serve",
    "provider": "server.provider.edge:serve",
    "console": "server.console.edge:serve",
    "sender": "server.sender.worker:serve",
    "fetcher": "server.fetcher.worker:serve",
    "identity": "server.relying.worker:serve",
    "jobs": "server.jobs:serve",
}
READERS: Final = frozenset({"imap", "web", "jobs"})  # hold the keyring: they open mailboxes
WRITERS: Final = (
    frozenset({"relay", "submission", "sender"}) | READERS
)  # hold the edge keys: they know addresses and can seal
DRAIN_SECONDS: Final = 20.0  # sessions end what they do: longer than the longest statement, shorter than an init's kill
CANNOT_START: Final = 78  # sysexits.h EX_CONFIG: starting again would not help
# Long-lived objects are frozen; what is left are short-lived ones, mostly without cycles: look at them rarely.
GC_THRESHOLD: Final = (20_000, 20, 50)


@dataclass
class Prepared:
    """What a role took before it sealed itself."""

    serve: Serve
    settings: Settings
    way: pool.Access
    sockets: Sockets
    health: socket.socket
    edge: EdgeKeys | None
    keyring: Keyring | None
    anchors: TrustAnchors | None
    timestamp_anchors: TrustAnchors | None
    queue_secret: QueueSecret | None
    own: Own
    providers: Sequence[Registered]
    questions: socket.socket | None


def prepare(settings: Settings, role: str, worker: int) -> Prepared:
    """Take all that the role needs with the rights of whoever started it.

    Raises OSError, CryptoError or EmbeddedError: something of the data directory is missing, unreadable or in use.
    """
    module, _, name = TABLE[role].partition(":")
    serve: Serve = getattr(importlib.import_module(module), name)
    keys = settings.keys_directory
    (settings.home / "run").mkdir(exist_ok=True, mode=0o700)
    stampers = TrustAnchors.load(settings.timestamp_anchors)
    return Prepared(
        serve=serve,
        settings=settings,
        way=pool.access(settings, role),
        edge=_edge_keys(keys / "edge.json", role),
        keyring=Keyring.open(settings.ring_directory) if role in READERS else None,
        anchors=TrustAnchors.load(
            [settings.path(anchor) for anchor in settings.trust.anchors],
            settings.trust.signer_policies,
            stampers,
            strict=settings.trust.revocation == "require",
        ),
        timestamp_anchors=stampers,
        queue_secret=QueueSecret.take(keys) if role == "sender" else None,
        own=own_certificates(settings) if role == "jobs" else (),
        providers=registered(settings) if role == "identity" else (),
        questions=health.bind(settings.home / "run", questions.SOCKET) if role == "identity" else None,
        sockets=bind(settings, role),
        health=health.bind(settings.home / "run", f"{role}-{worker}.sock"),
    )


def _edge_keys(file: Path, role: str) -> EdgeKeys | None:
    if role in WRITERS or role == "console":
        return EdgeKeys.load(file)
    return EdgeKeys.load(file).to_sign_in() if role in ("ldap", "facility") else None


def allowed(settings: Settings, role: str, dsn: str) -> Allowed:
    """What the role may still open once sealed: its certificate, the anchors, the way to an external database.

    Raises SettingsError when the data directory lies in a folder that every process must be able to read.
    """
    for folder in code():
        if settings.home.is_relative_to(folder):
            raise SettingsError(f"the data directory {settings.home} must not lie in {folder}, which roles can read")
    read = [settings.path(anchor) for anchor in settings.trust.anchors]
    if role in READERS:
        read.append(settings.ring_directory)  # keys are turned while it runs
    section = settings.relay if role == "sender" else getattr(settings, role, None)
    if isinstance(section, Edge):
        read += [settings.path(section.certificate), settings.path(section.private_key)]
    if role == "ldap" and settings.ldap.pki_port is not None:
        pki = settings.home / "pki"
        read += [pki / "crl", *(pki / name for name in ("root.pem", "responder.pem", "responder.key"))]
    connect: tuple[int, ...] = ()
    if role == "provider":
        read.append(settings.home / "provider")
        connect = (ports(settings, "web")["web"],)  # whom it tells of a logout
    # 53: a resolver answers over TCP what is too long for a datagram (RFC 7766)
    if role == "sender":
        connect = (settings.sender.port, settings.sender.held_port, *settings.sender.resolver_ports, 53)
    elif role == "fetcher":
        connect = (*sources.ports(settings), 53)
        read += sources.folders(settings)
    elif role == "identity":
        connect = (*{one.port for one in settings.identity.providers.values()}, 53)
    chooses = role == "sender" and bool(settings.sender.source)
    address = urlsplit(dsn)
    if not address.hostname:
        return Allowed(read=tuple(read), connect=connect, local_address=chooses)
    options = parse_qs(address.query)
    read += [Path(file) for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl") for file in options.get(name, [])]
    read.append(Path.home() / ".postgresql")
    return Allowed(read=tuple(read), connect=(*connect, address.port or 5432, 53), local_address=chooses)


async def _serve(prepared: Prepared, role: str, worker: int, sealed: Sealed, logger: Any) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, event: logger.error("unhandled", error=event.get("exception")))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    starting = asyncio.ensure_future(_start(prepared, role, worker, sealed, logger))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        return
    context, running, answering, indicators = await starting
    logger.info("serving", ports=prepared.sockets.ports, seal=str(sealed))
    await stopping
    context.health.serving = False
    await running.drain(clock.monotonic() + DRAIN_SECONDS)
    await running.close()
    if indicators is not None:
        await indicators.close()
    answering.close()
    context.pool.terminate()
    logger.info("stopped")


def collect_seldom() -> None:
    """What is there stays; of what comes little has cycles: a whole collection stops everybody for 20 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


async def _start(
    prepared: Prepared, role: str, worker: int, sealed: Sealed, logger: Any
) -> tuple[Context, Running, asyncio.Server, Indicators | None]:
    state = health.Health(notes={"seal": str(sealed), "role": role})
    answering = await health.serve(state, prepared.health)
    database = await pool.connect(prepared.settings, role, prepared.way)
    state.checks["database"] = lambda: database.fetchval(queries.PING)
    context = Context(
        settings=prepared.settings,
        role=role,
        worker=worker,
        pool=database,
        log=logger,
        health=state,
        edge=prepared.edge,
        keyring=prepared.keyring,
        anchors=prepared.anchors,
        timestamp_anchors=prepared.timestamp_anchors,
        queue_secret=prepared.queue_secret,
        own=prepared.own,
        providers=prepared.providers,
        questions=prepared.questions,
    )
    indicators = Indicators(database) if role in WRITERS else None
    running = await prepared.serve(context, prepared.sockets)
    if indicators is not None:
        indicators.start()
    collect_seldom()
    state.serving = True
    return context, running, answering, indicators


def run(settings: Settings, role: str, worker: int = 0) -> int:
    """Be one role process until SIGTERM. Status CANNOT_START when a start with these settings cannot succeed."""
    logger = log.configure(role, level=settings.log_level).bind(worker=worker)
    try:
        prepared = prepare(settings, role, worker)
        sealed = seal(allowed(settings, role, prepared.way.dsn))
    except (SettingsError, EmbeddedError, CryptoError, OSError) as error:
        logger.error("cannot_start", reason=str(error))  # of our own files and settings: it holds no data of a person
        return CANNOT_START
    try:
        uvloop.run(_serve(prepared, role, worker, sealed, logger))
    except Exception as error:  # of any kind: its type and place go to the log, its text might quote what someone sent
        logger.error("ended", error=error)
        return 1
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one role process from the command line."""
    parser = argparse.ArgumentParser(prog="python -m server.roles")
    parser.add_argument("role", choices=sorted(TABLE))
    parser.add_argument("--home", type=Path)
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--parent", type=int, help="end when this process ends")
    given = parser.parse_args(arguments)
    if given.parent is not None:
        die_with(given.parent)
    try:
        settings = load(find_home(given.home))
    except SettingsError as error:
        log.configure(given.role).error("cannot_start", reason=str(error))
        return CANNOT_START
    return run(settings, given.role, given.worker)


if __name__ == "__main__":
    sys.exit(main())
