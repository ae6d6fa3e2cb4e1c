"""What must pass, and every way in which a signature can be wrong, deceptive or unknown."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import algos, cms, core
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import CryptoError
from crypto.pki.crl import Crl
from crypto.pki.issue import Holder, Issued, issue, new_root, organisation_client, professional
from crypto.pki.profile import KeyKind, Profile, ProfileName
from crypto.smime import signed_data
from crypto.smime.anchors import TrustAnchors
from crypto.smime.sign import sign
from crypto.smime.signed_data import Kind, SignedData, enclosed_content
from crypto.smime.tlv import encoded
from crypto.smime.verdict import Doubt, Status, SubReason, Verdict
from crypto.smime.verify import verify
from tests.forged import changed, signed_again
from tests.revocation_lists import crl

ENTITY = b"Content-Type: text/plain; charset=utf-8\r\n\r\nAmoxicilline 1 g, matin et soir, 6 jours.\r\n"
DOCTOR = "aline.martin@mss.example.test"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def judge(
    signature: bytes,
    anchors: TrustAnchors,
    content: bytes | None = ENTITY,
    sender: str = DOCTOR,
    now: datetime = NOON,
    kind: Kind = Kind.DETACHED,
) -> tuple[Status, SubReason]:
    verdict = verify(SignedData(kind, content, signature), [sender], anchors, now)
    return verdict.status, verdict.reason


@pytest.fixture(scope="module")
def detached(rsa_signer: Issued) -> bytes:
    return sign(ENTITY, rsa_signer, NOON)


@pytest.fixture(scope="module")
def opaque(rsa_signer: Issued) -> bytes:
    return sign(ENTITY, rsa_signer, NOON, kind=Kind.OPAQUE)


def test_valid_signature_says_all(detached: bytes, anchors: TrustAnchors, rsa_signer: Issued) -> None:
    found = SignedData(Kind.DETACHED, ENTITY, detached, "sha-256")
    verdict = verify(found, [DOCTOR.upper()], anchors, NOON)
    assert (verdict.status, verdict.reason) == (Status.PASSED, SubReason.VALID)
    assert verdict.covers == "whole"
    assert verdict.signing_time == NOON
    assert verdict.doubts == (Doubt.REVOCATION_NOT_CHECKED,)
    assert verdict.signer is not None
    assert (verdict.signer.name, verdict.signer.rpps) == ("Aline MARTIN", "10000000017")
    assert verdict.signer.addresses == (DOCTOR,)
    assert verdict.signer.fingerprint == rsa_signer.certificate.fingerprint(hashes.SHA256()).hex()
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_what_is_known_of_revocation_counts(detached: bytes, root: Issued, rsa_signer: Issued) -> None:
    found, anchors = SignedData(Kind.DETACHED, ENTITY, detached, "sha-256"), TrustAnchors([root.certificate])
    anchors.revocations.learn(Crl.parse(crl(root, [], NOON), "list"))
    good = verify(found, [DOCTOR], anchors, NOON)
    assert (good.status, good.doubts) == (Status.PASSED, ())
    anchors.revocations.learn(Crl.parse(crl(root, [rsa_signer.certificate], NOON), "list"))
    revoked = verify(found, [DOCTOR], anchors, NOON)
    assert (revoked.status, revoked.reason) == (Status.INDETERMINATE, SubReason.REVOKED)
    assert Verdict.from_json(revoked.to_json()) == revoked


@pytest.mark.parametrize("kind", [KeyKind.RSA_2048, KeyKind.RSA_3072, KeyKind.P256, KeyKind.P384, KeyKind.ED25519])
@pytest.mark.parametrize("carried", list(Kind))
def test_keys_and_kinds(root: Issued, anchors: TrustAnchors, kind: KeyKind, carried: Kind) -> None:
    signer = professional(root, DOCTOR, "A", "10000000017", NOON, kind=kind)
    content = ENTITY if carried is Kind.DETACHED else None
    for pss in (False, True) if kind.startswith("rsa") else (False,):
        signature = sign(ENTITY, signer, NOON, kind=carried, pss=pss)
        assert judge(signature, anchors, content, kind=carried) == (Status.PASSED, SubReason.VALID)
        if carried is Kind.DETACHED:
            assert judge(signature, anchors, ENTITY + b" ") == (Status.FAILED, SubReason.TAMPERED)


def test_intermediate_comes_along(root: Issued, anchors: TrustAnchors) -> None:
    middle = issue(root, Profile.load(ProfileName.ROOT), Holder({"common_name": "AC 2"}), NOON)
    signer = professional(middle, DOCTOR, "A", "10000000017", NOON, kind=KeyKind.P256)
    with_it = sign(ENTITY, signer, NOON, chain=[middle.certificate])
    assert judge(with_it, anchors) == (Status.PASSED, SubReason.VALID)
    assert judge(sign(ENTITY, signer, NOON), anchors) == (Status.INDETERMINATE, SubReason.UNTRUSTED)


# --- what is signed


@pytest.mark.parametrize("content", [ENTITY.replace(b"1 g", b"9 g"), b"", ENTITY[:-1], ENTITY.replace(b"\r\n", b"\n")])
def test_tampered_content(detached: bytes, anchors: TrustAnchors, content: bytes) -> None:
    assert judge(detached, anchors, content) == (Status.FAILED, SubReason.TAMPERED)


def test_tampered_inside(opaque: bytes, anchors: TrustAnchors) -> None:
    tampered = opaque.replace(b"1 g,", b"9 g,")
    assert tampered != opaque
    assert judge(tampered, anchors, None, kind=Kind.OPAQUE) == (Status.FAILED, SubReason.TAMPERED)


def test_no_bit_of_the_signed_attributes_can_change(detached: bytes, anchors: TrustAnchors) -> None:
    info = cms.ContentInfo.load(detached)["content"]["signer_infos"][0]
    attributes = info["signed_attrs"].contents
    at = detached.index(attributes)
    for bit in range(0, 8 * len(attributes), 3):
        wrong = bytearray(detached)
        wrong[at + bit // 8] ^= 1 << bit % 8
        assert judge(bytes(wrong), anchors)[0] is Status.FAILED


def test_no_bit_of_the_signature_can_change(detached: bytes, anchors: TrustAnchors) -> None:
    signature = cms.ContentInfo.load(detached)["content"]["signer_infos"][0]["signature"].native
    at = detached.index(signature)
    for bit in range(0, 8 * len(signature), 7):
        wrong = bytearray(detached)
        wrong[at + bit // 8] ^= 1 << bit % 8
        assert judge(bytes(wrong), anchors) == (Status.FAILED, SubReason.BAD_SIGNATURE)


def test_content_inside_and_outside(opaque: bytes, anchors: TrustAnchors) -> None:
    """Judged inside, shown outside: even the same content is refused in a detached signature."""
    for outside in (ENTITY, b"Content-Type: text/plain\r\n\r\nAutre texte\r\n"):
        assert judge(opaque, anchors, outside) == (Status.FAILED, SubReason.ENCLOSED_CONTENT)


def test_opaque_with_nothing_inside(detached: bytes, anchors: TrustAnchors) -> None:
    assert judge(detached, anchors, None, kind=Kind.OPAQUE) == (Status.FAILED, SubReason.NO_CONTENT)
    assert judge(detached, anchors, None) == (Status.FAILED, SubReason.NO_CONTENT)


def test_enclosed_content_is_given_for_showing(opaque: bytes, detached: bytes) -> None:
    assert enclosed_content(opaque) == ENTITY
    for wrong in (detached, b"", opaque[:-1], opaque + b"x"):
        with pytest.raises(CryptoError):
            enclosed_content(wrong)


def test_attributes_stripped_and_offered_as_content(detached: bytes, anchors: TrustAnchors) -> None:
    """The signature over attributes is one over their encoding: without attributes it must not count as content."""
    info = cms.ContentInfo.load(detached)["content"]["signer_infos"][0]
    content = info["signed_attrs"].untag().dump()

    def strip(signed: cms.SignedData) -> None:
        old = signed["signer_infos"][0]
        fields = {name: old[name] for name in old if name not in ("signed_attrs", "unsigned_attrs")}
        signed["signer_infos"] = cms.SignerInfos([cms.SignerInfo(fields)])

    assert judge(changed(detached, strip), anchors, content) == (Status.FAILED, SubReason.BAD_ATTRIBUTES)


def attribute(kind: str, *values: core.Asn1Value) -> cms.CMSAttribute:
    return cms.CMSAttribute({"type": kind, "values": list(values)})


DIGEST = core.OctetString(hashlib.sha256(ENTITY).digest())
FALSE_DIGEST = core.OctetString(bytes(32))
TYPE = cms.ContentType("data")


@pytest.mark.parametrize(
    "attributes",
    [
        [attribute("content_type", TYPE), attribute("message_digest", DIGEST), attribute("message_digest", DIGEST)],
        [
            attribute("content_type", TYPE),
            attribute("message_digest", FALSE_DIGEST),
            attribute("message_digest", DIGEST),
        ],
        [attribute("content_type", TYPE), attribute("content_type", TYPE), attribute("message_digest", DIGEST)],
        [attribute("content_type", TYPE)],
        [attribute("message_digest", DIGEST)],
        [attribute("content_type", cms.ContentType("enveloped_data")), attribute("message_digest", DIGEST)],
        [],
    ],
    ids=["digest twice", "two digests", "type twice", "no digest", "no type", "other type", "none"],
)
def test_bad_attributes(
    detached: bytes, rsa_signer: Issued, anchors: TrustAnchors, attributes: list[cms.CMSAttribute]
) -> None:
    def put(info: cms.SignerInfo) -> None:
        info["signed_attrs"] = cms.CMSAttributes(attributes)

    assert judge(signed_again(detached, rsa_signer, put), anchors) == (Status.FAILED, SubReason.BAD_ATTRIBUTES)


def test_attribute_with_two_values(detached: bytes, rsa_signer: Issued, anchors: TrustAnchors) -> None:
    def put(info: cms.SignerInfo) -> None:
        info["signed_attrs"] = cms.CMSAttributes(
            [attribute("content_type", TYPE), attribute("message_digest", FALSE_DIGEST, DIGEST)]
        )

    assert judge(signed_again(detached, rsa_signer, put), anchors) == (Status.FAILED, SubReason.MALFORMED)


def test_attributes_in_another_order(detached: bytes, rsa_signer: Issued, anchors: TrustAnchors) -> None:
    """Signed in DER's order and sent in another, or signed in another: the same attributes both times."""

    def turned(info: cms.SignerInfo) -> bytes:
        return b"".join(one.dump() for one in reversed(list(info["signed_attrs"])))

    signed = cms.ContentInfo.load(detached)["content"]["signer_infos"][0]
    right, wrong = signed["signed_attrs"].contents, turned(signed)
    assert right != wrong
    assert judge(detached.replace(right, wrong), anchors) == (Status.PASSED, SubReason.VALID)
    assert isinstance(rsa_signer.key, rsa.RSAPrivateKey)
    signature = rsa_signer.key.sign(encoded(0x31, wrong), padding.PKCS1v15(), hashes.SHA256())
    unsorted = detached.replace(right, wrong).replace(signed["signature"].native, signature)
    assert judge(unsorted, anchors) == (Status.PASSED, SubReason.VALID)


