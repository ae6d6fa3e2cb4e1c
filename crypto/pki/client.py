"""A client certificate that software signs in with: what it must be, and the name it is known by.

That it leads to an anchor was checked by TLS; what TLS cannot promise is checked again here: a session may be resumed
long after its handshake, and OpenSSL takes a certificate without extended key usage. Revocation: `revocation.py`.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from crypto.errors import CryptoError
from crypto.pki.path import UNREADABLE

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


class ClientCertificateError(CryptoError):
    """This certificate is not one to sign in with; the text says why."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """One that may be used. `key_hash` is SHA-256 of the SubjectPublicKeyInfo (32 bytes), `subject` RFC 4514 text."""

    key_hash: bytes
    subject: str
    not_after: datetime


def read(der: bytes, now: datetime) -> ClientCertificate:
    """What `der` is at `now` (aware).

    Raises ClientCertificateError: unreadable, not valid now, an authority's, or not for client authentication.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in `smime.certificate`: no news for our logs
            certificate = x509.load_der_x509_certificate(der)
            usages = _extension(certificate, x509.ExtendedKeyUsage)
            constraints = _extension(certificate, x509.BasicConstraints)
            key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            subject = certificate.subject.rfc4514_string()
    except UNREADABLE:
        raise ClientCertificateError("the certificate cannot be read") from None
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise ClientCertificateError("the certificate is not valid now")
    if constraints is not None and constraints.ca:
        raise ClientCertificateError("it is the certificate of an authority")
    # RFC 5280 §4.2.1.12: id-kp-clientAuth, said and not implied.
    if usages is None or ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        raise ClientCertificateError("its extended key usage does not name client authentication")
    return ClientCertificate(hashlib.sha256(key).digest(), subject, certificate.not_valid_after_utc)


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
