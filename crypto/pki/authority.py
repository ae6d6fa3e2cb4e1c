"""What an authority of ours publishes: `caducee init`'s, or that of a private trust space.

    <folder>/crl/<name>.crl       its revocation list, beside the authority's `<name>.pem`
    <folder>/crl/<name>.issued    the serial numbers it gave, one a line, hexadecimal: what its responder calls good

They are in a folder of their own, since who fetches the list may read the whole folder. The list lasts as long as the
authority: nobody is there to renew it, and revoking makes a newer one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


def issued_file(folder: Path, name: str = "root") -> Path:
    """Where the serial numbers that it gave are."""
    return folder / "crl" / f"{name}.issued"


def publish(folder: Path, authority: Issued, now: datetime, name: str = "root") -> None:
    """Write the first list of an authority, with nobody on it."""
    _write(list_file(folder, name), authority, [], 1, now)


def record(folder: Path, certificates: Sequence[x509.Certificate], name: str = "root") -> None:
    """Remember that these were issued; one that is known already changes nothing. Before they leave our hands."""
    file = issued_file(folder, name)
    with _alone(file.parent):
        known = issued(file) if file.exists() else frozenset()
        fresh = known | {certificate.serial_number for certificate in certificates}
        if fresh != known:
            write_private(file, "".join(f"{serial:x}\n" for serial in sorted(fresh)).encode())


def issued(file: Path) -> frozenset[int]:
    """The serial numbers in such a file. Raises CryptoError."""
    try:
        return frozenset(int(line, 16) for line in file.read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        raise CryptoError(f"{file}: no serial numbers can be read from it") from None


def revoke(
    folder: Path,
    certificate: x509.Certificate,
    now: datetime,
    name: str = "root",
    reason: x509.ReasonFlags = x509.ReasonFlags.unspecified,
) -> None:
    """Put a certificate on the list of the authority `name` in `folder` (its key is needed).

    Raises CryptoError: no such authority or list here, or a certificate that it did not issue.
    """
    authority = Issued.load(folder, name)
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except Exception:  # whatever kind of no it is (another name, signature or algorithm)
        raise CryptoError(f"this certificate was not issued by {folder / name}.pem") from None
    entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now)
    # RFC 5280 §5.3.1: "unspecified" is said by saying nothing.
    if reason is not x509.ReasonFlags.unspecified:
        entry = entry.add_extension(x509.CRLReason(reason), critical=False)
    again(folder, now, name, entry.build())


def again(folder: Path, now: datetime, name: str = "root", entry: x509.RevokedCertificate | None = None) -> None:
    """Write a newer list, with one entry more; an entry that is there already changes nothing.

    Raises CryptoError: no such authority or list here.
    """
    authority, file = Issued.load(folder, name), list_file(folder, name)
    with _alone(file.parent):
        try:
            known = x509.load_der_x509_crl(file.read_bytes())
            number = known.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        except (OSError, ValueError, x509.ExtensionNotFound):
            raise CryptoError(f"{file}: no revocation list can be read from it") from None
        entries = list(known)
        if entry is not None:
            if known.get_revoked_certificate_by_serial_number(entry.serial_number) is not None:
                return
            entries.append(entry)
        _write(file, authority, entries, number + 1, now)


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


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two commands never undo each other."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