def test_content_that_is_no_message(detached: bytes, anchors: TrustAnchors) -> None:
    wrong = changed(detached, lambda signed: signed["encap_content_info"].__setitem__("content_type", "digested_data"))
    assert judge(wrong, anchors) == (Status.FAILED, SubReason.BAD_ATTRIBUTES)


# --- who signed


def test_several_signers(root: Issued, rsa_signer: Issued, ec_signer: Issued, anchors: TrustAnchors) -> None:
    """One holder with an old key and a new one; two persons; two of whom one signed something else."""
    assert judge(sign(ENTITY, [rsa_signer, ec_signer], NOON), anchors) == (Status.PASSED, SubReason.VALID)
    colleague = professional(root, "bea@mss.example.test", "B", "10000000025", NOON, kind=KeyKind.P256)
    both = sign(ENTITY, [ec_signer, colleague], NOON)
    verdict = verify(SignedData(Kind.DETACHED, ENTITY, both), [DOCTOR], anchors, NOON)
    assert (verdict.status, verdict.reason) == (Status.INDETERMINATE, SubReason.SEVERAL_SIGNERS)
    assert verdict.signer is None
    assert judge(both, anchors, sender="eve@mss.example.test") == (Status.FAILED, SubReason.OTHER_SENDER)

    def add_other(signed: cms.SignedData) -> None:
        other = cms.ContentInfo.load(sign(b"autre", colleague, NOON))["content"]
        signed["signer_infos"].append(other["signer_infos"][0])
        signed["certificates"].append(other["certificates"][0])

    assert judge(changed(sign(ENTITY, ec_signer, NOON), add_other), anchors) == (Status.FAILED, SubReason.TAMPERED)


