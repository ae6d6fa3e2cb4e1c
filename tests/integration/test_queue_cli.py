"""`caducee queue …` beside a running `serve`: what waits is listed by pseudonym, and each order does what it says."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from server.audit.trail import Told, of_owner
from server.base.settings import load
from server.cli.admin import Admin
from tests.dns_server import dns_in_a_thread
from tests.dying_peer import DyingPeer, Script
from tests.forged_certificates import Certificates
from tests.integration.test_cli import refused
from tests.operators import HOSTS, ONE, Member, caducee_operator, found, free_port, member, trust_each_other
from tests.serving import Served, caducee

FAR, OTHER = "ferme.pairs.example", "autre.pairs.example"
HOST = "127.0.1.200"  # nobody listens there until a test does
SECONDS = 25  # shorter than a domain is left alone after a failure


@dataclass
class Office:
    """A Caducée whose peers are away, and what its operator says."""

    served: Served
    certificates: Certificates
    port: int

    def send(self, subject: str, domain: str = FAR) -> None:
        """One message for a doctor elsewhere."""
        text = f"From: <{self.served.doctor}>\r\nTo: <dr.durand@{domain}>\r\nSubject: {subject}\r\n\r\nBonjour\r\n"
        with self.served.submission(self.served.doctor) as client:
            client.sendmail(self.served.doctor, [f"dr.durand@{domain}"], text)

    def queue(self, *words: str) -> Any:
        return json.loads(caducee("queue", *words, "--json", home=self.served.home))

    def rows(self, *words: str) -> list[dict[str, Any]]:
        return list(self.queue("list", *words)["recipients"])

    def until(self, true: Callable[[], object]) -> None:
        deadline = time.monotonic() + SECONDS
        while not true():
            assert time.monotonic() < deadline, self.queue("list")
            time.sleep(0.2)

    def waiting(self, subject: str, domain: str = FAR) -> str:
        """The id of a message that was sent and had its first attempt."""
        before = {row["id"] for row in self.rows()}
        self.send(subject, domain)
        self.until(lambda: [row for row in self.rows() if row["id"] not in before and row["last_status"]])
        return str(next(row["id"] for row in self.rows() if row["id"] not in before))

    def row(self, message: str) -> dict[str, Any]:
        (row,) = self.queue("show", message)["recipients"]
        return dict(row)

    def refused(self, *words: str) -> str:
        return refused("queue", *words, home=self.served.home)

    async def trail(self) -> list[Told]:
        async with Admin(load(self.served.home)) as admin:
            owner_id = await admin.owner_of(self.served.doctor)
            return await of_owner(admin.connection, admin.keyring, owner_id)


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    zones: dict[str, dict[str, list[str]]] = {}
    for domain in (FAR, OTHER):
        zones |= {domain: {"MX": [f"10 mx.{domain}."]}, f"mx.{domain}": {"A": [HOST]}}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="caducee-queue-")))
        dns = stack.enter_context(dns_in_a_thread(zones))
        certificates = Certificates(folder / "peers")
        port = free_port([HOSTS[ONE], HOST])
        served = caducee_operator(folder, ONE, port, dns)
        peer = Member((FAR, OTHER), certificates.path("member")[0], certificates.root_path())
        trust_each_other([served], [member(served), peer])
        stack.callback(served.stop)
        served.start()
        yield Office(served, certificates, port)


def test_an_empty_queue_says_so(office: Office) -> None:
    assert office.queue("list") == {"recipients": [], "counts": {}}
    assert "Nothing waits" in caducee("queue", "list", home=office.served.home)


def test_what_waits_is_listed_by_pseudonym(office: Office) -> None:
    message = office.waiting("Liste")
    (row,) = office.rows("--domain", FAR)
    assert (row["id"], row["domain"], row["state"], row["attempts"]) == (message, FAR, "waiting", 1)
    assert row["recipient"].startswith("p-")
    assert row["sender"].startswith("p-")
    assert (row["last_status"], row["last_reply"]) == ("4.4.1", "cannot connect")
    assert [one["id"] for one in office.rows("--to", f"Dr.Durand@{FAR}")] == [message]
    assert office.rows("--to", f"nobody@{FAR}") == []
    for words in (["list"], ["show", message[:8]]):
        text = caducee("queue", *words, home=office.served.home)
        assert "1 recipients: 1 waiting" in text
        assert not [word for word in ("durand", "martin", "Liste") if word in text]
    office.queue("cancel", message)


def test_held_mail_waits_for_release_and_goes_when_asked(office: Office) -> None:
    held, free = office.waiting("Tenu"), office.waiting("Libre")
    assert office.queue("hold", held[:10])["messages"] == [held]
    assert office.row(held)["state"] == "held"
    peer = DyingPeer(HOST, office.port, office.certificates.server("member"), Script(times=0))
    try:
        # The domain is left alone after its failures, and the operator knows better.
        assert office.queue("retry", "--domain", FAR)["messages"] == [free]
        office.until(lambda: [b for b in peer.accepted if b"Subject: Libre" in b])
        assert [row["id"] for row in office.rows()] == [held]
        assert office.queue("release", held)["recipients"] == 1
        office.until(lambda: [b for b in peer.accepted if b"Subject: Tenu" in b])
        office.until(lambda: not office.rows())
    finally:
        peer.close()


def test_cancelled_mail_is_gone_and_nobody_is_told(office: Office) -> None:
    message, other = office.waiting("Annule"), office.waiting("Reste", OTHER)
    assert office.queue("cancel", message) == {"messages": [message], "recipients": 1, "trying": 0}
    assert [row["id"] for row in office.rows()] == [other]
    assert found(office.served, office.served.doctor, "Message non remis") is None
    office.queue("cancel", "--all")


def test_bounced_mail_comes_back_with_words(office: Office) -> None:
    message = office.waiting("Rendu")
    office.queue("bounce", message)
    office.until(lambda: found(office.served, office.served.doctor, "Message non remis"))
    notice = found(office.served, office.served.doctor, "Message non remis")
    assert notice is not None
    assert b"Status: 5.3.0" in notice
    assert b"Subject: Rendu" in notice
    assert office.rows() == []


async def test_each_order_is_in_the_trail(office: Office) -> None:
    told = [one.detail for one in await office.trail() if one.kind == "queue-ordered"]
    assert {one["order"] for one in told} == {"hold", "retry", "release", "cancel", "bounce"}
    assert {one["actor"] for one in told} == {"operator"}
    assert all(name.startswith("p-") for one in told for name in one["to"])
    sent = [one.detail["outcome"] for one in await office.trail() if "outcome" in one.detail]
    assert Counter(sent) >= Counter(delivered=2, failed=1)
    assert set(sent) == {"delivered", "failed", "deferred"}


def test_what_cannot_be_done_is_said_kindly(office: Office) -> None:
    assert "--all" in office.refused("hold")
    assert "not both" in office.refused("hold", "abcdef", "--all")
    assert "6 to 32 digits" in office.refused("show", "../etc")
    assert "has left, or never was" in office.refused("show", "abcdef12")
    assert "Nothing to retry" in office.refused("retry", "--domain", "personne.example")


def test_the_queue_is_seen_without_serve_too(office: Office) -> None:
    message = office.waiting("Hors service")
    office.served.stop()
    assert office.row(message)["attempts"] == 1
    assert office.queue("hold", message)["recipients"] == 1
    office.served.start()
    assert office.row(message)["state"] == "held"
