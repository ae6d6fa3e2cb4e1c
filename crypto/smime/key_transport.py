"""How the key of an encrypted message reaches a recipient: RSA (RFC 5652 §6.2.1) and ECDH (§6.2.2, RFC 5753).

Written: RSA-OAEP with SHA-256; ECDH over the recipient's curve with a new key pair, SHA-256 and AES-256 key wrap. Read
besides: OAEP and KDF with the other digests, and RSA PKCS#1 v1.5, whose failures look like a wrong key (OpenSSL's
implicit rejection), so that nobody learns of a padding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from asn1crypto.algos import RSAESOAEPParams
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crypto.errors import CryptoError
from crypto.pki.issue import Issued
from crypto.smime.algorithms import MAXIMUM_RSA_BITS, MINIMUM_RSA_BITS
from crypto.smime.certificate import issuer_and_serial
from crypto.smime.signed_data import oid
from crypto.smime.tlv import (
    BIT_STRING,
    CONTEXT_0,
    CONTEXT_0_PRIMITIVE,
    CONTEXT_1,
    CONTEXT_2,
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    Element,
    Malformed,
    element,
    elements,
    encoded,
    expect,
    octets,
    only,
)

MAX_RECIPIENTS = 1_000  # a message has 100; each is a few comparisons until it is ours
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
_DIGESTS: Final[dict[str, Callable[[], hashes.HashAlgorithm]]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_RSA: Final = oid("1.2.840.113549.1.1.1")
_OAEP: Final = oid("1.2.840.113549.1.1.7")
_EC_KEY: Final = oid("1.2.840.10045.2.1")
# RFC 5753 §7.1.4: dhSinglePass-stdDH. OpenSSL writes SHA-1 when it is told nothing: it derives keys as well.
_AGREEMENTS: Final = {
    oid("1.3.133.16.840.63.0.2"): "sha1",
    oid("1.3.132.1.11.1"): "sha256",
    oid("1.3.132.1.11.2"): "sha384",
    oid("1.3.132.1.11.3"): "sha512",
}
_WRAPS: Final = {  # bits of the key that wraps (RFC 3565 §2.3.2)
    oid("2.16.840.1.101.3.4.1.5"): 128,
    oid("2.16.840.1.101.3.4.1.25"): 192,
    oid("2.16.840.1.101.3.4.1.45"): 256,
}
_OAEP_SHA256 = encoded(
    SEQUENCE,
    encoded(OID, _OAEP)
    + RSAESOAEPParams(
        {
            "hash_algorithm": {"algorithm": "sha256"},
            "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha256"}},
        }
    ).dump(),
)
_WRAP_256 = encoded(SEQUENCE, encoded(OID, oid("2.16.840.1.101.3.4.1.45")))


def sealed(key: bytes, recipient: x509.Certificate) -> bytes:
    """The RecipientInfo that carries `key` to a certificate. Raises `CryptoError`: its key cannot receive any."""
    public = recipient.public_key()
    usage = next((one.value for one in recipient.extensions if isinstance(one.value, x509.KeyUsage)), None)
    if isinstance(public, rsa.RSAPublicKey) and MINIMUM_RSA_BITS <= public.key_size <= MAXIMUM_RSA_BITS:
        if usage is not None and not usage.key_encipherment:
            raise CryptoError("this certificate is not for encryption")
        cipher = public.encrypt(key, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
        body = encoded(INTEGER, b"\0") + _name(recipient) + _OAEP_SHA256 + encoded(OCTET_STRING, cipher)
        return encoded(SEQUENCE, body)
    if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in _CURVES:
        if usage is not None and not usage.key_agreement:
            raise CryptoError("this certificate is not for encryption")
        return _agreed(key, recipient, public)
    raise CryptoError("this certificate has no key that messages are encrypted to")


def _agreed(key: bytes, recipient: x509.Certificate, public: ec.EllipticCurvePublicKey) -> bytes:
    ours = ec.generate_private_key(public.curve)
    wrapped = aes_key_wrap(_derived(ours.exchange(ec.ECDH(), public), "sha256", 256, _WRAP_256, None), key)
    point = ours.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    # RFC 5753 §3.1.1: the parameters of the originator's key are absent or NULL: the curve is the recipient's.
    originator = encoded(SEQUENCE, encoded(OID, _EC_KEY)) + encoded(BIT_STRING, b"\0" + point)
    agreement = encoded(OID, oid("1.3.132.1.11.1")) + _WRAP_256
    for_one = encoded(SEQUENCE, _name(recipient) + encoded(OCTET_STRING, wrapped))
    return encoded(
        CONTEXT_1,
        encoded(INTEGER, b"\3")
        + encoded(CONTEXT_0, encoded(CONTEXT_1, originator))
        + encoded(SEQUENCE, agreement)
        + encoded(SEQUENCE, for_one),
    )


def _name(recipient: x509.Certificate) -> bytes:
    issuer, serial = issuer_and_serial(recipient.public_bytes(Encoding.DER))
    return encoded(SEQUENCE, encoded(SEQUENCE, issuer) + encoded(INTEGER, serial))


def _derived(shared: bytes, digest: str, bits: int, wrap: bytes, ukm: bytes | None) -> bytes:
    """The key that wraps (RFC 5753 §7.2, ECC-CMS-SharedInfo); `wrap`: the whole AlgorithmIdentifier."""
    info = wrap
    if ukm is not None:
        info += encoded(CONTEXT_0, encoded(OCTET_STRING, ukm))
    info += encoded(CONTEXT_2, encoded(OCTET_STRING, bits.to_bytes(4, "big")))
    return X963KDF(_DIGESTS[digest](), bits // 8, encoded(SEQUENCE, info)).derive(shared)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who may open: a certificate with its key, as recipients are named."""

    issued: Issued
    issuer: bytes
    serial: bytes
    key_identifier: bytes | None

    @classmethod
    def of(cls, issued: Issued) -> Holder:
        issuer, serial = issuer_and_serial(issued.certificate.public_bytes(Encoding.DER))
        values = [extension.value for extension in issued.certificate.extensions]
        identifier = next((one.digest for one in values if isinstance(one, x509.SubjectKeyIdentifier)), None)
        return cls(issued, issuer, serial, identifier)

    def is_named(self, cms: bytes, who: Element) -> bool:
        """Whether a RecipientIdentifier is this holder's. Raises `Malformed`."""
        if who.tag == SEQUENCE:
            issuer = expect(cms, who.start, who.stop, SEQUENCE)
            serial = only(cms, issuer.after, who.stop, INTEGER)
            return (cms[issuer.start : issuer.stop], cms[serial.start : serial.stop]) == (self.issuer, self.serial)
        if who.tag == CONTEXT_0:  # RecipientKeyIdentifier of a key agreement
            return cms[slice(*expect(cms, who.start, who.stop, OCTET_STRING)[1:3])] == self.key_identifier
        return octets(cms, who, CONTEXT_0_PRIMITIVE) == self.key_identifier