def test_more_signers_than_are_looked_at(ec_signer: Issued, anchors: TrustAnchors) -> None:
    crowd = sign(ENTITY, [ec_signer] * (signed_data.MAX_SIGNERS + 1), NOON)
    assert judge(crowd, anchors) == (Status.FAILED, SubReason.MALFORMED)


def test_no_signer(detached: bytes, anchors: TrustAnchors) -> None:
    nobody = changed(detached, lambda signed: signed.__setitem__("signer_infos", cms.SignerInfos([])))
    assert judge(nobody, anchors) == (Status.FAILED, SubReason.NO_SIGNER)


def test_no_certificate(detached: bytes, ec_signer: Issued, anchors: TrustAnchors) -> None:
    other = asn1_x509.Certificate.load(ec_signer.certificate.public_bytes(Encoding.DER))

    def put(signed: cms.SignedData) -> None:
        signed["certificates"] = cms.CertificateSet([other])

    assert judge(changed(detached, put), anchors) == (Status.INDETERMINATE, SubReason.NO_CERTIFICATE)


def with_same_serial(root: Issued, signer: Issued, address: str) -> x509.Certificate:
    """Another certificate of the same key, issuer and serial number, that names another."""
    old = signer.certificate
    builder = x509.CertificateBuilder(
        root.certificate.subject, old.subject, old.public_key(), old.serial_number, old.not_valid_before_utc,
        old.not_valid_after_utc,
    ).add_extension(x509.SubjectAlternativeName([x509.RFC822Name(address)]), critical=False)  # fmt: skip
    return builder.sign(root.key, hashes.SHA256())


