"""Several operators on one machine, each on a loopback address of its own, one port for all, with DNS and trust.

Each Caducée is whole, in processes of its own; a Postfix operator (tests/postfix.py) may be one of them.
"""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from crypto.pki.authority import list_file
from server.base import clock
from server.trust import private_space
from server.trust.white_list import entry
from tests.dns_server import DnsServer, dns_in_a_thread
from tests.postfix import Postfix
from tests.serving import Served, caducee

ONE, TWO, THREE = "un.exemple.fr", "deux.exemple.fr", "trois.exemple.fr"
HOSTS = {ONE: "127.0.0.11", TWO: "127.0.0.12", THREE: "127.0.0.13"}
ARRIVES_SECONDS = 30
SIGNER = {"signer_name": "Liste Blanche de Test", "signer_unit": "318751275100020"}


@dataclass(frozen=True)
class Member:
    """What the others must know of an operator. `certificate` and `root` are PEM files."""

    domains: tuple[str, ...]
    certificate: Path
    root: Path

    @property
    def subject(self) -> str:
        """The name in the operator's certificate, as a list writes it."""
        certificate = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        return certificate.subject.rfc4514_string()


@dataclass
class Operators:
    """Operators that trust each other and run."""

    dns: DnsServer
    port: int
    caducees: list[Served]
    postfix: Postfix | None = None
    domains: Sequence[str] = field(default=())

    def logs(self) -> str:
        """What they said last, for a failure's message."""
        said = [(one.home / "log" / f"{role}.log") for one in self.caducees for role in ("sender", "relay")]
        texts = [path.read_text()[-1_500:] for path in said if path.exists()]
        return "\n".join(texts + ([self.postfix.log()] if self.postfix else []))


def free_port(hosts: Sequence[str]) -> int:
    """A port that is free on all of these addresses."""
    while True:
        with socket.socket() as first:
            first.bind((hosts[0], 0))
            port = int(first.getsockname()[1])
        try:
            for host in hosts:
                with socket.socket() as probe:
                    probe.bind((host, port))
        except OSError:
            continue
        return port


def zones(domains: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """What DNS says of the operators: an exchanger for the domain and its patients', and where it is."""
    found: dict[str, dict[str, list[str]]] = {}
    for domain in domains:
        found |= {name: {"MX": [f"10 mx.{domain}."]} for name in (domain, f"patient.{domain}")}
        found[f"mx.{domain}"] = {"A": [HOSTS[domain]]}
    return found


def caducee_operator(
    place: Path,
    domain: str,
    port: int,
    dns: DnsServer,
    extra: list[list[str]] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Served:
    """A Caducée, made and not started: its relay listens on the domain's address, and its sender leaves from there."""
    served = Served(
        place / domain,
        {
            "CADUCEE_RELAY__HOST": HOSTS[domain],
            "CADUCEE_RELAY__PORT": str(port),
            "CADUCEE_SENDER__SOURCE": HOSTS[domain],
            "CADUCEE_SENDER__PORT": str(port),
            "CADUCEE_SENDER__RESOLVERS": json.dumps([f"127.0.0.1:{dns.port}"]),
            **(environment or {}),
        },
        domain=domain,
    )
    served.make(extra)
    return served


def member(served: Served) -> Member:
    """A Caducée as the others know it."""
    pki = served.home / "pki"
    return Member((served.domain, f"patient.{served.domain}"), pki / "server.pem", pki / "root.pem")


def trust_each_other(caducees: Sequence[Served], members: Sequence[Member]) -> None:
    """Each Caducée, before it starts, follows one white list of the members, signed by a manager of their own, and the
    revocation lists of the members' roots."""
    space = caducees[0].home.parent / f"space-{caducees[0].domain}"
    private_space.make(space, SIGNER["signer_name"], SIGNER["signer_unit"], clock.now())
    publish(space, members)
    settings = {
        "anchors": [str(root) for root in (space / "root.pem", *(one.root for one in members))],
        "white_list": str(space / "list" / "white-list.xml"),
        "crls": [str(file) for one in members if (file := list_file(one.root.parent)).exists()],
        **SIGNER,
    }
    text = "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in settings.items())
    for one in caducees:
        with (one.home / "caducee.toml").open("a", encoding="utf-8") as file:
            file.write(f"\n[trust]\n{text}")
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda one: caducee("trust", "refresh", home=one.home), caducees))


def publish(space: Path, members: Sequence[Member]) -> None:
    """The manager signs a new list of these members."""
    rows = [entry(domain, one.subject) for one in members for domain in one.domains]
    document, _ = private_space.signed(space, rows, clock.now())
    file = space / "list" / "white-list.xml"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(document)


@contextlib.contextmanager
def operators(
    *,
    postfix: bool = False,
    strangers: Mapping[str, Member] | None = None,
    extra: list[list[str]] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Operators]:
    """Two Caducées, and Postfix when asked, running. `strangers`: members that are listed and not run here.

    `extra`: mailboxes of both Caducées beside the usual ones, as rows of the CSV that import reads, where "@" at the
    end of an address stands for the domain. `environment`: settings of both.
    """
    domains = [ONE, TWO, THREE]
    strangers = strangers or {}
    with (
        tempfile.TemporaryDirectory(prefix="caducee-operators-") as folder,
        dns_in_a_thread(zones(domains)) as dns,
        ThreadPoolExecutor(2) as threads,
        contextlib.ExitStack() as stack,  # the first to end: the folder is theirs until then
    ):
        port = free_port([HOSTS[domain] for domain in domains])
        third = None
        if postfix:
            third = Postfix(THREE, HOSTS[THREE], port, ["dr.postfix"])
            stack.callback(third.stop)
            third.make()

        def made(domain: str) -> Served:
            rows = [[f"{row[0]}{domain}", *row[1:]] for row in extra or []]
            return caducee_operator(Path(folder), domain, port, dns, rows, environment)

        caducees = list(threads.map(made, (ONE, TWO)))
        members = [member(one) for one in caducees]
        if third is not None:
            members.append(Member((THREE,), third.place / "pki" / "server.pem", third.root))
        trust_each_other(caducees, [*members, *strangers.values()])
        for one in caducees:
            stack.callback(one.stop)
        list(threads.map(Served.start, caducees))
        if third is not None:
            third.trust(
                {
                    domain: (HOSTS[one.domains[0]], one.certificate, one.root)
                    for one in members[:2]
                    for domain in one.domains
                }
            )
            third.start()
        yield Operators(dns, port, caducees, third, domains)


def found(served: Served, address: str, subject: str) -> bytes | None:
    """The first message of that subject in INBOX, None when there is none."""
    mailbox = served.imap(address)
    try:
        mailbox.select(readonly=True)
        _, (numbers,) = mailbox.search(None, "SUBJECT", f'"{subject}"')
        if not numbers:
            return None
        _, parts = mailbox.fetch(numbers.split()[0].decode(), "(BODY.PEEK[])")
        return bytes(parts[0][1])  # type: ignore[index, arg-type]
    finally:
        mailbox.logout()


def arrived(all_of_them: Operators, served: Served, address: str, subject: str) -> bytes:
    """The message of that subject in INBOX, once it is there."""
    deadline = time.monotonic() + ARRIVES_SECONDS
    while (text := found(served, address, subject)) is None:
        assert time.monotonic() < deadline, all_of_them.logs()
        time.sleep(0.1)
    return text
