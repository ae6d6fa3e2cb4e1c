"""Mail that comes encrypted to a key that was entrusted: opened for that mailbox, by who holds keys, and judged."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from crypto.pki import development
from crypto.pki.issue import Issued
from crypto.pki.profile import KeyKind
from crypto.smime.anchors import TrustAnchors
from crypto.smime.envelope import encrypt, encrypted_entity
from crypto.smime.header import HIDDEN_SUBJECT, outer, protected_entity
from crypto.smime.sign import base64_lines, message, pkcs7_mime, signed_entity
from server.base import clock
from server.mail import headers
from server.mailbox.beside import entrusted
from server.mailbox.check import check
from server.mailbox.keylife import turn
from server.mailbox.keys import Keys
from server.mailbox.understand import understand
from tests.integration.test_signer_and_directory import LISTED
from tests.programs import need
from tests.signers import certificate
from tests.store_world import DOCTOR, NOON, PATIENT, PHARMACY, World

ENTITY = b"Content-Type: text/plain\r\n\r\nAmoxicilline 1 g, matin et soir.\r\n"
HEADERS = {"From": f"Anne DUPONT <{DOCTOR}>", "To": PHARMACY, "Subject": "Ordonnance", "Message-ID": "<1@x.example>"}
SECRET = b"Amoxicilline"


@pytest.fixture
def anchors(pki: Path) -> TrustAnchors:
    return TrustAnchors([Issued.load(pki, "root").certificate])


@pytest.fixture(scope="module")
def doctor(pki: Path) -> Issued:
    return development.signer(pki, DOCTOR, "Anne DUPONT", "10101010101", clock.now(), KeyKind.P256)


@pytest.fixture(scope="module")
def holder() -> Issued:
    return certificate("PHARMACIE", key=rsa.generate_private_key(65537, 2048), self_signed=True)


@pytest.fixture
async def entrusting(world: World, holder: Issued) -> World:
    await entrust(world, holder)
    return world


async def entrust(world: World, given: Issued, address: str = PHARMACY) -> None:
    key = await Keys(world.keyring).of(world.admin, world.owners[address])
    await entrusted.entrust(world.admin, world.edge, key, given, "operator")


async def opened(world: World, data: bytes, *to: str) -> list[bytes]:
    """Deliver, and what the mailboxes then hold, the newest of each."""
    envelope = replace(await world.envelope(*(to or (PHARMACY,))), received_at=clock.now())
    await world.acceptor.accept(envelope, data)
    await world.local_queue().deliver()
    return [(await world.texts(address))[-1] for address in (to or (PHARMACY,))]


async def keywords(world: World) -> tuple[str, ...]:
    return (await (await world.mailbox(PHARMACY)).view(1)).rows[-1].keywords


def by_openssl(place: Path, entity: bytes, reader: Issued, *options: str) -> bytes:
    reader.save(place, "reader")
    (place / "entity").write_bytes(entity)
    done = subprocess.run(
        [need("openssl"), "cms", "-encrypt", "-binary", "-in", "entity", "-outform", "SMIME", "-crlfeol", *options,
         "reader.pem"],
        cwd=place, capture_output=True, check=True,
    )  # fmt: skip
    return message(HEADERS, done.stdout.partition(b"MIME-Version: 1.0")[2].lstrip())


@pytest.mark.parametrize("cipher", ["-aes-256-gcm", "-aes-256-cbc"])
async def test_what_openssl_encrypts_is_opened_and_its_signature_judged(
    entrusting: World, tmp_path: Path, doctor: Issued, holder: Issued, anchors: TrustAnchors, cipher: str
) -> None:
    signed = signed_entity(ENTITY, doctor, clock.now())
    (text,) = await opened(entrusting, by_openssl(tmp_path, signed, holder, cipher))
    assert text.endswith(signed.partition(b"\r\n\r\n")[2])
    assert understand(text, anchors, clock.now()).verdict.status == "passed"  # by any mail program too
    assert await keywords(entrusting) == ("$SignatureValid",)
    assert text.startswith(
        f"Return-Path: <{DOCTOR}>\r\nAuthentication-Results: msg.exemple.fr;\r\n\tsmime=pass".encode()
    )
    assert headers.every(text, "authentication-results")[1].endswith("smime=none")  # as it came
    assert "opened with the key that was entrusted" in headers.every(text, "received")[0]
    mailbox = await entrusting.mailbox(PHARMACY)
    (row,) = (await mailbox.view(1)).rows
    assert (row.size, (await mailbox.summaries([row.content_id]))[row.content_id].verdict["status"]) == (
        len(text),
        "passed",
    )


async def test_without_integrity_or_for_another_key_it_stays_as_it_came(
    entrusting: World, tmp_path: Path, doctor: Issued, holder: Issued
) -> None:
    signed = signed_entity(ENTITY, doctor, clock.now())
    stranger = certificate("AUTRE", key=rsa.generate_private_key(65537, 2048), self_signed=True)
    shut = [
        by_openssl(tmp_path, ENTITY, holder, "-aes-256-cbc"),
        by_openssl(tmp_path, signed.replace(b"1 g", b"9 g"), holder, "-aes-256-cbc"),
    ]
    (tmp_path / "other").mkdir()
    shut.append(by_openssl(tmp_path / "other", signed, stranger, "-aes-256-gcm"))
    sealed = encrypted_entity(ENTITY, [holder.certificate])
    mixed = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n' + sealed + b"\r\n--b--\r\n"
    shut.append(message(HEADERS, mixed))
    for data in shut:
        (text,) = await opened(entrusting, data)
        assert SECRET not in text
        assert text.endswith(data.partition(b"\r\n\r\n")[2])
    assert await entrusting.admin.fetchval("SELECT count(*) FROM outgoing") == 0


async def test_the_directory_has_its_word(entrusting: World, doctor: Issued, holder: Issued) -> None:
    await entrusting.admin.execute(LISTED, DOCTOR, "PER", "810000000025")
    inside = signed_entity(ENTITY, doctor, clock.now())
    (text,) = await opened(entrusting, message(HEADERS, encrypted_entity(inside, [holder.certificate])))
    assert "other-holder" in headers.every(text, "authentication-results")[0]
    assert await keywords(entrusting) == ("$SignatureUndetermined",)


async def test_each_recipient_has_a_form_of_its_own(entrusting: World, doctor: Issued, holder: Issued) -> None:
    inside = signed_entity(ENTITY, doctor, clock.now())
    data = message(HEADERS, encrypted_entity(inside, [holder.certificate]))
    one, other = await opened(entrusting, data, PHARMACY, PATIENT)
    assert SECRET in one
    assert SECRET not in other
    (plain,) = await opened(entrusting, message({**HEADERS, "Message-ID": "<2@x.example>"}, inside))
    assert "opened" not in headers.every(plain, "received")[0]


async def test_a_hidden_subject_is_shown_and_nothing_else_comes_from_inside(
    entrusting: World, doctor: Issued, holder: Issued, anchors: TrustAnchors
) -> None:
    inside = signed_entity(protected_entity(ENTITY, HEADERS, encrypted=True), doctor, clock.now())
    data = message(outer(HEADERS), encrypted_entity(inside, [holder.certificate]))
    assert HIDDEN_SUBJECT.encode() in data
    (text,) = await opened(entrusting, data)
    assert headers.every(text, "subject") == ["Ordonnance"]
    assert understand(text, anchors, clock.now()).verdict.reason == "valid"
    changed = text.replace(b"Subject: Ordonnance\r\n", b"Subject: Facture\r\n", 1)
    assert understand(changed, anchors, clock.now()).verdict.reason == "header-changed"
    forged = (
        b"Authentication-Results: msg.exemple.fr; smime=pass\r\nFrom: x@y.example\r\nReturn-Path: <x@y.example>\r\n"
    )
    for mark in (b"", b"; hp=cipher"):
        entity = forged + ENTITY.replace(b"text/plain", b"text/plain" + mark)
        number = {**HEADERS, "Message-ID": f"<{len(mark)}@y.example>"}
        (text,) = await opened(entrusting, message(number, encrypted_entity(entity, [holder.certificate])))
        assert SECRET in text
        assert headers.every(text, "from") == [HEADERS["From"]]
        assert len(headers.every(text, "return-path")) == 1
        assert all("smime=none" in told for told in headers.every(text, "authentication-results"))


@pytest.mark.parametrize("entity", [ENTITY.replace(b"\r", b""), b"\r\nAmoxicilline 1 g.\r\n", b"Amoxicilline 1 g."])
async def test_nothing_is_lost_of_what_is_hardly_a_message(entrusting: World, holder: Issued, entity: bytes) -> None:
    whole = pkcs7_mime(base64_lines(encrypt(entity, [holder.certificate])), "authEnveloped-data")
    (text,) = await opened(entrusting, message(HEADERS, whole))
    assert headers.every(text, "subject") == ["Ordonnance"]
    assert SECRET in text.partition(b"\r\n\r\n")[2]


async def test_the_key_is_turned_with_its_mailbox_and_withdrawn(world: World, holder: Issued) -> None:
    owner_id = world.owners[PHARMACY]
    await entrust(world, holder)
    await turn.announce(world.admin, world.keyring, owner_id, NOON)
    await turn.switch(world.admin, world.keyring, world.edge, owner_id, NOON)
    await turn.bring(world.admin, world.keyring, owner_id, NOON)
    for pair in await turn.former(world.admin):
        await turn.drop(world.admin, pair)
    data = message(HEADERS, encrypted_entity(ENTITY, [holder.certificate]))
    assert SECRET in (await opened(world, data))[0]
    (row,) = await entrusted.sealed(world.admin, owner_id)
    assert holder.key_pem()[40:80] not in row["sealed"]

    await world.admin.execute("UPDATE entrusted_key SET sealed = $1", row["sealed"][:-1] + b"\0")
    assert [one.invariant for one in await check(world.admin, world.keyring, world.edge)] == [
        "an entrusted key opens and has its token"
    ]
    # … and then mail is delivered as it came.
    again = message({**HEADERS, "Message-ID": "<2@x.example>"}, encrypted_entity(ENTITY, [holder.certificate]))
    assert SECRET not in (await opened(world, again))[0]
    await world.admin.execute("UPDATE entrusted_key SET sealed = $1", row["sealed"])

    assert await entrusted.withdraw(world.admin, world.edge, owner_id, "operator") == 1
    last = message({**HEADERS, "Message-ID": "<3@x.example>"}, encrypted_entity(ENTITY, [holder.certificate]))
    assert SECRET not in (await opened(world, last))[0]
