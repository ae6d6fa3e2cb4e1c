"""Changes of a signature that need no key of its signer, or only that of a dishonest one."""

from __future__ import annotations

from collections.abc import Callable

from asn1crypto import algos, cms, core
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from crypto.pki.issue import Issued
from crypto.smime.sign import sign
from crypto.smime.tlv import encoded
from tests.signers import MALLORY, NOON, certificate, signer


def changed(signature: bytes, change: Callable[[cms.SignedData], None]) -> bytes:
    """The SignedData after a change that needs no key."""
    info = cms.ContentInfo.load(signature)
    change(info["content"])
    return bytes(info.dump(force=True))


def signed_again(signature: bytes, who: Issued, change: Callable[[cms.SignerInfo], None]) -> bytes:
    """After a change of what is signed, signed anew by the same key: what a dishonest signer can do."""

    def both(content: cms.SignedData) -> None:
        info = content["signer_infos"][0]
        change(info)
        signed = info["signed_attrs"].untag().dump(force=True)
        if isinstance(who.key, rsa.RSAPrivateKey):
            info["signature"] = who.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        else:
            assert isinstance(who.key, ec.EllipticCurvePrivateKey)
            info["signature"] = who.key.sign(signed, ec.ECDSA(hashes.SHA256()))

    return changed(signature, both)


def _attributes(change: Callable[[list[cms.CMSAttribute]], list[cms.CMSAttribute]]) -> Callable[[bytes, bytes], bytes]:
    def apply(signature: bytes, _: bytes) -> bytes:
        def put(info: cms.SignerInfo) -> None:
            info["signed_attrs"] = cms.CMSAttributes(change(list(info["signed_attrs"])))

        return signed_again(signature, signer("doctor"), put)

    return apply


def _twice(kind: str) -> Callable[[bytes, bytes], bytes]:
    return _attributes(lambda found: [*found, *(one for one in found if one["type"].native == kind)])


def _two_values(found: list[cms.CMSAttribute]) -> list[cms.CMSAttribute]:
    digest = cms.CMSAttribute({"type": "message_digest", "values": [core.OctetString(bytes(32))]})
    values = next(one for one in found if one["type"].native == "message_digest")["values"]
    digest["values"].append(values[0])
    return [one for one in found if one["type"].native != "message_digest"] + [digest]


def _other_type(found: list[cms.CMSAttribute]) -> list[cms.CMSAttribute]:
    other = cms.CMSAttribute({"type": "content_type", "values": [cms.ContentType("enveloped_data")]})
    return [one for one in found if one["type"].native != "content_type"] + [other]


def _strip(signature: bytes, _: bytes) -> bytes:
    def strip(signed: cms.SignedData) -> None:
        old = signed["signer_infos"][0]
        fields = {name: old[name] for name in old if name not in ("signed_attrs", "unsigned_attrs")}
        signed["signer_infos"] = cms.SignerInfos([cms.SignerInfo(fields)])

    return changed(signature, strip)


def _attributes_as_content(signature: bytes, _: bytes) -> bytes:
    attributes = cms.ContentInfo.load(signature)["content"]["signer_infos"][0]["signed_attrs"].untag().dump()

    def put(signed: cms.SignedData) -> None:
        signed["encap_content_info"]["content"] = core.OctetString(attributes)

    return changed(_strip(signature, b""), put)


def _digest(name: str) -> Callable[[bytes, bytes], bytes]:
    def put(signed: cms.SignedData) -> None:
        signed["signer_infos"][0]["digest_algorithm"] = algos.DigestAlgorithm({"algorithm": name})

    return lambda signature, _: changed(signature, put)


def _algorithm(name: str) -> Callable[[bytes, bytes], bytes]:
    def put(signed: cms.SignedData) -> None:
        signed["signer_infos"][0]["signature_algorithm"] = algos.SignedDigestAlgorithm({"algorithm": name})

    return lambda signature, _: changed(signature, put)


def _certificates(*others: Callable[[], x509.Certificate], keep: bool) -> Callable[[bytes, bytes], bytes]:
    def put(signed: cms.SignedData) -> None:
        ders = [one().public_bytes(Encoding.DER) for one in others]
        kept = list(signed["certificates"]) if keep else []
        signed["certificates"] = cms.CertificateSet([*kept, *map(asn1_x509.Certificate.load, ders)])

    return lambda signature, _: changed(signature, put)


def _namesake() -> x509.Certificate:
    """Mallory's address over the doctor's key, issuer and serial number."""
    own = signer("doctor")
    names = [x509.RFC822Name(MALLORY)]
    return certificate("A", names, key=own.key, serial=own.certificate.serial_number).certificate


def _second_signer(by: str, content: bytes | None) -> Callable[[bytes, bytes], bytes]:
    """A SignerInfo of `by` beside the one there, over the same content or another one."""

    def apply(signature: bytes, signed_content: bytes) -> bytes:
        other = cms.ContentInfo.load(sign(signed_content if content is None else content, signer(by), NOON))["content"]

        def put(signed: cms.SignedData) -> None:
            signed["signer_infos"].append(other["signer_infos"][0])
            signed["certificates"].append(other["certificates"][0])

        return changed(signature, put)

    return apply


def _indefinite(signature: bytes, _: bytes) -> bytes:
    """The same in BER, lengths of the outer elements indefinite, as streaming signers write."""
    signed = cms.ContentInfo.load(signature)["content"]
    info = encoded(0x06, bytes.fromhex("2a864886f70d010702"))
    return b"\x30\x80" + info + b"\xa0\x80\x30\x80" + signed.contents + b"\0\0" * 3


CHANGES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "no-signers": lambda cms_, _: changed(cms_, lambda signed: signed.__setitem__("signer_infos", cms.SignerInfos([]))),
    "no-certificates": _certificates(keep=False),
    "stranger-certificate-too": _certificates(lambda: signer("stranger").certificate, keep=True),
    "namesake-certificate": _certificates(_namesake, keep=False),
    "namesake-certificate-too": _certificates(_namesake, keep=True),
    "second-signer-mallory": _second_signer("mallory", None),
    "second-signer-wrong": _second_signer("mallory", b"autre chose"),
    "digest-twice": _twice("message_digest"),
    "time-twice": _twice("signing_time"),
    "digest-of-two-values": _attributes(_two_values),
    "other-content-type": _attributes(_other_type),
    "no-signing-time": _attributes(lambda found: [one for one in found if one["type"].native != "signing_time"]),
    "strip-attributes": _strip,
    "attributes-as-content": _attributes_as_content,
    "sha1": _digest("sha1"),
    "md5": _digest("md5"),
    "unknown-algorithm": _algorithm("sha512_rsa"),
    "indefinite": _indefinite,
    "bomb": lambda _, __: b"\x30\x80" * 50_000,
    "cut": lambda cms_, _: cms_[:-40],
    "receipt": lambda cms_, _: changed(
        cms_, lambda signed: signed["encap_content_info"].__setitem__("content_type", "1.2.840.113549.1.9.16.1.1")
    ),
}
