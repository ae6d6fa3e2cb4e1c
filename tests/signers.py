"""Whoever signs in the cases of tests/conformance/smime: their certificates are made when first asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crypto.pki.crl import Crl
from crypto.pki.issue import Holder, Issued, PrivateKey, issue, new_root, organisation_client, professional
from crypto.pki.profile import KeyKind, Profile, ProfileName
from crypto.smime.anchors import TrustAnchors
from tests.revocation_lists import crl

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DOCTOR = "aline.martin@mss.example.test"
COLLEAGUE = "bea.durand@mss.example.test"
MALLORY = "mallory@evil.example.test"
RPPS = "10000000017"
YEAR = timedelta(days=365)
AUTHORITY = x509.BasicConstraints(ca=True, path_length=None)


@cache
def root() -> Issued:
    return new_root(NOON - YEAR)


@cache
def anchors() -> TrustAnchors:
    """The root, and its list on which only `revoked` stands."""
    found = TrustAnchors([root().certificate])
    found.revocations.learn(Crl.parse(crl(root(), [signer("revoked").certificate], NOON, lasts=YEAR), "list"))
    found.revocations.learn(Crl.parse(crl(constrained(), [], NOON, lasts=YEAR), "list of the constrained"))
    return found


@cache
def signer(name: str) -> Issued:
    """One of `_CAST`, or KeyError."""
    return _CAST[name]()


@cache
def constrained() -> Issued:
    """An authority that may speak for evil.example.test alone (RFC 5280 §4.2.1.10)."""
    allowed = x509.NameConstraints([x509.RFC822Name("evil.example.test")], None)
    return certificate("AC CONTRAINTE", extensions=[allowed], critical=[AUTHORITY])


def certificate(
    common_name: str,
    names: Sequence[x509.GeneralName] = (),
    *,
    email: str = "",
    key: PrivateKey | None = None,
    authority: Issued | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
    critical: Sequence[x509.ExtensionType] = (),
    serial: int | None = None,
    self_signed: bool = False,
) -> Issued:
    """A certificate that no profile would give."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    attributes += [x509.NameAttribute(NameOID.EMAIL_ADDRESS, email)] if email else []
    name = x509.Name(attributes)
    authority = authority or (None if self_signed else root())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(authority.certificate.subject if authority else name)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(NOON - YEAR)
        .not_valid_after(NOON + YEAR)
    )
    for extension in [*([x509.SubjectAlternativeName(names)] if names else []), *extensions]:
        builder = builder.add_extension(extension, critical=False)
    for extension in critical:
        builder = builder.add_extension(extension, critical=True)
    return Issued(builder.sign(authority.key if authority else key, hashes.SHA256()), key)


def _person(address: str, name: str, rpps: str = RPPS, kind: KeyKind = KeyKind.P256) -> Issued:
    return professional(root(), address, name, rpps, NOON - timedelta(days=30), kind=kind)


def _named(*names: x509.GeneralName, email: str = "", common_name: str = "Aline MARTIN") -> Issued:
    return certificate(common_name, names, email=email)


def _unchecked(kind: type[x509.RFC822Name], value: str) -> x509.GeneralName:
    return kind._init_without_validation(value)


def _valid(since: datetime, days: int) -> Issued:
    return professional(root(), DOCTOR, "Aline MARTIN", RPPS, since, kind=KeyKind.P256, validity=timedelta(days=days))


def _pharmacy() -> Issued:
    subject = {"common_name": "PHARMACIE DU CENTRE", "organisation": "PHARMACIE DU CENTRE"}
    holder = Holder({**subject, "organisation_unit": "1990000019"}, ["pharmacie@mss.example.test"])
    return issue(root(), Profile.load(ProfileName.SMIME), holder, NOON - timedelta(days=30), kind=KeyKind.P256)


def _with_exponent(exponent: int) -> rsa.RSAPrivateKey:
    """An RSA key whose public exponent is the next that fits."""
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    p, q = numbers.p, numbers.q
    while math.gcd(exponent, (p - 1) * (q - 1)) != 1:
        exponent += 2
    d = pow(exponent, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(exponent, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), numbers.iqmp, public).private_key()


_CAST: dict[str, Callable[[], Issued]] = {
    "doctor": lambda: _person(DOCTOR, "Aline MARTIN"),
    "doctor-rsa": lambda: _person(DOCTOR, "Aline MARTIN", kind=KeyKind.RSA_2048),
    "doctor-ed25519": lambda: _person(DOCTOR, "Aline MARTIN", kind=KeyKind.ED25519),
    "colleague": lambda: _person(COLLEAGUE, "Béa DURAND", "10000000025"),
    "mallory": lambda: _person(MALLORY, "Mallory DUPONT", "10000000033"),
    "pharmacy": _pharmacy,
    "stranger": lambda: professional(new_root(NOON), DOCTOR, "Aline MARTIN", RPPS, NOON, kind=KeyKind.P256),
    "self-signed": lambda: certificate("Aline MARTIN", [x509.RFC822Name(DOCTOR)], self_signed=True),
    "expired": lambda: _valid(NOON - timedelta(days=60), 59),
    "not-yet-valid": lambda: _valid(NOON + timedelta(days=1), 30),
    "revoked": lambda: _person(DOCTOR, "Aline MARTIN"),
    "weak": lambda: certificate("A", [x509.RFC822Name(DOCTOR)], key=rsa.generate_private_key(65537, 1024)),
    "huge-exponent": lambda: certificate("A", [x509.RFC822Name(DOCTOR)], key=_with_exponent(2**2000 + 1)),
    "odd-curve": lambda: certificate("A", [x509.RFC822Name(DOCTOR)], key=ec.generate_private_key(ec.SECP256K1())),
    "client": lambda: organisation_client(root(), "CLINIQUE", "990000019", NOON, emails=[DOCTOR]),
    "server": lambda: certificate(
        "A",
        [x509.RFC822Name(DOCTOR)],
        extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])],
    ),
    "authority": lambda: certificate("A", [x509.RFC822Name(DOCTOR)], critical=[AUTHORITY]),
    "address-in-common-name": lambda: _named(common_name=DOCTOR),
    "address-in-uri": lambda: _named(x509.UniformResourceIdentifier(f"mailto:{DOCTOR}")),
    "address-in-dns-name": lambda: _named(_unchecked(x509.DNSName, DOCTOR)),  # type: ignore[arg-type]
    "address-with-nul": lambda: _named(_unchecked(x509.RFC822Name, f"{DOCTOR}\0.evil.example.test")),
    "address-twice-at": lambda: _named(_unchecked(x509.RFC822Name, f"{DOCTOR}@evil.example.test")),
    "address-in-other-name": lambda: _named(
        x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9"), b"\x0c" + bytes([len(DOCTOR)]) + DOCTOR.encode())
    ),
    "address-in-subject": lambda: _named(email=DOCTOR),
    "address-of-two": lambda: _named(x509.RFC822Name(MALLORY), email=DOCTOR, common_name="Mallory DUPONT"),
    "constrained": lambda: certificate("A", [x509.RFC822Name(DOCTOR)], authority=constrained()),
    "constrained-subject": lambda: certificate("A", email=DOCTOR, authority=constrained()),
    "lookalike": lambda: _person("aline.martin@xn--mss-jdd.example.test", "Aline MARTIN", ""),
}
