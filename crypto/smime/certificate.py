"""What a signer's certificate says, read once and kept.

A practice signs all day with one certificate: the facts that every verdict needs are drawn from it once.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crypto.pki.path import UNREADABLE
from crypto.smime.tlv import CONTEXT_0, INTEGER, SEQUENCE, Malformed, element, expect
from crypto.smime.verdict import Signer

CACHED_CERTIFICATES = 1_024  # some 8 KB each with its parsed key
CERTIFICATE_BYTES = 64 * 1024  # real ones have 1 to 3 KB
MAX_ADDRESSES = 64
TEXT_CHARACTERS = 200  # of a name that is stored and shown

_RPPS_DIGITS = 11
_FINESS_CHARACTERS = 9
_SIRET_DIGITS = 14
# OpenSSL computes with any exponent up to 3,072 bits; signers have 65,537.
_EXPONENT_BITS = 64

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Certificate:
    """`key` is None for a kind of key that is not known here; `addresses` are in `comparable` form;
    `address_in_subject`: they stand where no authority's name constraints reach (RFC 5280 §4.2.1.10)."""

    x509: x509.Certificate
    der: bytes = field(repr=False)
    key: PublicKey | None
    key_identifier: bytes | None
    signer: Signer
    addresses: frozenset[str]
    address_in_subject: bool
    for_mail: bool
    not_before: datetime
    not_after: datetime


def issuer_and_serial(der: bytes) -> tuple[bytes, bytes]:
    """The issuer's name and the serial number, as contents octets, without decoding the rest. Raises `Malformed`."""
    whole = expect(der, 0, len(der), SEQUENCE)
    tbs = expect(der, whole.start, whole.stop, SEQUENCE)
    first = element(der, tbs.start, tbs.stop)
    serial = expect(der, first.after, tbs.stop, INTEGER) if first.tag == CONTEXT_0 else first
    algorithm = expect(der, serial.after, tbs.stop, SEQUENCE)
    issuer = expect(der, algorithm.after, tbs.stop, SEQUENCE)
    return der[issuer.start : issuer.stop], der[serial.start : serial.stop]


def comparable(address: str) -> str:
    """An address in the form in which two are the same mailbox: letters of ASCII in lower case, domain as A-labels.

    Only ASCII is folded: Unicode folding makes one of different letters (K and the Kelvin sign).
    """
    local, at, domain = address.strip().rpartition("@")
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode()
        except UnicodeError:
            return _ascii_lower(address)
    return _ascii_lower(local + at + domain)


@lru_cache(maxsize=CACHED_CERTIFICATES)
def certificate(der: bytes) -> Certificate:
    """Read a certificate. Raises `Malformed`."""
    if len(der) > CERTIFICATE_BYTES:
        raise Malformed
    try:
        with warnings.catch_warnings():
            # A stranger's odd certificate (serial number 0, country of 12 letters) is no news for our logs.
            warnings.simplefilter("ignore")
            read = x509.load_der_x509_certificate(der)
            subject = read.subject
            extensions = {extension.oid: extension.value for extension in read.extensions}
            issuer = read.issuer.rfc4514_string()
            not_before, not_after = read.not_valid_before_utc, read.not_valid_after_utc
            serial = f"{read.serial_number:x}"
    except UNREADABLE:
        raise Malformed from None
    alternative, old = _addresses(subject, extensions)
    addresses = alternative or old
    signer = Signer(
        name=_name(subject),
        organisation=_text(subject, NameOID.ORGANIZATION_NAME),
        rpps=_rpps(subject),
        finess=_structure(subject, "1", _FINESS_CHARACTERS),
        addresses=addresses,
        serial=serial,
        fingerprint=hashlib.sha256(der).hexdigest(),
        issuer=issuer[:TEXT_CHARACTERS],
        siret=_structure(subject, "3", _SIRET_DIGITS),
    )
    return Certificate(
        read,
        der,
        _key(read),
        _key_identifier(extensions),
        signer,
        frozenset(comparable(address) for address in addresses),
        not alternative,
        _for_mail(extensions),
        not_before,
        not_after,
    )


