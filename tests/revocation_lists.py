"""Revocation lists and OCSP answers for tests, as an authority and its responder make them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from crypto.pki.issue import Issued

DAY = timedelta(days=1)


def crl(
    issuer: Issued,
    revoked: Iterable[x509.Certificate],
    now: datetime,
    *,
    lasts: timedelta = DAY,
    reason: x509.ReasonFlags = x509.ReasonFlags.key_compromise,
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
) -> bytes:
    """A list of `issuer`, DER, made at `now`."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now)
        .next_update(now + lasts)
    )
    for certificate in revoked:
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(certificate.serial_number)
            .revocation_date(now)
            .add_extension(x509.CRLReason(reason), critical=False)
        )
        builder = builder.add_revoked_certificate(entry.build())
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def ocsp_answer(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    responder: Issued,
    now: datetime,
    *,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    lasts: timedelta | None = DAY,
    sends: bool = True,
    nonce: bytes = b"",
) -> bytes:
    """An answer about `certificate`, DER; `sends`: the responder's certificate comes along."""
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            certificate,
            issuer,
            hashes.SHA1(),
            status,
            now,
            None if lasts is None else now + lasts,
            now if revoked else None,
            x509.ReasonFlags.key_compromise if revoked else None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, responder.certificate)
    )
    if nonce:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    if sends:
        builder = builder.certificates([responder.certificate])
    return builder.sign(responder.key, hashes.SHA256()).public_bytes(Encoding.DER)
