"""What comes along in a signature and proves something: time stamps (OpenSSL's), revocation lists, OCSP answers."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import cms, core, crl, ocsp
from cryptography import x509
from cryptography.x509 import ocsp as ocsp_status
from cryptography.x509.oid import ExtendedKeyUsageOID

from crypto.pki.crl import Crl
from crypto.pki.issue import Issued, new_root, professional
from crypto.pki.profile import KeyKind
from crypto.smime import signed_data
from crypto.smime.anchors import TrustAnchors
from crypto.smime.sign import sign
from crypto.smime.signed_data import Kind, SignedData
from crypto.smime.time_stamp import for_time_stamps
from crypto.smime.tlv import CONTEXT_0, CONTEXT_1, OID, SEQUENCE, SET, encoded
from crypto.smime.verdict import Doubt, SubReason, Verdict
from crypto.smime.verify import verify
from server.base import clock
from tests.forged import changed
from tests.programs import need
from tests.revocation_lists import crl as list_of
from tests.revocation_lists import ocsp_answer
from tests.signers import AUTHORITY, DOCTOR, certificate

ENTITY = b"Content-Type: text/plain\r\n\r\nAmoxicilline 1 g.\r\n"
DAY = timedelta(days=1)
NOW = clock.now()
STAMPS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
CONFIGURATION = """
[tsa]
default_tsa = it
[it]
serial = serial
default_policy = 1.2.3.4.1
digests = sha256, sha384
signer_digest = sha256
ess_cert_id_alg = sha256
"""


@pytest.fixture
def root() -> Issued:
    return new_root(NOW - 365 * DAY)


@pytest.fixture
def signer(root: Issued) -> Issued:
    return professional(root, DOCTOR, "Aline MARTIN", "10000000017", NOW - DAY, kind=KeyKind.P256, validity=2 * DAY)


def judged(signature: bytes, anchors: TrustAnchors, now: datetime) -> Verdict:
    return verify(SignedData(Kind.DETACHED, ENTITY, signature), [DOCTOR], anchors, now)


def stamped(place: Path, signature: bytes, authority: Issued, over: bytes | None = None) -> bytes:
    """The signature with OpenSSL's time stamp of this moment over it, or over something else."""
    value = cms.ContentInfo.load(signature)["content"]["signer_infos"][0]["signature"].native
    (place / "value").write_bytes(over or value)
    (place / "serial").write_text("01")
    (place / "tsa.cnf").write_text(CONFIGURATION)
    authority.save(place, "tsa")
    for arguments in (
        "-query -data value -sha256 -cert -out query",
        "-reply -config tsa.cnf -queryfile query -signer tsa.pem -inkey tsa.key -token_out -out token",
    ):
        done = subprocess.run([need("openssl"), "ts", *arguments.split()], cwd=place, capture_output=True)
        assert done.returncode == 0, done.stderr
    return with_token(signature, (place / "token").read_bytes())


def test_who_makes_time_stamps(root: Issued) -> None:
    """RFC 3161 §2.3; OpenSSL makes none with other certificates."""
    also = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.EMAIL_PROTECTION])
    assert for_time_stamps(certificate("A", authority=root, critical=[STAMPS]).certificate)
    for other in (
        certificate("A", authority=root, extensions=[STAMPS]),
        certificate("A", authority=root, critical=[also]),
        certificate("A", authority=root),
    ):
        assert not for_time_stamps(other.certificate)


def with_token(signature: bytes, token: bytes) -> bytes:
    """The signature with an unsigned attribute that holds a token."""
    signed = cms.ContentInfo.load(signature)["content"]
    infos = signed["signer_infos"].dump()
    attribute = encoded(SEQUENCE, encoded(OID, signed_data.TIME_STAMP) + encoded(SET, token))
    info = encoded(SEQUENCE, signed["signer_infos"][0].contents + encoded(CONTEXT_1, attribute))
    inside = encoded(SEQUENCE, signed.contents.removesuffix(infos) + encoded(SET, info))
    return encoded(SEQUENCE, encoded(OID, signed_data.SIGNED_DATA) + encoded(CONTEXT_0, inside))


