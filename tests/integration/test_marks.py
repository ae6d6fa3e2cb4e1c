"""What the server says of a message in keywords: given when it comes, whatever its way, and no client's to change."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from crypto.pki import development
from crypto.pki.issue import Issued
from crypto.smime.anchors import TrustAnchors
from crypto.smime.sign import sign_detached
from server.base import clock
from server.mailbox.model import NewMessage, Row
from server.transport.envelope import Envelope
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World, message

ENTITY = b"Content-Type: text/plain\r\n\r\nPrendre un comprim\xc3\xa9.\r\n"


@pytest.fixture
def anchors(pki: Path) -> TrustAnchors:
    return TrustAnchors([Issued.load(pki, "root").certificate])


@pytest.fixture(scope="module")
def doctor(pki: Path) -> Issued:
    return development.signer(pki, DOCTOR, "Anne DUPONT", "10101010101", clock.now())


def signed(doctor: Issued, entity: bytes = ENTITY, sender: str = DOCTOR) -> bytes:
    headers = {"From": sender, "To": PHARMACY, "Subject": "Ordonnance", "Message-ID": f"<{len(entity)}@x.example>"}
    return sign_detached(entity, headers, doctor, clock.now())


async def envelope_now(world: World, sender: str = DOCTOR) -> Envelope:
    """The signer's certificate is valid from today."""
    return replace(await world.envelope(PHARMACY, sender=sender), received_at=clock.now())


async def rows(world: World) -> list[Row]:
    return (await (await world.mailbox(PHARMACY)).view(1)).rows


async def keywords(world: World) -> list[tuple[str, ...]]:
    return [row.keywords for row in await rows(world)]


async def test_a_delivery_is_marked_by_what_it_is(world: World, doctor: Issued) -> None:
    good = signed(doctor)
    letters = [
        (DOCTOR, message()),
        (DOCTOR, good),
        (DOCTOR, good.replace(b"Prendre", b"Prendra")),
        (DOCTOR, signed(doctor, ENTITY + b"x" * 2_000_000)),
        (PATIENT, message().replace(DOCTOR.encode(), PATIENT.encode())),
    ]
    for sender, data in letters:
        await world.acceptor.accept(await envelope_now(world, sender), data)
    assert await keywords(world) == [
        (),
        ("$SignatureValid",),
        ("$SignatureInvalid",),
        ("$SignatureValid",),
        ("$FromPatient",),
    ]


async def test_a_from_that_nobody_vouches_for_is_no_patients(world: World) -> None:
    envelope = replace(await world.envelope(PHARMACY), unproven=("patient.msg.exemple.fr",))
    await world.acceptor.accept(envelope, message().replace(DOCTOR.encode(), PATIENT.encode()))
    assert await keywords(world) == [()]


async def test_what_waits_is_marked_when_it_comes(world: World, doctor: Issued) -> None:
    envelope = replace(await envelope_now(world), not_before=clock.now() + timedelta(hours=1))
    await world.acceptor.accept(envelope, signed(doctor))
    await world.admin.execute("UPDATE outgoing SET not_before = now()")
    queue = world.local_queue()
    assert await queue.deliver() == 1
    assert await keywords(world) == [("$SignatureValid",)]


async def test_what_is_appended_is_judged_and_not_believed(world: World, doctor: Issued) -> None:
    mailbox = await world.mailbox(PHARMACY)
    claims = ("$signaturevalid", "$FromPatient", "Vu")
    tampered = signed(doctor).replace(b"Prendre", b"Prendra")
    await mailbox.append_many(1, [NewMessage(data, 0, claims) for data in (message(), tampered, signed(doctor))])
    assert await keywords(world) == [("Vu",), ("Vu", "$SignatureInvalid"), ("Vu", "$SignatureValid")]


async def test_no_client_sets_or_clears_a_mark(world: World, doctor: Issued) -> None:
    await world.acceptor.accept(await envelope_now(world), signed(doctor))
    await world.acceptor.accept(await world.envelope(PHARMACY), message())
    mailbox = await world.mailbox(PHARMACY)
    before = [row.modseq for row in await rows(world)]
    await mailbox.store(1, [1], "remove", 0, ["$SIGNATUREVALID"])
    await mailbox.store(1, [1], "replace", 0, [])
    await mailbox.store(1, [2], "add", 0, ["$SignatureValid", "$frompatient"])
    assert [row.modseq for row in await rows(world)] == before
    await mailbox.store(1, [1, 2], "replace", 0, ["$SignatureValid", "Vu"])
    assert await keywords(world) == [("Vu", "$SignatureValid"), ("Vu",)]
    # RFC 3503 §3.3: a receipt that was sent stays sent.
    await mailbox.store(1, [2], "add", 0, ["$MDNSent"])
    await mailbox.store(1, [2], "remove", 0, ["$mdnsent", "Vu"])
    await mailbox.store(1, [2], "replace", 0, ["$mdnsent"])
    assert (await keywords(world))[1] == ("$mdnsent",)
    await mailbox.store(1, [2], "replace", 0, [])
    assert (await keywords(world))[1] == ("$mdnsent",)
    await mailbox.copy(1, [1, 2], 6)
    assert [row.keywords for row in (await mailbox.view(6)).rows] == await keywords(world)
