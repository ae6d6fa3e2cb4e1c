"""Several operators on one machine: each a whole Caducée on a loopback address of its own, one port for all."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from cryptography import x509

from tests.serving import Served


def free_port(hosts: list[str]) -> int:
    """A port that is free on all of these addresses."""
    while True:
        with socket.socket() as first:
            first.bind((hosts[0], 0))
            port = first.getsockname()[1]
        try:
            for host in hosts:
                with socket.socket() as probe:
                    probe.bind((host, port))
        except OSError:
            continue
        return port


def operator(place: Path, domain: str, host: str, port: int, resolver: str) -> Served:
    """An operator, made and not started: its relay listens on `host`, and its sender leaves from there."""
    served = Served(
        place / domain,
        {
            "CADUCEE_RELAY__HOST": host,
            "CADUCEE_RELAY__PORT": str(port),
            "CADUCEE_SENDER__SOURCE": host,
            "CADUCEE_SENDER__PORT": str(port),
            "CADUCEE_SENDER__RESOLVERS": json.dumps([resolver]),
        },
        domain=domain,
    )
    served.make()
    return served


def subject(served: Served) -> str:
    """The name in the operator's certificate, as a list writes it."""
    certificate = x509.load_pem_x509_certificate((served.home / "pki" / "server.pem").read_bytes())
    return certificate.subject.rfc4514_string()


def trust_each_other(*operators: Served) -> None:
    """Each trusts the others' roots, and lists the others' names for their domains."""
    roots = [str(one.home / "pki" / "root.pem") for one in operators]
    members = {domain: [subject(one)] for one in operators for domain in (one.domain, f"patient.{one.domain}")}
    listed = "".join(f'"{domain}" = {json.dumps(names, ensure_ascii=False)}\n' for domain, names in members.items())
    for one in operators:
        with (one.home / "caducee.toml").open("a", encoding="utf-8") as file:
            file.write(f"\n[trust]\nanchors = {json.dumps(roots)}\n\n[trust.members]\n{listed}")
