"""Certificates that will hurt: weak, ending, revoked, or with a key that somebody else has too.

One key in the hands of two holders makes each able to sign and to read as the other (in 2023 eight health insurers were
found to share one): it is found by comparing the public keys of all that are known.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crypto.pki.path import UNREADABLE

ENDS_SOON = timedelta(days=30)  # time enough to order a certificate
# ANSSI, Mécanismes cryptographiques (RGS B1): RSA of 2,048 bits at least, public exponents above 2^16.
SMALLEST_RSA = 2_048
SMALLEST_EXPONENT = 65_537
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1, ec.BrainpoolP256R1, ec.BrainpoolP384R1, ec.BrainpoolP512R1)
_WEAK_DIGESTS = (hashes.MD5, hashes.SHA1)


class Trouble(StrEnum):
    """What is wrong, the worst first."""

    REVOKED = "revoked"
    SHARED_KEY = "shared-key"
    WEAK_KEY = "weak-key"
    WEAK_SIGNATURE = "weak-signature"
    ENDED = "ended"
    ENDS_SOON = "ends-soon"


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate and whose it is. `certificate` is None where only its key and its end are known; `owner_id`: the
    mailbox that it opens, where it opens one."""

    holder: str
    key_hash: bytes
    not_after: datetime
    certificate: x509.Certificate | None = None
    revoked: bool = False
    owner_id: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A trouble of one certificate. `others`: who has its key too."""

    trouble: Trouble
    held: Held
    others: tuple[str, ...] = ()


def held(holder: str, certificate: x509.Certificate, *, revoked: bool = False) -> Held:
    """A certificate that is at hand."""
    return Held(holder, key_hash(certificate), certificate.not_valid_after_utc, certificate, revoked)


def key_hash(certificate: x509.Certificate) -> bytes:
    """SHA-256 of its SubjectPublicKeyInfo; of its octets where the library does not know the key."""
    try:
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except UNREADABLE:
        key = certificate.public_bytes(Encoding.DER)
    return hashlib.sha256(key).digest()


def examine(certificates: Iterable[Held], now: datetime) -> list[Found]:
    """Every trouble, by certificate; `now` is aware."""
    known = list(certificates)
    holders: defaultdict[bytes, set[str]] = defaultdict(set)
    for one in known:
        holders[one.key_hash].add(one.holder)
    found: list[Found] = []
    for one in known:
        others = tuple(sorted(holders[one.key_hash] - {one.holder}))
        if others:
            found.append(Found(Trouble.SHARED_KEY, one, others))
        found += [Found(trouble, one) for trouble in _alone(one, now)]
    return found


def _alone(one: Held, now: datetime) -> Iterable[Trouble]:
    if one.revoked:
        yield Trouble.REVOKED
    if one.certificate is not None and is_weak(one.certificate):
        yield Trouble.WEAK_KEY
    if one.certificate is not None and isinstance(_digest(one.certificate), _WEAK_DIGESTS):
        yield Trouble.WEAK_SIGNATURE
    if one.not_after < now:
        yield Trouble.ENDED
    elif one.not_after < now + ENDS_SOON:
        yield Trouble.ENDS_SOON


def is_weak(certificate: x509.Certificate) -> bool:
    """Whether its key is one that nobody should rely on, or of a kind that is not known here."""
    try:
        key = certificate.public_key()
    except UNREADABLE:
        return True
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size < SMALLEST_RSA or key.public_numbers().e < SMALLEST_EXPONENT
    if isinstance(key, ec.EllipticCurvePublicKey):
        return not isinstance(key.curve, _CURVES)
    return not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)


def _digest(certificate: x509.Certificate) -> hashes.HashAlgorithm | None:
    try:
        return certificate.signature_hash_algorithm
    except UNREADABLE:
        return None
