"""The revocation list of an authority of ours: of `caducee init`'s, or of a private trust space.

`<folder>/crl/<name>.crl` beside the authority's `<name>.pem`: in a folder of its own, since who fetches it may read the
whole folder. It lasts as long as the authority: nobody is there to renew it, and revoking makes a newer one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from crypto.errors import CryptoError
from crypto.keyfile import write_private
from crypto.pki.issue import CLOCK_LEEWAY, Issued


def list_file(folder: Path, name: str = "root") -> Path:
    """Where the list of the authority `name` in `folder` is."""
    return folder / "crl" / f"{name}.crl"


def publish(folder: Path, authority: Issued, now: datetime, name: str = "root") -> None:
    """Write the first list of an authority, with nobody on it."""
    _write(list_file(folder, name), authority, [], 1, now)


def revoke(folder: Path, certificate: x509.Certificate, now: datetime, name: str = "root") -> None:
    """Put a certificate on the list of the authority `name` in `folder` (its key is needed).

    Raises CryptoError: no such authority or list here, or a certificate that it did not issue.
    """
    authority = Issued.load(folder, name)
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except Exception:  # whatever kind of no it is (another name, signature or algorithm)
        raise CryptoError(f"this certificate was not issued by {folder / name}.pem") from None
    file = list_file(folder, name)
    try:
        known = x509.load_der_x509_crl(file.read_bytes())
        number = known.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (OSError, ValueError, x509.ExtensionNotFound):
        raise CryptoError(f"{file}: no revocation list can be read from it") from None
    if known.get_revoked_certificate_by_serial_number(certificate.serial_number) is None:
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now)
        _write(file, authority, [*known, entry.build()], number + 1, now)


def _write(
    file: Path, authority: Issued, revoked: Sequence[x509.RevokedCertificate], number: int, now: datetime
) -> None:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - CLOCK_LEEWAY)
        .next_update(authority.certificate.not_valid_after_utc)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    for entry in revoked:
        builder = builder.add_revoked_certificate(entry)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(file, builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.DER))
