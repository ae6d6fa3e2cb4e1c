"""Answers of OCSP responders (RFC 6960), kept and judged like lists: signed by the issuer or by whom it appointed.

Asked for only where no list is to be had; an answer is kept until its own end, so that nobody asks at the time of a
message. A question has a nonce (RFC 9654); an answer with another one is an old one, and one without is made ahead for
all who ask, as large responders do (RFC 5019 §4).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from crypto.pki.standing import CLOCK_LEEWAY, DIGESTS, UNREADABLE, Answer, Status, Unusable, readable

OCSP_BYTES = 64 * 1024  # an answer with a chain of certificates is 5 KB
WITHOUT_END = timedelta(days=1)  # how long an answer without nextUpdate is believed (RFC 6960 §2.4: newer ones exist)
NONCE_BYTES = 32  # RFC 9654 §2.1
RESPONDERS = 8  # certificates looked at in an answer


@dataclass(frozen=True, eq=False)
class OcspAnswer:
    """An answer that was read; whom it speaks of, and whether its signature holds, is checked against the issuer."""

    source: str
    this_update: datetime
    next_update: datetime
    _response: ocsp.OCSPResponse = field(repr=False)

    @classmethod
    def parse(cls, data: bytes, source: str) -> OcspAnswer:
        """Read an answer. Raises Unusable."""
        if len(data) > OCSP_BYTES:
            raise Unusable("it is too large")
        return readable(lambda: cls._checked(ocsp.load_der_ocsp_response(data), source), "OCSP answer")

    @classmethod
    def _checked(cls, found: ocsp.OCSPResponse, source: str) -> OcspAnswer:
        if found.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise Unusable(f"the responder does not answer ({found.response_status.name.lower()})")
        if not isinstance(found.signature_hash_algorithm, DIGESTS):
            raise Unusable("it is signed with an algorithm that is not accepted")
        end = found.next_update_utc or found.this_update_utc + WITHOUT_END
        return cls(source, found.this_update_utc, end, found)

    def answers(self, nonce: bytes) -> bool:
        """Whether it may be the answer to the question with this nonce."""
        try:
            return self._response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
        except UNREADABLE:
            return True  # none, or an extension that nobody can read

    @property
    def about(self) -> int:
        """The serial number of the certificate that it speaks of."""
        return self._response.serial_number

    def answer(self, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> Answer | None:
        """What it says of a certificate at `now`; None when it does not speak of it, or its signature does not hold."""
        try:
            if self.this_update > now + CLOCK_LEEWAY or not self._is_about(certificate, issuer):
                return None
            if not self._is_signed(issuer, now):
                return None
            status, reason = self._response.certificate_status, self._response.revocation_reason
            revoked_at = self._response.revocation_time_utc
        except UNREADABLE:
            return None  # a field that cannot be read says nothing
        hold = reason is x509.ReasonFlags.certificate_hold
        if status is ocsp.OCSPCertStatus.REVOKED and (now <= self.next_update or not hold):
            text = (reason or x509.ReasonFlags.unspecified).value
            return Answer(Status.REVOKED, self.source, self.this_update, revoked_at, text)
        if status is ocsp.OCSPCertStatus.GOOD and now <= self.next_update:
            return Answer(Status.GOOD, self.source, self.this_update)
        return Answer(
            Status.UNKNOWN, self.source, self.this_update, reason="the responder cannot tell, or told long ago"
        )

    def _is_about(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        response = self._response
        asked = request(certificate, issuer, response.hash_algorithm)
        return (
            response.serial_number == asked.serial_number
            and response.issuer_name_hash == asked.issuer_name_hash
            and response.issuer_key_hash == asked.issuer_key_hash
        )

    def _is_signed(self, issuer: x509.Certificate, now: datetime) -> bool:
        """RFC 6960 §4.2.2.2: by the issuer, or a responder with id-kp-OCSPSigning that the issuer itself certified."""
        if _holds(self._response, issuer):
            return True
        return any(
            _appointed(certificate, issuer, now) and _holds(self._response, certificate)
            for certificate in self._response.certificates[:RESPONDERS]
        )


def request(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    algorithm: hashes.HashAlgorithm | None = None,
    nonce: bytes = b"",
) -> ocsp.OCSPRequest:
    """The question about one certificate. SHA-1 only names the issuer here (RFC 5019 §2.1.1), it proves nothing."""
    chosen = algorithm or hashes.SHA1()  # noqa: S303
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, chosen)
    return (builder.add_extension(x509.OCSPNonce(nonce), critical=False) if nonce else builder).build()


def request_bytes(certificate: x509.Certificate, issuer: x509.Certificate, nonce: bytes) -> bytes:
    """The question as it is posted, DER. Raises Unusable: nothing can be asked about this certificate."""
    return readable(lambda: request(certificate, issuer, nonce=nonce).public_bytes(Encoding.DER), "certificate")


def responder_url(certificate: x509.Certificate) -> str | None:
    """Where the certificate says that one may ask (http and https)."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except UNREADABLE:
        return None
    for description in access:
        location = description.access_location
        if (
            description.access_method == AuthorityInformationAccessOID.OCSP
            and isinstance(location, x509.UniformResourceIdentifier)
            and location.value.lower().startswith(("http://", "https://"))
        ):
            return location.value
    return None


def _appointed(certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        certificate.verify_directly_issued_by(issuer)
    except (*UNREADABLE, InvalidSignature):
        return False
    valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
    return valid and ExtendedKeyUsageOID.OCSP_SIGNING in usages


def _holds(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key, digest = signer.public_key(), response.signature_hash_algorithm
    assert digest is not None  # noqa: S101 -- checked when it was read
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(digest))
        else:
            return False
    except InvalidSignature:
        return False
    return True