def stamper(root: Issued) -> Issued:
    return certificate("HORODATAGE", authority=root, critical=[STAMPS])


def test_a_time_stamp_outlives_the_certificate(tmp_path: Path, root: Issued, signer: Issued) -> None:
    anchors = TrustAnchors([root.certificate])
    plain = sign(ENTITY, signer, NOW)
    signature, later = stamped(tmp_path, plain, stamper(root)), NOW + 30 * DAY
    assert judged(plain, anchors, later).reason is SubReason.EXPIRED
    verdict = judged(signature, anchors, later)
    assert verdict.reason is SubReason.VALID
    assert verdict.proven_time is not None
    assert abs(verdict.proven_time - NOW) < timedelta(hours=1)
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_a_time_stamp_is_older_than_the_revocation_or_not(tmp_path: Path, root: Issued, signer: Issued) -> None:
    signature = stamped(tmp_path, sign(ENTITY, signer, NOW), stamper(root))
    for revoked_at, expected in ((NOW + 9 * DAY, SubReason.VALID), (NOW - DAY, SubReason.REVOKED)):
        anchors = TrustAnchors([root.certificate])
        anchors.revocations.learn(Crl.parse(list_of(root, [signer.certificate], revoked_at, lasts=99 * DAY), "list"))
        assert judged(signature, anchors, NOW + 10 * DAY).reason is expected


def test_every_revocation_on_the_path_counts(tmp_path: Path, root: Issued) -> None:
    """The signer was revoked after the stamp, the authority before it."""
    between = certificate("AC", authority=root, critical=[AUTHORITY])
    signer = certificate("A", [x509.RFC822Name(DOCTOR)], authority=between)
    plain = sign(ENTITY, signer, NOW, chain=[between.certificate])
    signature, later = stamped(tmp_path, plain, stamper(root)), NOW + 10 * DAY
    for authority_revoked_at, expected in ((NOW - DAY, SubReason.REVOKED), (NOW + DAY, SubReason.VALID)):
        anchors = TrustAnchors([root.certificate])
        for number, (issuer, revoked, at) in enumerate(
            ((between, signer, NOW + 9 * DAY), (root, between, authority_revoked_at))
        ):
            data = list_of(issuer, [revoked.certificate], at, lasts=99 * DAY)
            anchors.revocations.learn(Crl.parse(data, f"list {number}"))
        assert judged(signature, anchors, later).reason is expected


def test_time_stamps_have_anchors_of_their_own(tmp_path: Path, root: Issued, signer: Issued) -> None:
    other = new_root(NOW - 365 * DAY)
    stampers = TrustAnchors([root.certificate, other.certificate])
    anchors = TrustAnchors([root.certificate], stampers=stampers)
    signature = stamped(tmp_path, sign(ENTITY, signer, NOW), stamper(other))
    assert judged(signature, anchors, NOW + 30 * DAY).reason is SubReason.VALID


def test_time_stamps_that_prove_nothing(tmp_path: Path, root: Issued, signer: Issued) -> None:
    anchors, later, plain = TrustAnchors([root.certificate]), NOW + 30 * DAY, sign(ENTITY, signer, NOW)
    stranger = new_root(NOW - 365 * DAY)
    for signature in (
        stamped(tmp_path, plain, stamper(stranger)),
        stamped(tmp_path, plain, stamper(root), over=b"another signature"),
    ):
        verdict = judged(signature, anchors, later)
        assert (verdict.reason, verdict.proven_time) == (SubReason.EXPIRED, None)
    # One of tomorrow.
    assert judged(stamped(tmp_path, plain, stamper(root)), anchors, NOW - timedelta(hours=2)).proven_time is None


