"""Whether a signer's signature is made over the content, with the key of the certificate that they name."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from crypto.smime.algorithms import DIGESTS, WEAK_DIGESTS, Unknown, Weak, signature_holds
from crypto.smime.attributes import names_other_certificate, the_only
from crypto.smime.certificate import Certificate, certificate, issuer_and_serial
from crypto.smime.digested import Digested
from crypto.smime.signed_data import CONTENT_TYPE, DATA, MESSAGE_DIGEST, Contents, SignerInfo, looks_like_attributes
from crypto.smime.tlv import OCTET_STRING, OID, SET, encoded
from crypto.smime.verdict import Status, SubReason

DATA_VALUE: Final = encoded(OID, DATA)


class Judged(Exception):
    """The verdict is settled, and it is not PASSED."""

    def __init__(self, status: Status, reason: SubReason) -> None:
        super().__init__(reason.value)
        self.status = status
        self.reason = reason


def failed(reason: SubReason) -> Judged:
    return Judged(Status.FAILED, reason)


def unsettled(reason: SubReason) -> Judged:
    return Judged(Status.INDETERMINATE, reason)


def certificate_of(signer: SignerInfo, contents: Contents) -> Certificate:
    """The certificate that the signer names (RFC 5652 §5.3), among those that came along."""
    if signer.key_identifier is None:
        wanted = (signer.issuer, signer.serial)
        fitting = {der for der in contents.certificates if issuer_and_serial(der) == wanted}
    else:
        fitting = {der for der in contents.certificates if certificate(der).key_identifier == signer.key_identifier}
    if not fitting:
        raise unsettled(SubReason.NO_CERTIFICATE)
    if len(fitting) > 1:
        raise unsettled(SubReason.TWO_CERTIFICATES)
    return certificate(fitting.pop())


def check_signature(
    signer: SignerInfo, holder: Certificate, content: bytes | Digested, content_type: bytes = DATA_VALUE
) -> None:
    """That the certificate's key signed `content`. Raises `Judged`, `Malformed`."""
    if signer.digest in WEAK_DIGESTS:
        raise failed(SubReason.WEAK_DIGEST)
    digest = DIGESTS.get(signer.digest)
    if digest is None:
        raise unsettled(SubReason.UNKNOWN_ALGORITHM)
    encodings: tuple[bytes | Digested, ...] = (content,)
    attributes = signer.attributes
    if attributes is not None:
        # RFC 5652 §11.1 and §11.2: contentType and messageDigest, once each with one value.
        if attributes.repeated or the_only(attributes, CONTENT_TYPE) != content_type:
            raise failed(SubReason.BAD_ATTRIBUTES)
        claimed = the_only(attributes, MESSAGE_DIGEST)
        if claimed is None:
            raise failed(SubReason.BAD_ATTRIBUTES)
        if not hmac.compare_digest(claimed, encoded(OCTET_STRING, _digest(content, digest.name))):
            raise failed(SubReason.TAMPERED)
        encodings = attributes.signed
    elif looks_like_attributes(content.head if isinstance(content, Digested) else content):
        raise failed(SubReason.BAD_ATTRIBUTES)
    elif isinstance(content, Digested) and content.head[:1] == bytes([SET]):
        # No header of a part begins so; whether all of it is an encoding of attributes cannot be seen any more.
        raise unsettled(SubReason.TOO_LARGE)
    try:
        holds = any(signature_holds(signer, holder.key, digest, encoding) for encoding in encodings)
    except Weak as weak:
        raise failed(SubReason.WEAK_KEY if weak.key else SubReason.WEAK_DIGEST) from None
    except Unknown:
        raise unsettled(SubReason.UNKNOWN_ALGORITHM) from None
    if not holds:
        # Without attributes content and signature cannot be told apart.
        raise failed(SubReason.BAD_SIGNATURE if attributes is not None else SubReason.TAMPERED)
    if attributes is not None and names_other_certificate(attributes, holder.der):
        raise failed(SubReason.OTHER_CERTIFICATE)


def _digest(content: bytes | Digested, name: str) -> bytes:
    return content.digest(name) if isinstance(content, Digested) else hashlib.new(name, content).digest()
