"""`caducee init`: a data directory with settings, keys, a development PKI and a database, complete or absent."""

from __future__ import annotations

import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from crypto.edge import EdgeKeys
from crypto.keyring import Keyring
from crypto.pki import development
from crypto.pki.profile import KeyKind
from server.base import clock
from server.base.setting_types import DOMAIN
from server.base.settings import FILE_NAME, Settings, load
from server.cli.common import Failure, run
from server.cli.database import upgrade_database
from server.provider import clients, people
from server.provider.addresses import REALM

# Below Linux's range of ports for outgoing connections (32768 up), so that nothing takes them between two starts.
PORTS = range(20_000, 32_000)
LISTENERS = ("relay", "submission", "imap", "web", "ldap", "provider", "console")

TEMPLATE = """\
# Settings of this Caducée. Each can also come from CADUCEE_<SECTION>__<NAME>, which wins; a top-level one from
# CADUCEE_<NAME>. `caducee doctor` says what is wrong; docs/operator.md lists all of them.

domain = "{domain}"
patient_domain = "{patient_domain}"
# true refuses everything that is only for trying out.
production = false
# What is written in the pages is signed for the mailbox, by certificates of the authority in pki/.
sign_messages = true
{listeners}
[identity]
# A sign-in without proof, to try the record in a browser. Refused when production = true.
development_sign_in = true

# The development provider stands in for Pro Santé Connect. Take it out before production = true.
[identity.providers.{provider}]
label = "Pro Santé Connect (développement)"
issuer = "{issuer}"
discovery = ".well-known/wallet-openid-configuration"
client_id = "{client}"
scope = "openid scope_all"
software = ["{software}"]
roots = "pki/root.pem"
"""


def initialise(home: Path, domain: str, say: Callable[[str], None]) -> Settings:
    """Make the data directory `home`; `say` is told each step. Raises Failure when there is something already.

    It is built beside and renamed when whole, so that an interrupted run leaves nothing that looks usable.
    """
    if home.exists() and any(home.iterdir()):
        raise Failure(f"{home} is not empty: choose a new folder.")
    if not DOMAIN.fullmatch(domain):
        raise Failure(f'--domain: {domain!r} is none; it should look like "msg.exemple.fr", in lower case.')
    partial = home.with_name(f".{home.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o700)
    try:
        (partial / FILE_NAME).write_text(_settings_text(domain), encoding="utf-8")
        settings = load(partial)
        say("Keys: master key, 4,096 bucket keys, secrets of the edges")
        Keyring.create(settings.ring_directory)
        EdgeKeys.new().save(settings.keys_directory / "edge.json")
        say("Development PKI: root, server, organisation, S/MIME")
        _make_pki(partial / "pki", domain)
        say("Development provider of identity: people and clients")
        _make_provider(settings)
        say("Database: PostgreSQL and its schema")
        run(upgrade_database(settings))
        (partial / "run" / "postgresql.json").unlink(missing_ok=True)  # names sockets at the place it was built
        if home.exists():
            home.rmdir()
        partial.rename(home)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return load(home)


def _make_pki(folder: Path, domain: str) -> None:
    """Root, server and organisation, and a professional's signing certificates of both kinds to try signing with."""
    now = clock.now()
    development.create(folder, domain, now)
    for kind in (KeyKind.RSA_2048, KeyKind.P256):
        development.signer(folder, f"dr.essai@{domain}", "Camille ESSAI", "10000000017", now, kind)


def _make_provider(settings: Settings) -> None:
    """People and clients of the development provider, and our secret there."""
    people.write_people(people.file_of(settings), people.FIRST)
    web, *others = clients.new_clients()
    clients.write_clients(clients.file_of(settings), [web, *others])
    clients.write_private(settings.provider_secret(clients.NAME), web.secret + "\n")


def _settings_text(domain: str) -> str:
    sections, ports = [], {name: _free_port() for name in LISTENERS}
    for name, port in ports.items():
        lines = [f"\n[{name}]", f"port = {port}"]
        if name not in ("relay", "web", "provider", "console"):
            lines.append(f"tls_port = {_free_port()}")
        if name == "provider":
            lines.append("workers = 1")
        sections.append("\n".join(lines) + "\n")
    return TEMPLATE.format(
        domain=domain,
        patient_domain=f"patient.{domain}",
        listeners="".join(sections),
        provider=clients.NAME,
        issuer=f"https://localhost:{ports['provider']}{REALM}",
        client=clients.WEB,
        software=clients.SOFTWARE,
    )


def _free_port() -> int:
    """A port that nobody holds now; written into the settings, so that clients find it again after a restart."""
    chooser = random.SystemRandom()
    while True:
        port = chooser.choice(PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
