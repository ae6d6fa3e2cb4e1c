from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from crypto.pki.hygiene import Found, Trouble, examine, held

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def certificate(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey | ed25519.Ed25519PrivateKey,
    name: str = "CN",
    days: int = 365,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    signed_with = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=400))
        .not_valid_after(NOW + timedelta(days=days))
        .sign(key, signed_with)
    )


GOOD = ec.generate_private_key(ec.SECP256R1())


def troubles(found: list[Found]) -> list[tuple[Trouble, str]]:
    return [(one.trouble, one.held.holder) for one in found]


def test_sound_certificates_have_no_trouble() -> None:
    keys = [GOOD, rsa.generate_private_key(65_537, 2_048), ed25519.Ed25519PrivateKey.generate()]
    assert examine([held(str(n), certificate(key)) for n, key in enumerate(keys)], NOW) == []


def test_one_key_of_two_holders_is_told_of_both() -> None:
    renewed = [held("Un", certificate(GOOD)), held("Un", certificate(GOOD, days=700))]
    assert examine(renewed, NOW) == []
    found = examine([*renewed[:1], held("Deux", certificate(GOOD, "autre"))], NOW)
    assert [(one.trouble, one.held.holder, one.others) for one in found] == [
        (Trouble.SHARED_KEY, "Un", ("Deux",)),
        (Trouble.SHARED_KEY, "Deux", ("Un",)),
    ]


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65_537, 1_024),
        rsa.generate_private_key(3, 2_048),
        ec.generate_private_key(ec.SECP256K1()),
        dsa.generate_private_key(2_048),
    ],
    ids=["short", "exponent", "curve", "dsa"],
)
def test_weak_keys_are_found(key: rsa.RSAPrivateKey) -> None:
    assert troubles(examine([held("A", certificate(key))], NOW)) == [(Trouble.WEAK_KEY, "A")]


@pytest.mark.parametrize(("days", "expected"), [(31, []), (29, [Trouble.ENDS_SOON]), (-1, [Trouble.ENDED])])
def test_the_end_is_told_a_month_before(days: int, expected: list[Trouble]) -> None:
    assert [one.trouble for one in examine([held("A", certificate(GOOD, days=days))], NOW)] == expected


def test_a_revoked_one_and_a_broken_digest_are_told() -> None:
    assert troubles(examine([held("A", certificate(GOOD), revoked=True)], NOW)) == [(Trouble.REVOKED, "A")]
    der = certificate(rsa.generate_private_key(65_537, 2_048)).public_bytes(Encoding.DER)
    sha256, sha1 = (bytes.fromhex(f"2a864886f70d0101{last}") for last in ("0b", "05"))  # …WithRSAEncryption, RFC 8017
    claimed = x509.load_der_x509_certificate(der.replace(sha256, sha1))  # no library of today signs with it any more
    assert troubles(examine([held("A", claimed)], NOW)) == [(Trouble.WEAK_SIGNATURE, "A")]
