"""Issuing of certificates by profile: the development authority of `caducee init`, and the certificates of tests.

Every key pair is made here, at run time; none is ever in the repository. Time is an argument, so that an expired
certificate is issued by saying a moment in the past, and a stranger's by another root.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from crypto.errors import CryptoError
from crypto.keyfile import read_private, write_private
from crypto.pki.profile import KeyKind, Profile, ProfileName

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

# Clocks of two machines differ by minutes: a certificate that begins exactly now is refused by the slower one.
CLOCK_LEEWAY = timedelta(minutes=5)
# RPPS and FINESS stand in national identifiers behind their type digit (annuaire santé: 8 + RPPS, 1 + FINESS).
RPPS_TYPE = "8"
FINESS_TYPE = "1"

_NAME_ATTRIBUTES = {
    "country": NameOID.COUNTRY_NAME,
    "state": NameOID.STATE_OR_PROVINCE_NAME,
    "locality": NameOID.LOCALITY_NAME,
    "organisation": NameOID.ORGANIZATION_NAME,
    "organisation_unit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "serial_number": NameOID.SERIAL_NUMBER,
    "surname": NameOID.SURNAME,
    "given_name": NameOID.GIVEN_NAME,
    "common_name": NameOID.COMMON_NAME,
    "email": NameOID.EMAIL_ADDRESS,
}
_EXTENDED_USAGES = {
    "server_auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "email_protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "time_stamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp_signing": ExtendedKeyUsageOID.OCSP_SIGNING,
}


@dataclass(frozen=True)
class Holder:
    """What a certificate says of its holder: subject (fields named as in `profile.SUBJECT_FIELDS`) and SAN entries."""

    subject: Mapping[str, str] = field(default_factory=dict)
    emails: Sequence[str] = ()
    hosts: Sequence[str] = ()  # DNS names and IP addresses


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)

    def certificate_pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(Encoding.PEM)

    def key_pem(self) -> bytes:
        """The private key, PKCS#8, not encrypted: the file's mode protects it."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def save(self, folder: Path, name: str) -> None:
        """Write `name.key` (0600) and `name.pem`, in that order: a certificate without its key is of no use."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(folder / f"{name}.key", self.key_pem())
        write_private(folder / f"{name}.pem", self.certificate_pem())

    @classmethod
    def load(cls, folder: Path, name: str) -> Issued:
        """What `save` wrote. Raises `KeyMissing`, `CryptoError`."""
        pair = read_private(folder / f"{name}.pem"), read_private(folder / f"{name}.key")
        try:
            return cls.of(*pair)
        except CryptoError as error:
            raise CryptoError(f"{folder / name}: {error}") from None

    @classmethod
    def of(cls, certificate_pem: bytes, key_pem: bytes, password: bytes | None = None) -> Issued:
        """The same of PEM in memory; `password` where the key has one. Raises `CryptoError`."""
        try:
            return cls._paired(x509.load_pem_x509_certificate(certificate_pem), load_pem_private_key(key_pem, password))
        except (ValueError, TypeError):
            raise CryptoError("not a certificate and its key in PEM, or another password") from None

    @classmethod
    def from_pkcs12(cls, data: bytes, password: bytes) -> Issued:
        """The certificate and key of a PKCS#12 file. Raises `CryptoError`."""
        try:
            key, certificate, _ = load_key_and_certificates(data, password)
        except (ValueError, TypeError):
            raise CryptoError("not a PKCS#12 file, or another password") from None
        if certificate is None:
            raise CryptoError("no certificate with its key is in this file")
        return cls._paired(certificate, key)

    @classmethod
    def _paired(cls, certificate: x509.Certificate, key: object) -> Issued:
        if not isinstance(key, PrivateKey) or key.public_key() != certificate.public_key():
            raise CryptoError("the key is not the certificate's")
        return cls(certificate, key)


def new_key(kind: KeyKind) -> PrivateKey:
    """A new key pair (P-256 in 0.1 ms, RSA 2048 in about 100 ms)."""
    match kind:
        case KeyKind.RSA_2048:
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case KeyKind.RSA_3072:
            return rsa.generate_private_key(public_exponent=65537, key_size=3072)
        case KeyKind.P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyKind.P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyKind.ED25519:
            return ed25519.Ed25519PrivateKey.generate()


def new_root(now: datetime, profile: Profile | None = None, kind: KeyKind | None = None) -> Issued:
    """A self-signed authority, valid from `now` (aware)."""
    profile = profile or Profile.load(ProfileName.ROOT)
    if not profile.authority:
        raise CryptoError("a root needs the profile of an authority")
    return _certificate(None, profile, Holder(), now, None, kind)


def issue(
    authority: Issued,
    profile: Profile,
    holder: Holder,
    now: datetime,
    *,
    kind: KeyKind | None = None,
    validity: timedelta | None = None,
    published: str = "",
) -> Issued:
    """A certificate of `holder` under `authority`, with a new key pair.

    Valid from `now` less some minutes for `validity` (the profile's days by default). `published`: the address under
    which the authority's list, responder and certificate are reached. Raises `CryptoError` for a kind of key that the
    profile does not have.
    """
    return _certificate(authority, profile, holder, now, validity, kind, published)


