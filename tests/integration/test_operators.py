"""Operators that exchange mail, each a whole Caducée in processes of its own: mutual TLS, and a list of who is who."""

from __future__ import annotations

import asyncio
import email
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.dns_server import DnsServer, dns_server
from tests.operators import free_port, operator, trust_each_other
from tests.serving import Served

HOSTS = {"un.exemple.fr": "127.0.0.11", "deux.exemple.fr": "127.0.0.12"}
ARRIVES_SECONDS = 30


def letter(sender: str, recipient: str, subject: str, extra: str = "") -> bytes:
    return (
        f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: {subject}\r\n{extra}"
        f"Date: Mon, 2 Mar 2026 12:00:00 +0100\r\nMessage-ID: <{subject}@test>\r\n\r\n.Bonjour\r\n.\r\n\r\nfin\r\n"
    ).encode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dns() -> AsyncIterator[DnsServer]:
    zones: dict[str, dict[str, list[str]]] = {}
    for domain, host in HOSTS.items():
        zones |= {
            domain: {"MX": [f"10 mx.{domain}."]},
            f"patient.{domain}": {"MX": [f"10 mx.{domain}."]},
            f"mx.{domain}": {"A": [host]},
        }
    async with dns_server(zones) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operators(dns: DnsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Served]]:
    place = tmp_path_factory.mktemp("operators")
    port = free_port(list(HOSTS.values()))
    made = [
        await asyncio.to_thread(operator, place, domain, host, port, f"127.0.0.1:{dns.port}")
        for domain, host in HOSTS.items()
    ]
    trust_each_other(*made)
    try:
        for one in made:
            await asyncio.to_thread(one.start)
        yield made
    finally:
        for one in made:
            await asyncio.to_thread(one.stop)


def found(served: Served, address: str, subject: str) -> bytes | None:
    """The message of that subject in INBOX, None when it is not there."""
    mailbox = served.imap(address)
    try:
        mailbox.select()
        _, (numbers,) = mailbox.search(None, "SUBJECT", f'"{subject}"')
        if not numbers:
            return None
        _, parts = mailbox.fetch(numbers.split()[0].decode(), "(BODY.PEEK[])")
        return bytes(parts[0][1])
    finally:
        mailbox.logout()


async def arrived(served: Served, address: str, subject: str) -> bytes:
    deadline = time.monotonic() + ARRIVES_SECONDS
    while (text := await asyncio.to_thread(found, served, address, subject)) is None:
        assert time.monotonic() < deadline, "".join(
            (home / "serve.log").read_text()[-2000:] for home in served.home.parent.iterdir()
        )
        await asyncio.sleep(0.2)
    return text


async def send(served: Served, sender: str, recipients: list[str], data: bytes, **options: object) -> None:
    def submit() -> None:
        with served.submission(sender) as client:
            client.sendmail(sender, recipients, data, **options)  # type: ignore[arg-type]

    await asyncio.to_thread(submit)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_doctor_writes_to_another_operators_pharmacy_and_to_her_own(operators: list[Served]) -> None:
    one, two = operators
    data = letter(one.doctor, two.pharmacy, "Ordonnance-1", "X-MSS-NIL: 12345\r\n")
    await send(one, one.doctor, [two.pharmacy, one.pharmacy], data)
    far, near = await arrived(two, two.pharmacy, "Ordonnance-1"), await arrived(one, one.pharmacy, "Ordonnance-1")
    assert far.endswith(data)
    assert near.endswith(data)
    received = email.message_from_bytes(far).get_all("Received") or []
    assert [line.split("by ")[1].split()[0] for line in received] == [two.domain, one.domain]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_patient_answers_the_doctor_of_another_operator(operators: list[Served]) -> None:
    one, two = operators
    await send(one, one.doctor, [two.patient], letter(one.doctor, two.patient, "Resultats-1"))
    await arrived(two, two.patient, "Resultats-1")
    answer = letter(two.patient, one.doctor, "Merci-1")
    await send(two, two.patient, [one.doctor], answer)
    assert (await arrived(one, one.doctor, "Merci-1")).endswith(answer)


@pytest.mark.asyncio(loop_scope="module")
async def test_an_unknown_recipient_elsewhere_comes_back_as_a_notification(operators: list[Served]) -> None:
    one, two = operators
    nobody = f"personne@{two.domain}"
    await send(one, one.doctor, [nobody], letter(one.doctor, nobody, "Perdu-1"))
    notice = (await arrived(one, one.doctor, "Message non remis")).decode()
    for said in (
        f"Final-Recipient: rfc822; {nobody}",
        "Action: failed",
        "Status: 5.1.1",
        f"Remote-MTA: dns; mx.{two.domain}",
    ):
        assert said in notice


@pytest.mark.asyncio(loop_scope="module")
async def test_a_domain_outside_the_trust_space_has_no_way(operators: list[Served]) -> None:
    one, _ = operators

    def ask() -> tuple[int, bytes]:
        with one.submission(one.doctor) as client:
            client.mail(one.doctor)
            return client.rcpt("someone@gmail.example")

    code, text = await asyncio.to_thread(ask)
    assert code == 550
    assert b"5.1.2" in text