def opened(cms: bytes, recipients: Element, holder: Holder) -> bytes | None:
    """The key of the message for `holder`; None: it is not for them. Raises `Malformed`: it does not open."""
    for _, one in elements(cms, recipients.start, recipients.stop, MAX_RECIPIENTS):
        if one.tag == SEQUENCE:
            key = _transported(cms, one, holder)
        elif one.tag == CONTEXT_1:
            key = _exchanged(cms, one, holder)
        else:
            continue  # a password or a shared key is none of ours
        if key is not None:
            return key
    return None


def _transported(cms: bytes, info: Element, holder: Holder) -> bytes | None:
    version = expect(cms, info.start, info.stop, INTEGER)
    who = element(cms, version.after, info.stop)
    if not holder.is_named(cms, who):
        return None
    algorithm = expect(cms, who.after, info.stop, SEQUENCE)
    cipher = octets(cms, only(cms, algorithm.after, info.stop, OCTET_STRING), OCTET_STRING)
    kind = expect(cms, algorithm.start, algorithm.stop, OID)
    key = holder.issued.key
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Malformed
    name = cms[kind.start : kind.stop]
    if name not in (_RSA, _OAEP):
        raise Malformed
    how = padding.PKCS1v15() if name == _RSA else _oaep(cms[kind.after : algorithm.stop])
    try:
        return key.decrypt(cipher, how)
    except ValueError:
        raise Malformed from None


def _oaep(parameters: bytes) -> padding.OAEP:
    try:
        read = RSAESOAEPParams.load(parameters or encoded(SEQUENCE, b""), strict=True)
        digest = _DIGESTS[read["hash_algorithm"]["algorithm"].native]()
        mask = _DIGESTS[read["mask_gen_algorithm"]["parameters"]["algorithm"].native]()
        if read["p_source_algorithm"]["parameters"].native:  # a label, which nobody writes
            raise Malformed
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Malformed from None
    return padding.OAEP(padding.MGF1(mask), digest, None)


def _exchanged(cms: bytes, info: Element, holder: Holder) -> bytes | None:
    version = expect(cms, info.start, info.stop, INTEGER)
    originator = expect(cms, version.after, info.stop, CONTEXT_0)
    after = element(cms, originator.after, info.stop)
    ukm = None
    if after.tag == CONTEXT_1:
        ukm = octets(cms, only(cms, after.start, after.stop, OCTET_STRING), OCTET_STRING)
        after = element(cms, after.after, info.stop)
    keys = only(cms, after.after, info.stop, SEQUENCE)
    if after.tag != SEQUENCE:
        raise Malformed
    for _, one in elements(cms, keys.start, keys.stop, MAX_RECIPIENTS):
        who = element(cms, one.start, one.stop)
        if holder.is_named(cms, who):
            wrapped = octets(cms, only(cms, who.after, one.stop, OCTET_STRING), OCTET_STRING)
            return _unwrapped(cms, originator, after, ukm, wrapped, holder)
    return None


def _unwrapped(
    cms: bytes, originator: Element, algorithm: Element, ukm: bytes | None, wrapped: bytes, holder: Holder
) -> bytes:
    key = holder.issued.key
    public = only(cms, originator.start, originator.stop, CONTEXT_1)
    kind = expect(cms, public.start, public.stop, SEQUENCE)
    point = only(cms, kind.after, public.stop, BIT_STRING)
    name = expect(cms, algorithm.start, algorithm.stop, OID)
    digest = _AGREEMENTS.get(cms[name.start : name.stop])
    wrap = only(cms, name.after, algorithm.stop, SEQUENCE)
    wrap_name = expect(cms, wrap.start, wrap.stop, OID)
    bits = _WRAPS.get(cms[wrap_name.start : wrap_name.stop])
    if not isinstance(key, ec.EllipticCurvePrivateKey) or digest is None or bits is None:
        raise Malformed
    try:
        # The point is checked to be on the curve of our own key.
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(key.curve, cms[point.start + 1 : point.stop])
        shared = key.exchange(ec.ECDH(), theirs)
        return aes_key_unwrap(_derived(shared, digest, bits, cms[name.after : wrap.after], ukm), wrapped)
    except (ValueError, InvalidUnwrap):
        raise Malformed from None
