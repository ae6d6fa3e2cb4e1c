"""CMS SignedData (RFC 5652 §5) taken apart, as far as a signed message needs it.

Invariant: `read` gives what the bytes say or raises `Malformed`; it judges nothing, and its work is bounded before it
starts (size) and while it reads (counts). What is not read (CRLs, unsigned attributes) is stepped over, never decoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from asn1crypto.core import ObjectIdentifier

from crypto.errors import CryptoError
from crypto.smime.digested import Digested
from crypto.smime.tlv import (
    CONTEXT_0,
    CONTEXT_0_PRIMITIVE,
    CONTEXT_1,
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    SET,
    Element,
    Malformed,
    element,
    elements,
    encoded,
    expect,
    octets,
    only,
)

# A signature with three certificates has 6 KB; a big embedded CRL makes it more. Past this nothing is decoded.
DETACHED_BYTES = 1024 * 1024
# An opaque one holds the message: the largest that any setting lets in.
OPAQUE_BYTES = 128 * 1024 * 1024
MAX_CERTIFICATES = 32
MAX_DIGESTS = 16
MAX_SIGNERS = 8  # each costs a check of a signature; past this nothing is looked at
MAX_REVOCATIONS = 8  # lists and answers that come along
MAX_ATTRIBUTES = 64
MAX_VALUES = 8


class Kind(StrEnum):
    """How the signature is carried (RFC 8551 §3.5)."""

    DETACHED = "detached"  # multipart/signed
    OPAQUE = "opaque"  # application/pkcs7-mime; smime-type=signed-data


@dataclass(frozen=True, slots=True)
class SignedData:
    """What mail found in a message.

    `content`: the exact bytes signed, as they stood, in canonical form with CRLF (RFC 8551 §3.1.1), or their digests
    where they have passed; None when opaque, where it is in `cms`, or its digests where it was (`OpaqueReader`).
    `cms`: the signature, BER or DER. `micalg`: of multipart/signed, lower case, "" if there is none. `at_top`: the
    signature covers the message's whole body rather than a part of it.
    """

    kind: Kind
    content: bytes | Digested | None = field(repr=False)
    cms: bytes = field(repr=False)
    micalg: str = ""
    at_top: bool = True


def oid(dotted: str) -> bytes:
    """The contents octets of an object identifier."""
    return bytes(ObjectIdentifier(dotted).contents)


SIGNED_DATA: Final = oid("1.2.840.113549.1.7.2")
DATA: Final = oid("1.2.840.113549.1.7.1")
CONTENT_TYPE: Final = oid("1.2.840.113549.1.9.3")
MESSAGE_DIGEST: Final = oid("1.2.840.113549.1.9.4")
SIGNING_TIME: Final = oid("1.2.840.113549.1.9.5")
TIME_STAMP: Final = oid("1.2.840.113549.1.9.16.2.14")  # RFC 3161 appendix A
OCSP_RESPONSE: Final = oid("1.3.6.1.5.5.7.16.2")  # RFC 5940 §2.1
SIGNING_CERTIFICATE: Final = oid("1.2.840.113549.1.9.16.2.12")
SIGNING_CERTIFICATE_V2: Final = oid("1.2.840.113549.1.9.16.2.47")


@dataclass(frozen=True, slots=True)
class Attributes:
    """Signed attributes: `values` by type, each a whole element; `repeated` when a type came twice (RFC 5652 §11)."""

    values: dict[bytes, list[bytes]]
    repeated: bool
    signed: tuple[bytes, ...]  # the encodings that the signature may be over, the right one first


@dataclass(frozen=True, slots=True)
class SignerInfo:
    """One signer: who, how, what. Either `issuer` and `serial` (DER contents) or `key_identifier`."""

    issuer: bytes | None
    serial: bytes | None
    key_identifier: bytes | None
    digest: bytes  # OID
    attributes: Attributes | None
    algorithm: bytes  # OID
    parameters: bytes  # the element after it, b"" if there is none
    signature: bytes
    time_stamp: bytes | None  # of the signature: the first token among the unsigned attributes


@dataclass(frozen=True, slots=True)
class Contents:
    """A SignedData. `content` is None when detached; `certificates` are DER, in the order they came; `lists` and
    `answers` are CRLs and OCSP responses that came along (RFC 5652 §10.2.1, RFC 5940)."""

    content_type: bytes
    content: bytes | None
    certificates: tuple[bytes, ...]
    signers: tuple[SignerInfo, ...]
    lists: tuple[bytes, ...] = ()
    answers: tuple[bytes, ...] = ()


def read(cms: bytes) -> Contents:
    """Take a ContentInfo with SignedData apart. Raises `Malformed`."""
    info = only(cms, 0, len(cms), SEQUENCE)
    kind = expect(cms, info.start, info.stop, OID)
    if cms[kind.start : kind.stop] != SIGNED_DATA:
        raise Malformed
    wrapper = only(cms, kind.after, info.stop, CONTEXT_0)
    signed = only(cms, wrapper.start, wrapper.stop, SEQUENCE)
    end = signed.stop
    version = expect(cms, signed.start, end, INTEGER)
    digests = expect(cms, version.after, end, SET)
    enclosed = expect(cms, digests.after, end, SEQUENCE)
    content_type = expect(cms, enclosed.start, enclosed.stop, OID)
    content = None
    if content_type.after < enclosed.stop:
        explicit = only(cms, content_type.after, enclosed.stop, CONTEXT_0)
        string = element(cms, explicit.start, explicit.stop)
        if string.after != explicit.stop:
            raise Malformed
        content = octets(cms, string, OCTET_STRING)
    after = element(cms, enclosed.after, end)
    certificates: tuple[bytes, ...] = ()
    if after.tag == CONTEXT_0:
        found = elements(cms, after.start, after.stop, MAX_CERTIFICATES)
        # RFC 5652 §10.2.2: attribute certificates and other formats have context tags; none says who signed.
        certificates = tuple(cms[at : one.after] for at, one in found if one.tag == SEQUENCE)
        after = element(cms, after.after, end)
    lists: tuple[bytes, ...] = ()
    answers: tuple[bytes, ...] = ()
    if after.tag == CONTEXT_1:
        lists, answers = _revocations(cms, after)
        after = element(cms, after.after, end)
    if after.tag != SET or after.after != end:
        raise Malformed
    return Contents(
        cms[content_type.start : content_type.stop],
        content,
        certificates,
        tuple(_signer_info(cms, one) for _, one in elements(cms, after.start, after.stop, MAX_SIGNERS)),
        lists,
        answers,
    )


def enclosed_content(cms: bytes) -> bytes:
    """The MIME entity inside an opaque signature, to show it; says nothing of the signature. Raises `CryptoError`."""
    if len(cms) > OPAQUE_BYTES:
        raise CryptoError("this signed message is too large to be opened")
    try:
        content = read(cms).content
    except Malformed:
        content = None
    if content is None:
        raise CryptoError("there is no content in this signed message")
    return content


def looks_like_attributes(content: bytes) -> bool:
    """Whether these bytes are an encoding of signed attributes.

    A signature over attributes is one over these bytes: who strips the attributes and offers their encoding as the
    content has a "valid" signature that nobody made (RFC 5652 §5.4 has no tag to tell them apart; Strenzke 2023).
    """
    try:
        whole = only(content, 0, len(content), SET)
        values = _attributes(content, whole).values
    except Malformed:
        return False
    return MESSAGE_DIGEST in values or CONTENT_TYPE in values


def _revocations(cms: bytes, choices: Element) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    lists, answers = [], []
    for at, one in elements(cms, choices.start, choices.stop, MAX_REVOCATIONS):
        if one.tag == SEQUENCE:
            lists.append(cms[at : one.after])
        elif one.tag == CONTEXT_1:
            kind = expect(cms, one.start, one.stop, OID)
            if cms[kind.start : kind.stop] == OCSP_RESPONSE:
                answers.append(cms[kind.after : one.stop])
    return tuple(lists), tuple(answers)


def _signer_info(cms: bytes, info: Element) -> SignerInfo:
    if info.tag != SEQUENCE:
        raise Malformed
    end = info.stop
    version = expect(cms, info.start, end, INTEGER)
    sid = element(cms, version.after, end)
    issuer = serial = key_identifier = None
    if sid.tag == SEQUENCE:
        name = expect(cms, sid.start, sid.stop, SEQUENCE)
        number = only(cms, name.after, sid.stop, INTEGER)
        issuer, serial = cms[name.start : name.stop], cms[number.start : number.stop]
    else:
        key_identifier = octets(cms, sid, CONTEXT_0_PRIMITIVE)
    digest_algorithm = expect(cms, sid.after, end, SEQUENCE)
    digest = expect(cms, digest_algorithm.start, digest_algorithm.stop, OID)
    after = element(cms, digest_algorithm.after, end)
    attributes = None
    if after.tag == CONTEXT_0:
        attributes = _attributes(cms, after)
        after = element(cms, after.after, end)
    if after.tag != SEQUENCE:
        raise Malformed
    algorithm = expect(cms, after.start, after.stop, OID)
    string = element(cms, after.after, end)
    signature = octets(cms, string, OCTET_STRING)
    time_stamp = None
    if string.after != end:
        unsigned = _attributes(cms, only(cms, string.after, end, CONTEXT_1))
        time_stamp = next(iter(unsigned.values.get(TIME_STAMP, ())), None)
    return SignerInfo(
        issuer,
        serial,
        key_identifier,
        cms[digest.start : digest.stop],
        attributes,
        cms[algorithm.start : algorithm.stop],
        cms[algorithm.after : after.stop],
        signature,
        time_stamp,
    )


def _attributes(cms: bytes, whole: Element) -> Attributes:
    values: dict[bytes, list[bytes]] = {}
    repeated = False
    stood = []
    for at, attribute in elements(cms, whole.start, whole.stop, MAX_ATTRIBUTES):
        if attribute.tag != SEQUENCE:
            raise Malformed
        stood.append(cms[at : attribute.after])
        kind = expect(cms, attribute.start, attribute.stop, OID)
        of_kind = only(cms, kind.after, attribute.stop, SET)
        name = cms[kind.start : kind.stop]
        repeated = repeated or name in values
        values[name] = [cms[a : one.after] for a, one in elements(cms, of_kind.start, of_kind.stop, MAX_VALUES)]
    # RFC 5652 §5.4: signed is the DER encoding as an explicit SET OF, in DER's order. Some signers leave the order as
    # it was; the attributes are the same, so their encoding is tried second.
    right = sorted(stood)
    orders = (right,) if right == stood else (right, stood)
    return Attributes(values, repeated, tuple(encoded(SET, b"".join(order)) for order in orders))
