"""Encrypted messages (RFC 8551 §3.3, RFC 5652 §6, RFC 5083 and 5084).

Invariants:
- Written is AES-256-GCM alone.
- Nothing is given out whose integrity is not shown (EFAIL, USENIX Security 2018): of AES-CBC, which has none, only what
  a signature inside proves, and the caller says whether one does.
- Whatever is wrong has one answer; what is for somebody else has another, since that stands in clear in the message.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

from crypto.errors import CryptoError, IntegrityError, KeyMissing
from crypto.pki.issue import Issued
from crypto.smime.key_transport import Holder, opened, sealed
from crypto.smime.sign import base64_lines, canonical, pkcs7_mime
from crypto.smime.signed_data import DATA, OPAQUE_BYTES, oid
from crypto.smime.tlv import (
    CONTEXT_0,
    CONTEXT_0_PRIMITIVE,
    CONTEXT_1,
    CONTEXT_2,
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    SET,
    Element,
    Malformed,
    element,
    encoded,
    expect,
    octets,
    only,
)

ENVELOPED: Final = oid("1.2.840.113549.1.7.3")
AUTH_ENVELOPED: Final = oid("1.2.840.113549.1.9.16.1.23")
_GCM: Final = {  # bits of the key
    oid("2.16.840.1.101.3.4.1.6"): 128,
    oid("2.16.840.1.101.3.4.1.26"): 192,
    oid("2.16.840.1.101.3.4.1.46"): 256,
}
_CBC: Final = {
    oid("2.16.840.1.101.3.4.1.2"): 128,
    oid("2.16.840.1.101.3.4.1.22"): 192,
    oid("2.16.840.1.101.3.4.1.42"): 256,
}
_AES_256_GCM: Final = oid("2.16.840.1.101.3.4.1.46")
_NONCE = 12  # RFC 5084 §3.2
_TAG = 16
_TAG_LEAST = 12
_BLOCK = 16


class _Envelope(NamedTuple):
    recipients: Element
    algorithm: bytes
    parameters: bytes
    ciphertext: bytes
    attributes: bytes  # what is authenticated besides
    tag: bytes | None  # None: nothing says that the ciphertext is whole


def encrypt(content: bytes, recipients: Sequence[x509.Certificate]) -> bytes:
    """A CMS AuthEnvelopedData (DER) of `content` for all of `recipients` (RSA and ECDSA certificates).

    Raises `CryptoError`: there is no recipient, or one has no key to encrypt to.
    """
    if not recipients:
        raise CryptoError("a message is encrypted to one recipient at least")
    key, nonce = AESGCM.generate_key(256), os.urandom(_NONCE)
    infos = sorted(sealed(key, one) for one in recipients)
    both = AESGCM(key).encrypt(nonce, content, None)
    parameters = encoded(SEQUENCE, encoded(OCTET_STRING, nonce) + encoded(INTEGER, bytes([_TAG])))
    inside = (
        encoded(OID, DATA)
        + encoded(SEQUENCE, encoded(OID, _AES_256_GCM) + parameters)
        + encoded(CONTEXT_0_PRIMITIVE, both[:-_TAG])
    )
    body = (
        encoded(INTEGER, b"\0")
        + encoded(SET, b"".join(infos))
        + encoded(SEQUENCE, inside)
        + encoded(OCTET_STRING, both[-_TAG:])
    )
    return encoded(SEQUENCE, encoded(OID, AUTH_ENVELOPED) + encoded(CONTEXT_0, encoded(SEQUENCE, body)))


def encrypted_entity(entity: bytes, recipients: Sequence[x509.Certificate]) -> bytes:
    """A MIME entity in which `entity` is encrypted (RFC 8551 §3.4). Raises as `encrypt`."""
    return pkcs7_mime(base64_lines(encrypt(canonical(entity), recipients)), "authEnveloped-data")


def decrypt(cms: bytes, holders: Sequence[Issued], proves: Callable[[bytes], bool] | None = None) -> bytes:
    """The content of an EnvelopedData or AuthEnvelopedData (BER or DER) for one of `holders`.

    `proves` tells of a content without integrity of its own whether something inside shows that it is whole; without
    it none is given. Raises `KeyMissing`: it is for others; `IntegrityError`: it does not open; `CryptoError`: it is
    too large.
    """
    if len(cms) > OPAQUE_BYTES:
        raise CryptoError("this encrypted message is too large to be opened")
    try:
        envelope = _read(cms)
        key = next((found for one in holders if (found := opened(cms, envelope.recipients, Holder.of(one)))), None)
        if key is None:
            raise KeyMissing("this message is encrypted to others")
        if envelope.tag is not None:
            return _gcm(envelope, key)
        content = _cbc(envelope, key)
    except Malformed:
        raise IntegrityError("this encrypted message does not open") from None
    if proves is None or not proves(content):
        raise IntegrityError("this encrypted message does not open")
    return content


def is_encrypted(head: bytes) -> bool:
    """Whether a ContentInfo whose first octets are `head` is an encrypted message."""
    return any(encoded(OID, kind) in head[:32] for kind in (ENVELOPED, AUTH_ENVELOPED))


def _read(cms: bytes) -> _Envelope:
    info = only(cms, 0, len(cms), SEQUENCE)
    kind = expect(cms, info.start, info.stop, OID)
    authenticated = cms[kind.start : kind.stop] == AUTH_ENVELOPED
    if not authenticated and cms[kind.start : kind.stop] != ENVELOPED:
        raise Malformed
    wrapper = only(cms, kind.after, info.stop, CONTEXT_0)
    body = only(cms, wrapper.start, wrapper.stop, SEQUENCE)
    version = expect(cms, body.start, body.stop, INTEGER)
    recipients = element(cms, version.after, body.stop)
    if recipients.tag == CONTEXT_0:  # originatorInfo
        recipients = element(cms, recipients.after, body.stop)
    if recipients.tag != SET:
        raise Malformed
    inside = expect(cms, recipients.after, body.stop, SEQUENCE)
    content_type = expect(cms, inside.start, inside.stop, OID)
    if cms[content_type.start : content_type.stop] != DATA:
        raise Malformed
    algorithm = expect(cms, content_type.after, inside.stop, SEQUENCE)
    name = expect(cms, algorithm.start, algorithm.stop, OID)
    string = element(cms, algorithm.after, inside.stop)
    if string.after != inside.stop:
        raise Malformed
    attributes, tag = b"", None
    if authenticated:
        after = element(cms, inside.after, body.stop)
        if after.tag == CONTEXT_1:
            # RFC 5083 §2.2: authenticated as an explicit SET OF, in DER as senders must write it.
            attributes = encoded(SET, cms[after.start : after.stop])
            after = element(cms, after.after, body.stop)
        if after.after != body.stop:
            only(cms, after.after, body.stop, CONTEXT_2)
        tag = octets(cms, after, OCTET_STRING)
    elif inside.after != body.stop:
        only(cms, inside.after, body.stop, CONTEXT_1)
    return _Envelope(
        recipients,
        cms[name.start : name.stop],
        cms[name.after : algorithm.stop],
        octets(cms, string, CONTEXT_0_PRIMITIVE),
        attributes,
        tag,
    )


def _gcm(envelope: _Envelope, key: bytes) -> bytes:
    parameters, tag = envelope.parameters, envelope.tag or b""
    whole = only(parameters, 0, len(parameters), SEQUENCE)
    nonce = expect(parameters, whole.start, whole.stop, OCTET_STRING)
    if _GCM.get(envelope.algorithm) != 8 * len(key) or not _TAG_LEAST <= len(tag) <= _TAG:
        raise Malformed
    try:
        mode = modes.GCM(parameters[nonce.start : nonce.stop], tag, _TAG_LEAST)
        decryptor = Cipher(algorithms.AES(key), mode).decryptor()
        decryptor.authenticate_additional_data(envelope.attributes)
        content = decryptor.update(envelope.ciphertext)
        return content + decryptor.finalize()
    except (ValueError, InvalidTag):
        raise Malformed from None


def _cbc(envelope: _Envelope, key: bytes) -> bytes:
    parameters = envelope.parameters
    vector = only(parameters, 0, len(parameters), OCTET_STRING)
    if _CBC.get(envelope.algorithm) != 8 * len(key) or vector.stop - vector.start != _BLOCK:
        raise Malformed
    decryptor = Cipher(algorithms.AES(key), modes.CBC(parameters[vector.start : vector.stop])).decryptor()
    unpadder = PKCS7(8 * _BLOCK).unpadder()
    try:
        padded = decryptor.update(envelope.ciphertext) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise Malformed from None
