"""Making of S/MIME signatures (RFC 8551 §3.5): for what this server signs itself, the demonstration, and tests."""

from __future__ import annotations

import email.policy
import hashlib
from base64 import encodebytes
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Final

from asn1crypto.algos import RSASSAPSSParams
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from crypto.errors import CryptoError
from crypto.pki.issue import Issued
from crypto.smime.certificate import issuer_and_serial
from crypto.smime.signed_data import (
    CONTENT_TYPE,
    DATA,
    MESSAGE_DIGEST,
    SIGNED_DATA,
    SIGNING_CERTIFICATE_V2,
    SIGNING_TIME,
    Kind,
    oid,
)
from crypto.smime.tlv import (
    CONTEXT_0,
    GENERALIZED_TIME,
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    SET,
    UTC_TIME,
    encoded,
)

_SHA256 = hashes.SHA256()


def _algorithm(dotted: str, parameters: bytes = b"") -> bytes:
    return encoded(SEQUENCE, encoded(OID, oid(dotted)) + parameters)


# RFC 5754 §2: parameters are left out.
_DIGESTS: Final = {
    "sha256": _algorithm("2.16.840.1.101.3.4.2.1"),
    "sha512": _algorithm("2.16.840.1.101.3.4.2.3"),
}
_PSS_PARAMETERS: Final = RSASSAPSSParams(
    {
        "hash_algorithm": {"algorithm": "sha256"},
        "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha256"}},
        "salt_length": _SHA256.digest_size,
    }
).dump()


def sign(
    content: bytes,
    signer: Issued | Sequence[Issued],
    now: datetime,
    *,
    kind: Kind = Kind.DETACHED,
    chain: Sequence[x509.Certificate] = (),
    pss: bool = False,
) -> bytes:
    """A CMS SignedData (DER) over `content`, which must be in canonical form with CRLF (RFC 8551 §3.1.1).

    By one signer or several. RSA PKCS#1 v1.5 (or PSS) or ECDSA with SHA-256, Ed25519 with SHA-512, by the signer's key;
    signed: content type, digest, `now` (aware), and the certificate (RFC 5035), so that no other can take its place.
    `chain` are intermediates to send along. Raises `CryptoError` for PSS with a key that is not RSA.
    """
    signers = [signer] if isinstance(signer, Issued) else list(signer)
    certificates = [one.certificate for one in signers] + list(chain)
    infos = sorted(_signer_info(content, one, now, pss) for one in signers)
    enclosed = encoded(CONTEXT_0, encoded(OCTET_STRING, content)) if kind is Kind.OPAQUE else b""
    body = (
        encoded(INTEGER, b"\1")
        + encoded(SET, b"".join(sorted({_DIGESTS[_digest(one)] for one in signers})))
        + encoded(SEQUENCE, encoded(OID, DATA) + enclosed)
        + encoded(CONTEXT_0, b"".join(sorted(one.public_bytes(Encoding.DER) for one in certificates)))
        + encoded(SET, b"".join(infos))
    )
    return encoded(SEQUENCE, encoded(OID, SIGNED_DATA) + encoded(CONTEXT_0, encoded(SEQUENCE, body)))


def _signer_info(content: bytes, signer: Issued, now: datetime, pss: bool) -> bytes:
    der, digest = signer.certificate.public_bytes(Encoding.DER), _digest(signer)
    bound = encoded(SEQUENCE, encoded(OCTET_STRING, hashlib.sha256(der).digest()))  # RFC 5035 §4: SHA-256 is left out
    attributes = sorted(
        [
            _attribute(CONTENT_TYPE, encoded(OID, DATA)),
            _attribute(MESSAGE_DIGEST, encoded(OCTET_STRING, hashlib.new(digest, content).digest())),
            _attribute(SIGNING_TIME, _time(now)),
            _attribute(SIGNING_CERTIFICATE_V2, encoded(SEQUENCE, encoded(SEQUENCE, bound))),
        ]
    )
    algorithm, signature = _signature(signer, encoded(SET, b"".join(attributes)), pss)
    issuer, serial = issuer_and_serial(der)
    return encoded(
        SEQUENCE,
        encoded(INTEGER, b"\1")
        + encoded(SEQUENCE, encoded(SEQUENCE, issuer) + encoded(INTEGER, serial))
        + _DIGESTS[digest]
        + encoded(CONTEXT_0, b"".join(attributes))
        + algorithm
        + encoded(OCTET_STRING, signature),
    )


def _digest(signer: Issued) -> str:
    # RFC 8419 §3: Ed25519 goes with SHA-512.
    return "sha512" if isinstance(signer.key, ed25519.Ed25519PrivateKey) else "sha256"


def _time(moment: datetime) -> bytes:
    # RFC 5652 §11.3: UTCTime through 2049.
    utc = moment.astimezone(UTC)
    if utc.year < 2050:
        return encoded(UTC_TIME, f"{utc:%y%m%d%H%M%SZ}".encode())
    return encoded(GENERALIZED_TIME, f"{utc:%Y%m%d%H%M%SZ}".encode())


