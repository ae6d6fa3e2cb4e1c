"""Making of S/MIME signatures (RFC 8551 §3.5): for what this server signs itself, the demonstration, and tests."""

from __future__ import annotations

import email.policy
import hashlib
import secrets
from base64 import encodebytes
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.message import EmailMessage

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from crypto.errors import CryptoError
from crypto.pki.issue import Issued
from crypto.smime.signed_data import Kind

_DIGEST = hashes.SHA256()
_BOUNDARY_BYTES = 18


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
    enclosed = {"content_type": "data", "content": core.OctetString(content)}
    signed = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [
                algos.DigestAlgorithm({"algorithm": one}) for one in sorted(set(map(_digest, signers)))
            ],
            "encap_content_info": enclosed if kind is Kind.OPAQUE else {"content_type": "data"},
            "certificates": [asn1_x509.Certificate.load(one.public_bytes(Encoding.DER)) for one in certificates],
            "signer_infos": [_signer_info(content, one, now, pss) for one in signers],
        }
    )
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump())


def _signer_info(content: bytes, signer: Issued, now: datetime, pss: bool) -> cms.SignerInfo:
    der = signer.certificate.public_bytes(Encoding.DER)
    certificate = asn1_x509.Certificate.load(der)
    digest = _digest(signer)
    bound = tsp.SigningCertificateV2({"certs": [tsp.ESSCertIDv2({"cert_hash": hashlib.sha256(der).digest()})]})
    attributes = cms.CMSAttributes(
        [
            _attribute("content_type", cms.ContentType("data")),
            _attribute("message_digest", core.OctetString(hashlib.new(digest, content).digest())),
            _attribute("signing_time", cms.Time({"utc_time": core.UTCTime(now)})),
            _attribute("signing_certificate_v2", bound),
        ]
    )
    algorithm, signature = _signature(signer, attributes.dump(), pss)
    name = cms.IssuerAndSerialNumber({"issuer": certificate.issuer, "serial_number": certificate.serial_number})
    return cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier({"issuer_and_serial_number": name}),
            "digest_algorithm": algos.DigestAlgorithm({"algorithm": digest}),
            "signed_attrs": attributes,
            "signature_algorithm": algorithm,
            "signature": signature,
        }
    )


def _digest(signer: Issued) -> str:
    # RFC 8419 §3: Ed25519 goes with SHA-512.
    return "sha512" if isinstance(signer.key, ed25519.Ed25519PrivateKey) else "sha256"


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
    boundary = b"signed-" + secrets.token_hex(_BOUNDARY_BYTES).encode()
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


def _signature(signer: Issued, signed: bytes, pss: bool) -> tuple[algos.SignedDigestAlgorithm, bytes]:
    key = signer.key
    if pss and not isinstance(key, rsa.RSAPrivateKey):
        raise CryptoError("PSS is of RSA keys")
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}), key.sign(signed, ec.ECDSA(_DIGEST))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return algos.SignedDigestAlgorithm({"algorithm": "ed25519"}), key.sign(signed)
    if not pss:
        return (
            algos.SignedDigestAlgorithm({"algorithm": "sha256_rsa"}),
            key.sign(signed, padding.PKCS1v15(), _DIGEST),
        )
    parameters = algos.RSASSAPSSParams(
        {
            "hash_algorithm": {"algorithm": "sha256"},
            "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha256"}},
            "salt_length": _DIGEST.digest_size,
        }
    )
    return (
        algos.SignedDigestAlgorithm({"algorithm": "rsassa_pss", "parameters": parameters}),
        key.sign(signed, padding.PSS(padding.MGF1(_DIGEST), _DIGEST.digest_size), _DIGEST),
    )


def _attribute(kind: str, value: core.Asn1Value) -> cms.CMSAttribute:
    return cms.CMSAttribute({"type": kind, "values": [value]})


def header_block(headers: Mapping[str, str]) -> bytes:
    """Header fields as they are sent, without an empty line. Raises ValueError for one that holds a line break."""
    block = EmailMessage(policy=email.policy.SMTP)
    for name, value in headers.items():
        block[name] = value
    return block.as_bytes().rstrip(b"\r\n") + b"\r\n"


def base64_lines(data: bytes) -> bytes:
    return encodebytes(data).replace(b"\n", b"\r\n")
