"""Our authority's OCSP responder (RFC 6960), for the light clients of RFC 5019 too.

It speaks of one certificate a request, of our authority alone: what is on the list is revoked, what the authority gave
is good, any other number is unknown. An answer is signed by a responder that the authority appointed, holds twelve
hours, and repeats the nonce that was asked with (RFC 9654).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from crypto.errors import CryptoError
from crypto.pki.authority import issued
from crypto.pki.issue import Issued
from crypto.pki.standing import UNREADABLE, Unusable, readable

REQUEST_BYTES: Final = 4 * 1024  # a request with a nonce is 120 octets, a signed one with its certificate 2 KB
ANSWER_HOLDS: Final = timedelta(hours=12)
NONCE_BYTES: Final = 128  # RFC 9654 §2.1: of 1 to 128 octets


@dataclass(frozen=True, slots=True)
class Answered:
    """A response, DER, and until when it may be kept: None, not at all (a nonce, or an error)."""

    response: bytes
    keep_until: datetime | None = None


class Responder:
    """Answers from the files that `crypto.pki.authority` writes; what is written is known with the next request."""

    def __init__(self, authority: x509.Certificate, signer: Issued, crl: Path, given: Path) -> None:
        self._authority = authority
        self._signer = signer
        self._files = crl, given
        self._seen: tuple[tuple[int, int], ...] = ()
        self._crl: x509.CertificateRevocationList | None = None
        self._given: frozenset[int] = frozenset()

    def answer(self, request: bytes, now: datetime) -> Answered:
        """What to answer to these octets at `now` (aware). Raises nothing."""
        try:
            asked = readable(lambda: _Asked.read(request), "request")
        except Unusable:
            return _error(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
        if not asked.is_about(self._authority):
            # RFC 5019 §2.2.3: what this responder cannot speak of.
            return _error(ocsp.OCSPResponseStatus.UNAUTHORIZED)
        try:
            self._look()
        except (OSError, ValueError, CryptoError):
            return _error(ocsp.OCSPResponseStatus.TRY_LATER)
        until = now + ANSWER_HOLDS
        builder = self._about(asked, now.replace(microsecond=0), until).responder_id(
            ocsp.OCSPResponderEncoding.HASH, self._signer.certificate
        )
        builder = builder.certificates([self._signer.certificate])
        if asked.nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(asked.nonce), critical=False)
        response = builder.sign(self._signer.key, hashes.SHA256()).public_bytes(Encoding.DER)
        return Answered(response, until if asked.nonce is None else None)

    def _about(self, asked: _Asked, now: datetime, until: datetime) -> ocsp.OCSPResponseBuilder:
        revoked_at, reason = None, None
        status = ocsp.OCSPCertStatus.GOOD if asked.serial in self._given else ocsp.OCSPCertStatus.UNKNOWN
        entry = self._crl.get_revoked_certificate_by_serial_number(asked.serial) if self._crl is not None else None
        if entry is not None:
            status, revoked_at = ocsp.OCSPCertStatus.REVOKED, entry.revocation_date_utc
            try:
                reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
            except x509.ExtensionNotFound:
                reason = None
        return ocsp.OCSPResponseBuilder().add_response_by_hash(
            asked.name_hash, asked.key_hash, asked.serial, asked.algorithm, status, now, until, revoked_at, reason
        )

    def _look(self) -> None:
        """Read the files again when they were replaced."""
        found = [one.stat() for one in self._files]
        seen = tuple((status.st_ino, status.st_mtime_ns) for status in found)
        if seen != self._seen:
            crl, given = self._files
            self._crl, self._given = x509.load_der_x509_crl(crl.read_bytes()), issued(given)
            self._seen = seen


@dataclass(frozen=True, slots=True)
class _Asked:
    name_hash: bytes
    key_hash: bytes
    serial: int
    algorithm: hashes.HashAlgorithm
    nonce: bytes | None

    @classmethod
    def read(cls, request: bytes) -> _Asked:
        """Raises ValueError and what else the library raises for what it cannot read."""
        if len(request) > REQUEST_BYTES:
            raise ValueError("too large")
        try:
            found = ocsp.load_der_ocsp_request(request)
            nonce = next((one.value.nonce for one in found.extensions if isinstance(one.value, x509.OCSPNonce)), None)
        except NotImplementedError:  # of several certificates: RFC 5019 §2.1.1 asks for one
            raise ValueError("several") from None
        if nonce is not None and not 1 <= len(nonce) <= NONCE_BYTES:
            raise ValueError("a nonce of another length")
        return cls(found.issuer_name_hash, found.issuer_key_hash, found.serial_number, found.hash_algorithm, nonce)

    def is_about(self, authority: x509.Certificate) -> bool:
        """Whether this authority would have issued it."""
        try:
            own = ocsp.OCSPRequestBuilder().add_certificate(authority, authority, self.algorithm).build()
        except UNREADABLE:
            return False  # a digest that the library does not name issuers by
        return (self.name_hash, self.key_hash) == (own.issuer_name_hash, own.issuer_key_hash)


def _error(status: ocsp.OCSPResponseStatus) -> Answered:
    return Answered(ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER))