def test_certificate_put_in_the_place_of_the_signers(
    detached: bytes, root: Issued, rsa_signer: Issued, anchors: TrustAnchors
) -> None:
    other = with_same_serial(root, rsa_signer, "mallory@mss.example.test").public_bytes(Encoding.DER)
    own = rsa_signer.certificate.public_bytes(Encoding.DER)

    def put(*ders: bytes) -> bytes:
        certificates = [asn1_x509.Certificate.load(der) for der in ders]
        return changed(detached, lambda s: s.__setitem__("certificates", cms.CertificateSet(certificates)))

    verdict = judge(put(other), anchors, sender="mallory@mss.example.test")
    assert verdict == (Status.FAILED, SubReason.OTHER_CERTIFICATE)
    assert judge(put(own, other), anchors) == (Status.INDETERMINATE, SubReason.TWO_CERTIFICATES)
    assert judge(put(own, own), anchors) == (Status.PASSED, SubReason.VALID)


@pytest.mark.parametrize("sender", ["mallory@mss.example.test", "", "aline.martin@mss.example.test.evil", "a", "@"])
def test_signed_by_another_than_the_sender(detached: bytes, anchors: TrustAnchors, sender: str) -> None:
    assert judge(detached, anchors, sender=sender) == (Status.FAILED, SubReason.OTHER_SENDER)


def test_all_senders_are_the_signer(detached: bytes, anchors: TrustAnchors) -> None:
    found = SignedData(Kind.DETACHED, ENTITY, detached)
    for senders in ([], [DOCTOR, "mallory@mss.example.test"]):
        assert verify(found, senders, anchors, NOON).reason is SubReason.OTHER_SENDER
    assert verify(found, [DOCTOR, "Aline.Martin@MSS.example.test"], anchors, NOON).status is Status.PASSED


def test_letters_that_only_look_folded_are_not(root: Issued, anchors: TrustAnchors) -> None:
    signer = professional(root, "karl@mss.example.test", "K", "10000000017", NOON, kind=KeyKind.P256)
    kelvin = "\u212aarl@mss.example.test"
    assert kelvin.lower() == "karl@mss.example.test"
    assert judge(sign(ENTITY, signer, NOON), anchors, sender=kelvin) == (Status.FAILED, SubReason.OTHER_SENDER)


def test_domain_in_letters_and_as_a_label(root: Issued, anchors: TrustAnchors) -> None:
    signer = professional(root, "a@xn--exmple-cua.test", "A", "10000000017", NOON, kind=KeyKind.P256)
    assert judge(sign(ENTITY, signer, NOON), anchors, sender="a@exämple.test") == (Status.PASSED, SubReason.VALID)


