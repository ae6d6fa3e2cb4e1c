"""What is encrypted opens for its recipients alone, and nothing comes out that is not shown to be whole."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from asn1crypto import cms as asn1
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from crypto.errors import CryptoError, IntegrityError, KeyMissing
from crypto.pki.issue import Issued
from crypto.smime import key_transport
from crypto.smime.envelope import decrypt, encrypt
from crypto.smime.tlv import encoded
from tests.programs import need
from tests.signers import certificate, signer

ENTITY = b"Content-Type: text/plain\r\n\r\n" + b"Amoxicilline 1 g, matin et soir.\r\n" * 40
SUBJECT_KEY = bytes(range(20))
KEYS: dict[str, Callable[[], rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
}


@cache
def recipient(kind: str, number: int = 0) -> Issued:
    return certificate(f"{kind} {number}", key=KEYS[kind](), extensions=[x509.SubjectKeyIdentifier(SUBJECT_KEY)])


def openssl(place: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([need("openssl"), "cms", *arguments], cwd=place, capture_output=True)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "entity").write_bytes(ENTITY)
    return tmp_path


@pytest.mark.parametrize("kind", KEYS)
def test_for_its_recipients_alone(kind: str) -> None:
    one, other, stranger = recipient(kind), recipient("p256", 1), recipient(kind, 2)
    cms = encrypt(ENTITY, [one.certificate, other.certificate])
    assert ENTITY[40:60] not in cms
    assert decrypt(cms, [one]) == decrypt(cms, [stranger, other]) == ENTITY
    with pytest.raises(KeyMissing):
        decrypt(cms, [stranger])
    assert encrypt(ENTITY, [one.certificate]) != encrypt(ENTITY, [one.certificate])


def test_nobody_or_somebody_who_cannot_receive() -> None:
    weak = certificate("A", key=rsa.generate_private_key(65537, 1024))
    for recipients in ([], [weak.certificate], [signer("doctor-ed25519").certificate], [signer("doctor").certificate]):
        with pytest.raises(CryptoError):
            encrypt(ENTITY, recipients)


@pytest.mark.parametrize("kind", KEYS)
def test_openssl_opens_ours(place: Path, kind: str) -> None:
    recipient(kind).save(place, "one")
    (place / "cms").write_bytes(encrypt(ENTITY, [recipient(kind).certificate, recipient("rsa", 1).certificate]))
    for who in ("-recip", "one.pem"), ():
        done = openssl(
            place, "-decrypt", "-inform", "DER", "-in", "cms", "-inkey", "one.key", "-out", "out", "-binary", *who
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert (place / "out").read_bytes() == ENTITY


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("rsa", ""),  # PKCS#1 v1.5, as most mail programs write
        ("rsa", "-keyid"),
        ("rsa", "-keyopt rsa_padding_mode:oaep"),  # with SHA-1 throughout
        ("rsa", "-keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256"),
        ("rsa", "-keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha384 -keyopt rsa_mgf1_md:sha256"),
        ("p256", ""),
        ("p256", "-keyid"),
        ("p256", "-keyopt ecdh_kdf_md:sha256 -aes128-wrap"),
        ("p384", "-keyopt ecdh_kdf_md:sha384"),
    ],
)
def test_openssls_open_here(place: Path, kind: str, options: str) -> None:
    one = recipient(kind)
    one.save(place, "one")
    for cipher in ("-aes-128-gcm", "-aes-256-gcm", "-aes-256-cbc", "-aes-128-cbc -stream"):
        done = openssl(
            place, "-encrypt", "-binary", "-in", "entity", "-outform", "DER", "-out", "cms", *cipher.split(), "-recip",
            "one.pem", *options.split(),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        cms = (place / "cms").read_bytes()
        if "gcm" in cipher:
            assert decrypt(cms, [one]) == ENTITY
            continue
        # Nothing shows that it is whole: it comes out only where something inside does.
        for proves in (None, lambda content: False):
            with pytest.raises(IntegrityError):
                decrypt(cms, [one], proves)
        assert decrypt(cms, [one], lambda content: content == ENTITY) == ENTITY


def test_triple_des_and_what_is_unknown(place: Path) -> None:
    one = recipient("rsa")
    one.save(place, "one")
    for cipher in ("-des3", "-camellia256"):
        assert openssl(
            place, "-encrypt", "-binary", "-in", "entity", "-outform", "DER", "-out", "cms", cipher, "one.pem"
        ).returncode == 0  # fmt: skip
        with pytest.raises(IntegrityError):
            decrypt((place / "cms").read_bytes(), [one], lambda content: True)


@pytest.mark.parametrize("kind", KEYS)
def test_no_bit_can_change(kind: str) -> None:
    one = recipient(kind)
    cms = encrypt(b"Content-Type: text/plain\r\n\r\nx\r\n", [one.certificate])
    for bit in range(0, 8 * len(cms), 5):
        wrong = bytearray(cms)
        wrong[bit // 8] ^= 1 << bit % 8
        try:
            content = decrypt(bytes(wrong), [one], lambda content: True)
        except CryptoError:
            continue
        # What is not authenticated and changes nothing: version numbers, the form of an absent parameter.
        assert content == b"Content-Type: text/plain\r\n\r\nx\r\n"


def test_authenticated_turned_into_cbc() -> None:
    """The ciphertext of GCM offered as CBC under the same key (RFC 9709 §1): nothing comes out."""
    one = recipient("p256")
    envelope = asn1.ContentInfo.load(encrypt(ENTITY, [one.certificate]))["content"]
    inside = envelope["auth_encrypted_content_info"]
    block = inside["encrypted_content"].native[:1024]
    other = asn1.EnvelopedData(
        {
            "version": "v2",
            "recipient_infos": envelope["recipient_infos"],
            "encrypted_content_info": {
                "content_type": "data",
                "content_encryption_algorithm": {"algorithm": "aes256_cbc", "parameters": bytes(16)},
                "encrypted_content": block,
            },
        }
    )
    downgraded = asn1.ContentInfo({"content_type": "enveloped_data", "content": other}).dump()
    with pytest.raises(IntegrityError):
        decrypt(downgraded, [one])


def test_many_recipients(monkeypatch: pytest.MonkeyPatch) -> None:
    one, stranger = recipient("p256"), recipient("p384")
    cms = encrypt(ENTITY, [stranger.certificate] * 50 + [one.certificate])
    assert decrypt(cms, [one]) == ENTITY
    monkeypatch.setattr(key_transport, "MAX_RECIPIENTS", 50)
    with pytest.raises(IntegrityError):
        decrypt(cms, [one])


@pytest.mark.parametrize(
    "bomb", [b"", b"\x30\x80" * 50_000, b"\x30\x84\xff\xff\xff\xff", encoded(0x30, b"\x06\x01\x2a")]
)
def test_bombs(bomb: bytes) -> None:
    with pytest.raises(IntegrityError):
        decrypt(bomb, [recipient("p256")])


def test_too_large_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crypto.smime.envelope.OPAQUE_BYTES", 100)
    with pytest.raises(CryptoError, match="too large"):
        decrypt(bytes(101), [recipient("p256")])