def renewed(authority: Issued, former: x509.Certificate, now: datetime) -> Issued:
    """The same certificate with a new key pair of the same kind, for as long again.

    Raises `CryptoError`: another authority's, or a key of a kind that is not issued here.
    """
    if former.issuer != authority.certificate.subject:
        raise CryptoError("this certificate is another authority's")
    key = new_key(_kind_of(former))
    builder = (
        x509.CertificateBuilder()
        .subject_name(former.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_LEEWAY)
        .not_valid_after(now + (former.not_valid_after_utc - former.not_valid_before_utc) - CLOCK_LEEWAY)
    )
    for extension in former.extensions:
        value = extension.value
        if isinstance(value, x509.SubjectKeyIdentifier):
            value = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(value, critical=extension.critical)
    return Issued(builder.sign(authority.key, hashes.SHA256()), key)


def _kind_of(certificate: x509.Certificate) -> KeyKind:
    key = certificate.public_key()
    kinds = {2048: KeyKind.RSA_2048, 3072: KeyKind.RSA_3072, "secp256r1": KeyKind.P256, "secp384r1": KeyKind.P384}
    known: int | str = ""
    if isinstance(key, rsa.RSAPublicKey):
        known = key.key_size
    elif isinstance(key, ec.EllipticCurvePublicKey):
        known = key.curve.name
    if known not in kinds:
        raise CryptoError("a certificate with a key of this kind is not issued here")
    return kinds[known]


def server(
    authority: Issued, names: Sequence[str], organisation: str, now: datetime, kind: KeyKind = KeyKind.P256
) -> Issued:
    """A server's certificate for `names`; 127.0.0.1, ::1 and localhost are added, so that a first try works."""
    hosts = list(dict.fromkeys([*names, "localhost", "127.0.0.1", "::1"]))
    holder = Holder({"organisation": organisation, "common_name": hosts[0]}, hosts=hosts)
    return issue(authority, Profile.load(ProfileName.SERVER), holder, now, kind=kind)


def organisation_client(
    authority: Issued, name: str, finess: str, now: datetime, kind: KeyKind = KeyKind.P256, emails: Sequence[str] = ()
) -> Issued:
    """An organisation's client certificate: OU is 1 + FINESS."""
    subject = {"organisation": name, "organisation_unit": FINESS_TYPE + finess, "common_name": name}
    return issue(authority, Profile.load(ProfileName.ORGANISATION), Holder(subject, emails), now, kind=kind)


def professional(
    authority: Issued,
    address: str,
    name: str,
    rpps: str,
    now: datetime,
    *,
    kind: KeyKind = KeyKind.RSA_2048,
    validity: timedelta | None = None,
) -> Issued:
    """A professional's signing certificate: mailbox in rfc822Name, 8 + RPPS in serialNumber."""
    subject = {"common_name": name, "serial_number": RPPS_TYPE + rpps}
    profile = Profile.load(ProfileName.SMIME)
    return issue(authority, profile, Holder(subject, [address]), now, kind=kind, validity=validity)


def _certificate(
    authority: Issued | None,
    profile: Profile,
    holder: Holder,
    now: datetime,
    validity: timedelta | None,
    kind: KeyKind | None,
    published: str = "",
) -> Issued:
    kind = kind or profile.default_key
    if kind not in profile.keys:
        raise CryptoError(f"profile {profile.name} has no key of kind {kind}")
    key = new_key(kind)
    subject = _name({**profile.subject, **holder.subject})
    issuer = authority.certificate.subject if authority else subject
    signer = authority.key if authority else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_LEEWAY)
        .not_valid_after(now + (validity if validity is not None else timedelta(days=profile.days)))
        .add_extension(x509.BasicConstraints(ca=profile.authority, path_length=None), critical=True)
        .add_extension(_key_usage(profile.key_usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if profile.extended_key_usage:
        usages = [_EXTENDED_USAGES[usage] for usage in profile.extended_key_usage]
        # RFC 3161 §2.3: critical for a time-stamp authority
        critical = usages == [ExtendedKeyUsageOID.TIME_STAMPING]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=critical)
    if "ocsp_signing" in profile.extended_key_usage:
        # RFC 6960 §4.2.2.2.1: nobody asks the responder about itself.
        builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
    if published:
        builder = _with_addresses(builder, published.rstrip("/"))
    names: list[x509.GeneralName] = [x509.RFC822Name(address) for address in holder.emails]
    names += [_host(host) for host in holder.hosts]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Issued(builder.sign(signer, hashes.SHA256()), key)


def _with_addresses(builder: x509.CertificateBuilder, published: str) -> x509.CertificateBuilder:
    """Where the authority's list, responder and certificate are (RFC 5280 §4.2.1.13, §4.2.2.1)."""

    def at(name: str) -> x509.UniformResourceIdentifier:
        return x509.UniformResourceIdentifier(f"{published}/{name}")

    point = x509.DistributionPoint([at("root.crl")], None, None, None)
    access = [
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, at("ocsp")),
        x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, at("root.cer")),
    ]
    builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    return builder.add_extension(x509.AuthorityInformationAccess(access), critical=False)


def _name(subject: Mapping[str, str]) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(oid, subject[field]) for field, oid in _NAME_ATTRIBUTES.items() if field in subject]
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host.encode("idna").decode() if not host.isascii() else host)


def _key_usage(names: frozenset[str]) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature="digital_signature" in names,
        content_commitment="content_commitment" in names,
        key_encipherment="key_encipherment" in names,
        data_encipherment=False,
        key_agreement="key_agreement" in names,
        key_cert_sign="key_cert_sign" in names,
        crl_sign="crl_sign" in names,
        encipher_only=False,
        decipher_only=False,
    )