_Extensions = dict[x509.ObjectIdentifier, x509.ExtensionType]


def _key(read: x509.Certificate) -> PublicKey | None:
    try:
        key = read.public_key()
        if isinstance(key, rsa.RSAPublicKey) and key.public_numbers().e.bit_length() > _EXPONENT_BITS:
            return None
    except UNREADABLE:
        return None
    return key if isinstance(key, PublicKey) else None


def _key_identifier(extensions: _Extensions) -> bytes | None:
    identifier = extensions.get(x509.SubjectKeyIdentifier.oid)
    return identifier.digest if isinstance(identifier, x509.SubjectKeyIdentifier) else None


def _for_mail(extensions: _Extensions) -> bool:
    """RFC 8550 §4.4.2 and §4.4.4: digitalSignature or nonRepudiation if keyUsage is there, emailProtection or any
    purpose if extended key usage is there; and never the certificate of an authority (§4.4.1)."""
    usage = extensions.get(x509.KeyUsage.oid)
    if isinstance(usage, x509.KeyUsage) and not (usage.digital_signature or usage.content_commitment):
        return False
    extended = extensions.get(x509.ExtendedKeyUsage.oid)
    if isinstance(extended, x509.ExtendedKeyUsage) and not (
        {ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(extended)
    ):
        return False
    constraints = extensions.get(x509.BasicConstraints.oid)
    return not (isinstance(constraints, x509.BasicConstraints) and constraints.ca)


def _addresses(subject: x509.Name, extensions: _Extensions) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """RFC 8550 §3: rfc822Name of the subject's alternative names, and the old emailAddress of the subject, which counts
    where there is none. What looks like an address in any other place (common name, URI, DNS name) is none."""
    alternative = extensions.get(x509.SubjectAlternativeName.oid)
    named = (
        alternative.get_values_for_type(x509.RFC822Name) if isinstance(alternative, x509.SubjectAlternativeName) else []
    )
    old = [_string(attribute) for attribute in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)]
    return _mailboxes(named), _mailboxes(old)


def _mailboxes(found: list[str]) -> tuple[str, ...]:
    """A name with a NUL or a space in it is read to its end by one program and to there by another: it is none."""
    sound = (address for address in found if address.count("@") == 1 and address.isprintable() and " " not in address)
    return tuple(dict.fromkeys(sound))[:MAX_ADDRESSES]


def _name(subject: x509.Name) -> str:
    common = _text(subject, NameOID.COMMON_NAME)
    # On health professionals' cards the common name is the national identifier, the person is in the other fields.
    person = f"{_text(subject, NameOID.GIVEN_NAME)} {_text(subject, NameOID.SURNAME)}".strip()
    return person if person and (not common or common.isdigit()) else common


def _rpps(subject: x509.Name) -> str:
    """8 + RPPS in serialNumber, or in the common name of a card's certificate."""
    for field_oid in (NameOID.SERIAL_NUMBER, NameOID.COMMON_NAME):
        value = _text(subject, field_oid)
        if len(value) == 1 + _RPPS_DIGITS and value[0] == "8" and value.isascii() and value.isdigit():
            return value[1:]
    return ""


def _structure(subject: x509.Name, kind: str, length: int) -> str:
    """The number of a structure in an OU behind the digit of its kind: 1 + FINESS (letters A or B for Corsica), 3 +
    SIRET."""
    for attribute in subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME):
        value = _string(attribute)
        if len(value) == 1 + length and value[0] == kind and value.isascii() and value.isalnum():
            return value[1:]
    return ""


def _text(subject: x509.Name, field_oid: x509.ObjectIdentifier) -> str:
    found = subject.get_attributes_for_oid(field_oid)
    return _string(found[0])[:TEXT_CHARACTERS] if found else ""


def _string(attribute: x509.NameAttribute[str | bytes]) -> str:
    value = attribute.value
    return value if isinstance(value, str) else value.decode("latin-1")


def _ascii_lower(text: str) -> str:
    return text.lower() if text.isascii() else "".join(c.lower() if c.isascii() else c for c in text)