def test_address_in_the_subject(root: Issued, anchors: TrustAnchors) -> None:
    holder = Holder({"common_name": "A", "email": DOCTOR})
    signer = issue(root, Profile.load(ProfileName.SMIME), holder, NOON, kind=KeyKind.P256)
    assert judge(sign(ENTITY, signer, NOON), anchors) == (Status.PASSED, SubReason.VALID)


def test_certificate_without_address(root: Issued, anchors: TrustAnchors) -> None:
    holder = Holder({"common_name": "CLINIQUE", "organisation": "CLINIQUE", "organisation_unit": "1750000018"})
    signer = issue(root, Profile.load(ProfileName.SMIME), holder, NOON, kind=KeyKind.P256)
    verdict = verify(SignedData(Kind.DETACHED, ENTITY, sign(ENTITY, signer, NOON)), [DOCTOR], anchors, NOON)
    assert (verdict.status, verdict.reason) == (Status.INDETERMINATE, SubReason.NO_ADDRESS)
    assert verdict.signer is not None
    assert (verdict.signer.finess, verdict.signer.organisation) == ("750000018", "CLINIQUE")


def test_certificate_that_is_not_for_mail(root: Issued, anchors: TrustAnchors) -> None:
    client = organisation_client(root, "CLINIQUE", "750000018", NOON, emails=[DOCTOR])
    assert judge(sign(ENTITY, client, NOON), anchors) == (Status.FAILED, SubReason.NOT_FOR_MAIL)
    authority = issue(
        root, replace(Profile.load(ProfileName.SMIME), authority=True), Holder({"common_name": "A"}, [DOCTOR]), NOON
    )
    assert judge(sign(ENTITY, authority, NOON), anchors) == (Status.FAILED, SubReason.NOT_FOR_MAIL)


def test_stranger(anchors: TrustAnchors) -> None:
    stranger = professional(new_root(NOON), DOCTOR, "A", "10000000017", NOON)
    assert judge(sign(ENTITY, stranger, NOON), anchors) == (Status.INDETERMINATE, SubReason.UNTRUSTED)


