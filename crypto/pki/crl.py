"""Certificate revocation lists (RFC 5280 §5), by the issuer of the certificates they speak of.

A delta list (§5.2.4) says who was revoked or released since a complete one, and of all others nothing. Refused:
indirect lists and lists of some reasons only (each alone would say "good" of what another part revokes), attribute
certificates, unknown critical extensions, lists without an end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtensionOID

from crypto.pki.standing import CLOCK_LEEWAY, DIGESTS, UNREADABLE, Answer, Status, Unusable, readable

CRL_BYTES = 32 * 1024 * 1024  # 50 bytes an entry: 600,000 revoked certificates; national ones stay under 10 MB
_PEM = b"-----BEGIN X509 CRL-----"
# What this code understands; any other one that is critical makes the list unusable (RFC 5280 §5.2).
_UNDERSTOOD = frozenset(
    {
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.CRL_NUMBER,
        ExtensionOID.DELTA_CRL_INDICATOR,
        ExtensionOID.ISSUING_DISTRIBUTION_POINT,
    }
)


@dataclass(frozen=True, eq=False)
class Crl:
    """A list that was read; whether its signature is an issuer's is checked against that issuer."""

    source: str
    this_update: datetime
    next_update: datetime
    _list: x509.CertificateRevocationList = field(repr=False)
    _point: x509.IssuingDistributionPoint | None = field(repr=False)
    _is_delta: bool
    _signers: dict[bytes, bool] = field(default_factory=dict, repr=False)  # issuer's certificate → whether it signed

    @classmethod
    def parse(cls, data: bytes, source: str) -> Crl:
        """Read a list, DER or PEM. Raises Unusable."""
        if len(data) > CRL_BYTES:
            raise Unusable("it is too large")
        load = x509.load_pem_x509_crl if data.lstrip().startswith(_PEM) else x509.load_der_x509_crl
        return readable(lambda: cls._checked(load(data), source), "revocation list")

    @classmethod
    def _checked(cls, found: x509.CertificateRevocationList, source: str) -> Crl:
        if not isinstance(found.signature_hash_algorithm, DIGESTS):
            raise Unusable("it is signed with an algorithm that is not accepted")
        point, is_delta = None, False
        for extension in found.extensions:
            is_delta = is_delta or extension.oid == ExtensionOID.DELTA_CRL_INDICATOR
            if extension.critical and extension.oid not in _UNDERSTOOD:
                raise Unusable("it has a critical extension that is not known")
            if isinstance(extension.value, x509.IssuingDistributionPoint):
                point = extension.value
        if point is not None and (
            point.indirect_crl or point.only_contains_attribute_certs or point.only_some_reasons or point.relative_name
        ):
            raise Unusable("it is indirect or speaks of some reasons only")
        # RFC 5280 §5.1.2.5: nextUpdate must be there.
        if found.next_update_utc is None:
            raise Unusable("it has no end")
        return cls(source, found.last_update_utc, found.next_update_utc, found, point, is_delta)

    @property
    def about(self) -> x509.Name:
        """The name of the issuer whose certificates it speaks of."""
        return self._list.issuer

    def signed_by(self, issuer: x509.Certificate) -> bool:
        """Whether this issuer signed it, and may."""
        key = issuer.fingerprint(hashes.SHA256())
        if key not in self._signers:
            self._signers[key] = self._is_signed_by(issuer)
        return self._signers[key]

    def _is_signed_by(self, issuer: x509.Certificate) -> bool:
        try:
            if not _may_sign_lists(issuer) or issuer.subject != self._list.issuer:
                return False
            return self._list.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
        except (*UNREADABLE, InvalidSignature):
            return False  # a key or an algorithm that no list is signed with

    def answer(self, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> Answer | None:
        """What it says of a certificate at `now`; None when it does not speak of it, or is not the issuer's."""
        if self.this_update > now + CLOCK_LEEWAY or not self._covers(certificate) or not self.signed_by(issuer):
            return None
        try:
            entry = self._list.get_revoked_certificate_by_serial_number(certificate.serial_number)
        except UNREADABLE:
            return None  # an entry that cannot be read
        if entry is None and self._is_delta:
            return None
        if entry is None:
            if now <= self.next_update:
                return Answer(Status.GOOD, self.source, self.this_update)
            return Answer(Status.UNKNOWN, self.source, self.this_update, reason="the revocation list has ended")
        reason = _reason(entry)
        if reason == x509.ReasonFlags.remove_from_crl:
            # RFC 5280 §5.3.1: in a delta alone, of what was on hold.
            released = self._is_delta and now <= self.next_update
            return Answer(Status.GOOD, self.source, self.this_update) if released else None
        if reason == x509.ReasonFlags.certificate_hold and now > self.next_update:
            return Answer(Status.UNKNOWN, self.source, self.this_update, reason="it was on hold in a list that ended")
        return Answer(Status.REVOKED, self.source, self.this_update, entry.revocation_date_utc, reason.value)

    def _covers(self, certificate: x509.Certificate) -> bool:
        """RFC 5280 §6.3.3 (b): the certificate lies within the scope of the list."""
        point = self._point
        if point is None:
            return True
        try:
            authority = _is_authority(certificate)
            named = _distribution_points(certificate)
        except UNREADABLE:
            return False
        if (point.only_contains_user_certs and authority) or (point.only_contains_ca_certs and not authority):
            return False
        return point.full_name is None or bool(named & set(point.full_name))


def _may_sign_lists(issuer: x509.Certificate) -> bool:
    # RFC 5280 §6.3.3 (f): if keyUsage is there, cRLSign is set.
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _distribution_points(
    certificate: x509.Certificate,
    kind: type[x509.CRLDistributionPoints | x509.FreshestCRL] = x509.CRLDistributionPoints,
) -> set[x509.GeneralName]:
    try:
        points = certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return set()
    return {name for point in points for name in point.full_name or ()}


def list_urls(certificate: x509.Certificate) -> list[str]:
    """Where the certificate says its list is published, and the delta lists (http and https)."""
    try:
        names = _distribution_points(certificate) | _distribution_points(certificate, x509.FreshestCRL)
    except UNREADABLE:
        return []
    urls = {name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)}
    return sorted(url for url in urls if url.lower().startswith(("http://", "https://")))


def _reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except UNREADABLE:
        return x509.ReasonFlags.unspecified