def _attribute(kind: bytes, value: bytes) -> bytes:
    return encoded(SEQUENCE, encoded(OID, kind) + encoded(SET, value))


def signed_entity(
    entity: bytes,
    signer: Issued | Sequence[Issued],
    now: datetime,
    *,
    kind: Kind = Kind.DETACHED,
    chain: Sequence[x509.Certificate] = (),
    pss: bool = False,
) -> bytes:
    """A MIME entity of `entity` (which has its own Content-Type) and the signatures on it (RFC 8551 §3.5.2, §3.5.3).

    Line endings become CRLF. What it gives may be encrypted and signed again (triple wrapping, RFC 2634 §1.1).
    """
    entity = canonical(entity)
    cms_ = base64_lines(sign(entity, signer, now, kind=kind, chain=chain, pss=pss))
    if kind is Kind.OPAQUE:
        return pkcs7_mime(cms_, "signed-data")
    # Nothing is random, so that the same message is the same octets; who wrote it cannot know what this comes to.
    boundary = b"signed-" + hashlib.sha256(cms_).hexdigest()[:36].encode()
    signers = [signer] if isinstance(signer, Issued) else signer
    # RFC 8551 §3.5.3.2: every algorithm, separated by commas.
    micalg = ",".join(sorted({f"sha-{_digest(one)[3:]}" for one in signers}))
    quoted = f'"{micalg}"' if "," in micalg else micalg
    return b"\r\n".join(
        [
            b'Content-Type: multipart/signed; protocol="application/pkcs7-signature";',
            b' micalg=%b; boundary="%b"' % (quoted.encode(), boundary),
            b"",
            b"--" + boundary,
            entity,
            b"--" + boundary,
            b'Content-Type: application/pkcs7-signature; name="smime.p7s"',
            b"Content-Transfer-Encoding: base64",
            b'Content-Disposition: attachment; filename="smime.p7s"',
            b"",
            cms_ + b"--" + boundary + b"--",
            b"",
        ]
    )


def sign_detached(
    entity: bytes, headers: Mapping[str, str], signer: Issued, now: datetime, *, pss: bool = False
) -> bytes:
    """A whole message: `headers` (From, To, Subject, …), and `entity` signed beside it.

    Raises ValueError for a header that holds a line break.
    """
    return message(headers, signed_entity(entity, signer, now, pss=pss))


def sign_opaque(
    entity: bytes, headers: Mapping[str, str], signer: Issued, now: datetime, *, pss: bool = False
) -> bytes:
    """As `sign_detached`, with the entity inside the signature."""
    return message(headers, signed_entity(entity, signer, now, kind=Kind.OPAQUE, pss=pss))


def message(headers: Mapping[str, str], entity: bytes) -> bytes:
    """The message of `headers` and a MIME entity. Raises ValueError for a header that holds a line break."""
    return header_block({**headers, "MIME-Version": "1.0"}) + entity


def pkcs7_mime(lines: bytes, kind: str) -> bytes:
    """The entity of a CMS object in `base64_lines` (RFC 8551 §3.2)."""
    return b"\r\n".join(
        [
            b'Content-Type: application/pkcs7-mime; smime-type=%b; name="smime.p7m"' % kind.encode(),
            b"Content-Transfer-Encoding: base64",
            b'Content-Disposition: attachment; filename="smime.p7m"',
            b"",
            lines,
        ]
    )


def canonical(data: bytes) -> bytes:
    """The canonical form of text (RFC 8551 §3.1.1): every line ends in CRLF."""
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def _signature(signer: Issued, signed: bytes, pss: bool) -> tuple[bytes, bytes]:
    """The algorithm as an element, and the signature."""
    key = signer.key
    if pss and not isinstance(key, rsa.RSAPrivateKey):
        raise CryptoError("PSS is of RSA keys")
    if isinstance(key, ec.EllipticCurvePrivateKey):
        # RFC 6979: the same octets have the same signature.
        return _algorithm("1.2.840.10045.4.3.2"), key.sign(signed, ec.ECDSA(_SHA256, deterministic_signing=True))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return _algorithm("1.3.101.112"), key.sign(signed)
    if not pss:
        # RFC 5754 §3.2: parameters are NULL.
        return _algorithm("1.2.840.113549.1.1.11", b"\5\0"), key.sign(signed, padding.PKCS1v15(), _SHA256)
    salt = padding.PSS(padding.MGF1(_SHA256), _SHA256.digest_size)
    return _algorithm("1.2.840.113549.1.1.10", _PSS_PARAMETERS), key.sign(signed, salt, _SHA256)


def header_block(headers: Mapping[str, str]) -> bytes:
    """Header fields as they are sent, without an empty line. Raises ValueError for one that holds a line break."""
    block = EmailMessage(policy=email.policy.SMTP)
    for name, value in headers.items():
        block[name] = value
    return block.as_bytes().rstrip(b"\r\n") + b"\r\n"


def base64_lines(data: bytes) -> bytes:
    return encodebytes(data).replace(b"\n", b"\r\n")