def test_authorities_in_a_circle(root: Issued, anchors: TrustAnchors) -> None:
    """Sixteen authorities of one name that certify each other, none of them an anchor: all are tried, and it ends."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CERCLE")])
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(16)]
    circle = [
        Issued(
            x509.CertificateBuilder(name, name, key.public_key(), number + 1, NOON - DAY, NOON + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(keys[number - 1], hashes.SHA256()),
            key,
        )
        for number, key in enumerate(keys)
    ]
    signer = professional(circle[0], DOCTOR, "A", "10000000017", NOON, kind=KeyKind.P256)
    signature = sign(ENTITY, signer, NOON, chain=[one.certificate for one in circle])
    assert judge(signature, anchors) == (Status.INDETERMINATE, SubReason.UNTRUSTED)


def test_certificate_out_of_its_time(root: Issued, anchors: TrustAnchors) -> None:
    short = professional(root, DOCTOR, "A", "10000000017", NOON, kind=KeyKind.P256, validity=timedelta(days=30))
    signature = sign(ENTITY, short, NOON)
    assert judge(signature, anchors, now=NOON + timedelta(days=30)) == (Status.PASSED, SubReason.VALID)
    late = NOON + timedelta(days=30, seconds=1)
    assert judge(signature, anchors, now=late) == (Status.INDETERMINATE, SubReason.EXPIRED)
    early = NOON - timedelta(days=1)
    assert judge(signature, anchors, now=early) == (Status.INDETERMINATE, SubReason.NOT_YET_VALID)
    stranger = professional(new_root(NOON), DOCTOR, "A", "10000000017", NOON, validity=timedelta(days=30))
    assert judge(sign(ENTITY, stranger, NOON), anchors, now=late) == (Status.INDETERMINATE, SubReason.UNTRUSTED)


# --- algorithms


@pytest.mark.parametrize("weak", ["md5", "sha1"])
def test_weak_digest(detached: bytes, anchors: TrustAnchors, weak: str) -> None:
    def put(signed: cms.SignedData) -> None:
        signed["signer_infos"][0]["digest_algorithm"] = algos.DigestAlgorithm({"algorithm": weak})

    assert judge(changed(detached, put), anchors) == (Status.FAILED, SubReason.WEAK_DIGEST)


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("sha1_rsa", (Status.FAILED, SubReason.WEAK_DIGEST)),
        ("sha512_rsa", (Status.INDETERMINATE, SubReason.UNKNOWN_ALGORITHM)),
        ("sha256_ecdsa", (Status.INDETERMINATE, SubReason.UNKNOWN_ALGORITHM)),
        ("rsassa_pkcs1v15", (Status.PASSED, SubReason.VALID)),
        ("ed25519", (Status.INDETERMINATE, SubReason.UNKNOWN_ALGORITHM)),
    ],
)
def test_algorithm_of_the_signature(
    detached: bytes, anchors: TrustAnchors, algorithm: str, expected: tuple[Status, SubReason]
) -> None:
    def put(signed: cms.SignedData) -> None:
        signed["signer_infos"][0]["signature_algorithm"] = algos.SignedDigestAlgorithm({"algorithm": algorithm})

    assert judge(changed(detached, put), anchors) == expected


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, (Status.FAILED, SubReason.WEAK_DIGEST)),  # RFC 4055 §3.1: left out means SHA-1
        (
            {"hash_algorithm": {"algorithm": "sha256"}},
            (Status.FAILED, SubReason.WEAK_DIGEST),
        ),
        (
            {
                "hash_algorithm": {"algorithm": "sha512"},
                "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha512"}},
            },
            (Status.INDETERMINATE, SubReason.UNKNOWN_ALGORITHM),
        ),
        (
            {
                "hash_algorithm": {"algorithm": "sha256"},
                "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha256"}},
                "salt_length": 31,
            },
            (Status.FAILED, SubReason.BAD_SIGNATURE),
        ),
        (
            {
                "hash_algorithm": {"algorithm": "sha256"},
                "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha256"}},
                "salt_length": 10**9,
            },
            (Status.INDETERMINATE, SubReason.UNKNOWN_ALGORITHM),
        ),
    ],
)
def test_pss_parameters(
    rsa_signer: Issued, anchors: TrustAnchors, parameters: dict[str, object], expected: tuple[Status, SubReason]
) -> None:
    def put(signed: cms.SignedData) -> None:
        signed["signer_infos"][0]["signature_algorithm"] = algos.SignedDigestAlgorithm(
            {
                "algorithm": "rsassa_pss",
                "parameters": algos.RSASSAPSSParams(parameters) if parameters else algos.RSASSAPSSParams.load(b"0\0"),
            }
        )

    assert judge(changed(sign(ENTITY, rsa_signer, NOON, pss=True), put), anchors) == expected


def test_weak_key(root: Issued, anchors: TrustAnchors) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    builder = x509.CertificateBuilder(
        root.certificate.subject, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A")]), key.public_key(), 5,
        NOON - timedelta(days=1), NOON + timedelta(days=1),
    ).add_extension(x509.SubjectAlternativeName([x509.RFC822Name(DOCTOR)]), critical=False)  # fmt: skip
    weak = Issued(builder.sign(root.key, hashes.SHA256()), key)
    assert judge(sign(ENTITY, weak, NOON), anchors) == (Status.FAILED, SubReason.WEAK_KEY)


def test_curve_that_is_not_known(root: Issued, anchors: TrustAnchors) -> None:
    key = ec.generate_private_key(ec.SECP256K1())
    builder = x509.CertificateBuilder(
        root.certificate.subject, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A")]), key.public_key(), 6,
        NOON - timedelta(days=1), NOON + timedelta(days=1),
    ).add_extension(x509.SubjectAlternativeName([x509.RFC822Name(DOCTOR)]), critical=False)  # fmt: skip
    odd = Issued(builder.sign(root.key, hashes.SHA256()), key)
    assert judge(sign(ENTITY, odd, NOON), anchors) == (Status.INDETERMINATE, SubReason.UNKNOWN_ALGORITHM)


# --- what is left open


def test_doubts(root: Issued, anchors: TrustAnchors) -> None:
    signer = professional(root, DOCTOR, "A", "10000000017", NOON, kind=KeyKind.P256)

    def doubts(signed_at: datetime, micalg: str = "", at_top: bool = True) -> tuple[Doubt, ...]:
        found = SignedData(Kind.DETACHED, ENTITY, sign(ENTITY, signer, signed_at), micalg, at_top)
        verdict = verify(found, [DOCTOR], anchors, NOON)
        assert verdict.status is Status.PASSED
        assert verdict.covers == ("whole" if at_top else "part")
        return verdict.doubts[1:]

    assert doubts(NOON) == doubts(NOON, "sha256") == doubts(NOON, "sha-256") == ()
    assert doubts(NOON, "md5") == (Doubt.MICALG_DIFFERS,)
    assert doubts(NOON, at_top=False) == (Doubt.PART_ONLY,)
    assert doubts(NOON + timedelta(days=2)) == (Doubt.SIGNING_TIME_IN_FUTURE,)
    assert doubts(NOON - timedelta(days=400)) == (Doubt.SIGNING_TIME_OUTSIDE_CERTIFICATE,)
    later = NOON + timedelta(days=8)
    old = verify(SignedData(Kind.DETACHED, ENTITY, sign(ENTITY, signer, NOON)), [DOCTOR], anchors, later)
    assert old.doubts[1:] == (Doubt.SIGNED_LONG_AGO,)


def test_stored_verdict_of_another_kind_is_refused() -> None:
    for stored in ({}, {"status": "superb"}, {"signer": 5}):
        with pytest.raises(CryptoError):
            Verdict.from_json(stored)


# --- hostile bytes


@given(st.binary(max_size=300), st.sampled_from(list(Kind)))
def test_garbage_gives_a_verdict(data: bytes, kind: Kind) -> None:
    verdict = verify(SignedData(kind, None if kind is Kind.OPAQUE else b"x", data), [DOCTOR], ANCHORS, NOON)
    assert verdict.status is Status.FAILED


ANCHORS = TrustAnchors([new_root(NOON).certificate])


@given(cut=st.integers(0, 2000), insert=st.binary(max_size=6), at=st.integers(0, 2000))
@settings(max_examples=200, deadline=None)
def test_damaged_signature_never_passes(cut: int, insert: bytes, at: int) -> None:
    damaged = SIGNATURE[:at] + insert + SIGNATURE[at + cut % 7 :]
    verdict = verify(SignedData(Kind.DETACHED, ENTITY, damaged), [DOCTOR], ROOTED, NOON)
    assert verdict.status is not Status.PASSED or damaged == SIGNATURE or _same_apart_from_unsigned(damaged)


ROOT = new_root(NOON)
ROOTED = TrustAnchors([ROOT.certificate])
SIGNATURE = sign(ENTITY, professional(ROOT, DOCTOR, "A", "10000000017", NOON, kind=KeyKind.P256), NOON)


def _same_apart_from_unsigned(damaged: bytes) -> bool:
    """Versions, the set of digest algorithms and algorithm parameters are not signed; content and signer are."""
    one, other = signed_data.read(damaged), signed_data.read(SIGNATURE)
    (first,), (second,) = one.signers, other.signers
    return (first.signature, one.certificates) == (second.signature, other.certificates)


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x30\x80" * 100_000,
        b"\x24\x80" * 1000 + b"\x00\x00" * 1000,
        b"\x30\x84\xff\xff\xff\xff" + bytes(100),
        b"\x30\x89" + b"\xff" * 9,
        b"\x30\x82\x01",
        b"\x3f\x81" * 1000,
        b"\x30\x80" + b"\x05\x00" * 400_000,
    ],
    ids=["open sequences", "nested strings", "long length", "huge length", "no length", "high tags", "many elements"],
)
def test_bombs_are_refused(bomb: bytes, anchors: TrustAnchors) -> None:
    for kind in Kind:
        assert judge(bomb, anchors, ENTITY, kind=kind) == (Status.FAILED, SubReason.MALFORMED)


def test_certificate_that_cannot_be_read(detached: bytes, anchors: TrustAnchors) -> None:
    """X.509 version 48: `cryptography` raises an error of its own kind for it."""
    version = bytes.fromhex("a003020102")
    assert detached.count(version) == 1
    odd = detached.replace(version, bytes.fromhex("a003020130"))
    assert judge(odd, anchors) == (Status.FAILED, SubReason.MALFORMED)


def test_too_large_is_not_decoded(anchors: TrustAnchors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crypto.smime.verify.read", lambda data: pytest.fail("decoded"))
    large = b"\x30" * (signed_data.DETACHED_BYTES + 1)
    assert judge(large, anchors) == (Status.INDETERMINATE, SubReason.TOO_LARGE)