def with_revocation(signature: bytes, kind: str, data: bytes) -> bytes:
    """The signature with a list or an answer beside it."""
    value: core.Asn1Value = crl.CertificateList.load(data) if kind == "crl" else ocsp.OCSPResponse.load(data)
    if kind == "other":
        value = cms.OtherRevocationInfoFormat({"other_rev_info_format": "ocsp_response", "other_rev_info": value})
    choices = cms.RevocationInfoChoices([cms.RevocationInfoChoice(name=kind, value=value)])
    return changed(signature, lambda signed: signed.__setitem__("crls", choices))


def test_lists_and_answers_that_come_along(root: Issued, signer: Issued) -> None:
    plain, stranger, revoked = sign(ENTITY, signer, NOW), new_root(NOW - DAY), ocsp_status.OCSPCertStatus.REVOKED
    whose = (signer.certificate, root.certificate)
    for kind, data, reason in (
        ("crl", list_of(root, [], NOW), SubReason.VALID),
        ("crl", list_of(root, [signer.certificate], NOW), SubReason.REVOKED),
        ("other", ocsp_answer(*whose, root, NOW), SubReason.VALID),
        ("other", ocsp_answer(*whose, root, NOW, status=revoked), SubReason.REVOKED),
    ):
        verdict = judged(with_revocation(plain, kind, data), TrustAnchors([root.certificate]), NOW)
        assert (verdict.reason, verdict.doubts) == (reason, ())
    # Of another authority, ended, of a responder whom nobody appointed: nothing is known.
    for kind, data in (
        ("crl", list_of(stranger, [signer.certificate], NOW)),
        ("crl", list_of(root, [], NOW - 9 * DAY)),
        ("other", ocsp_answer(*whose, stranger, NOW)),
    ):
        verdict = judged(with_revocation(plain, kind, data), TrustAnchors([root.certificate]), NOW)
        assert (verdict.reason, verdict.doubts) == (SubReason.VALID, (Doubt.REVOCATION_NOT_CHECKED,))


def test_what_comes_along_outdates_nothing_that_is_known(root: Issued, signer: Issued) -> None:
    """Revoked by our list: an older list without it, which the signer picked, is not even asked."""
    anchors = TrustAnchors([root.certificate])
    anchors.revocations.learn(Crl.parse(list_of(root, [signer.certificate], NOW), "list"))
    before = with_revocation(sign(ENTITY, signer, NOW), "crl", list_of(root, [], NOW - timedelta(hours=1)))
    assert judged(before, anchors, NOW).reason is SubReason.REVOKED


def test_more_lists_than_are_looked_at(root: Issued, signer: Issued) -> None:
    one = cms.RevocationInfoChoice(name="crl", value=crl.CertificateList.load(list_of(root, [], NOW)))
    choices = cms.RevocationInfoChoices([one] * (signed_data.MAX_REVOCATIONS + 1))
    crowded = changed(sign(ENTITY, signer, NOW), lambda signed: signed.__setitem__("crls", choices))
    assert judged(crowded, TrustAnchors([root.certificate]), NOW).reason is SubReason.MALFORMED


def test_where_a_doubt_is_not_enough(root: Issued, signer: Issued) -> None:
    anchors, signature = TrustAnchors([root.certificate], strict=True), sign(ENTITY, signer, NOW)
    assert judged(signature, anchors, NOW).reason is SubReason.REVOCATION_UNKNOWN
    anchors.revocations.learn(Crl.parse(list_of(root, [], NOW), "list"))
    assert judged(signature, anchors, NOW).reason is SubReason.VALID


def test_signers_whose_revocation_is_unknown_are_told(root: Issued, signer: Issued) -> None:
    anchors = TrustAnchors([root.certificate])
    judged(sign(ENTITY, signer, NOW), anchors, NOW)
    assert anchors.open_paths == {signer.certificate: (signer.certificate, root.certificate)}
    anchors = TrustAnchors([root.certificate])
    anchors.revocations.learn(Crl.parse(list_of(root, [], NOW), "list"))
    judged(sign(ENTITY, signer, NOW), anchors, NOW)
    assert anchors.open_paths == {}
