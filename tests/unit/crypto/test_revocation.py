"""Revocation by kept lists and answers: revoked, good and unknown are three things."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPCertStatus
from cryptography.x509.oid import ExtendedKeyUsageOID

from crypto.pki.crl import CRL_BYTES, Crl, list_urls
from crypto.pki.issue import Issued, new_root, server
from crypto.pki.ocsp import OCSP_BYTES, OcspAnswer
from crypto.pki.revocation import Revocations
from crypto.pki.standing import Status, Unusable
from tests.revocation_lists import DAY, crl, ocsp_answer
from tests.signers import certificate

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
POINT = "http://crl.exemple.fr/liste.crl"


@dataclass(frozen=True)
class Authority:
    root: Issued
    leaf: x509.Certificate

    @property
    def path(self) -> tuple[x509.Certificate, x509.Certificate]:
        return self.leaf, self.root.certificate


@pytest.fixture(scope="module")
def ours() -> Authority:
    root = new_root(NOW)
    return Authority(root, server(root, ["mx.exemple.fr"], "Un", NOW).certificate)


def status(ours: Authority, *lists: bytes, now: datetime = NOW) -> Status:
    known = Revocations()
    for number, der in enumerate(lists):
        known.learn(Crl.parse(der, f"list {number}"))
    return known.judge(ours.path, now).status


def test_without_knowledge_it_is_unknown(ours: Authority) -> None:
    assert status(ours) is Status.UNKNOWN
    assert Revocations().judge((), NOW).status is Status.UNKNOWN


def test_an_anchor_alone_is_revoked_by_nobody(ours: Authority) -> None:
    assert Revocations().judge((ours.root.certificate,), NOW).status is Status.GOOD


def test_a_list_says_who_is_revoked_and_who_is_not(ours: Authority) -> None:
    other = server(ours.root, ["autre.exemple.fr"], "Deux", NOW).certificate
    known = Revocations()
    known.learn(Crl.parse(crl(ours.root, [ours.leaf], NOW), "file"))
    answer = known.judge(ours.path, NOW)
    assert (answer.status, answer.source, answer.as_of, answer.revoked_at, answer.reason) == (
        Status.REVOKED,
        "file",
        NOW,
        NOW,
        "keyCompromise",
    )
    assert known.judge((other, ours.root.certificate), NOW).status is Status.GOOD


def test_pem_is_read_too(ours: Authority) -> None:
    pem = x509.load_der_x509_crl(crl(ours.root, [ours.leaf], NOW)).public_bytes(Encoding.PEM)
    assert status(ours, pem) is Status.REVOKED


def test_a_list_that_ended_says_no_more_that_one_is_good(ours: Authority) -> None:
    assert status(ours, crl(ours.root, [], NOW), now=NOW + DAY) is Status.GOOD
    assert status(ours, crl(ours.root, [], NOW), now=NOW + 2 * DAY) is Status.UNKNOWN


def test_a_list_that_ended_still_says_who_was_revoked_unless_on_hold(ours: Authority) -> None:
    later = NOW + 2 * DAY
    assert status(ours, crl(ours.root, [ours.leaf], NOW), now=later) is Status.REVOKED
    held = crl(ours.root, [ours.leaf], NOW, reason=x509.ReasonFlags.certificate_hold)
    assert status(ours, held) is Status.REVOKED
    assert status(ours, held, now=later) is Status.UNKNOWN


def test_a_list_from_the_future_says_nothing_yet(ours: Authority) -> None:
    assert status(ours, crl(ours.root, [ours.leaf], NOW + timedelta(hours=1))) is Status.UNKNOWN
    assert status(ours, crl(ours.root, [ours.leaf], NOW + timedelta(minutes=4))) is Status.REVOKED


def test_the_newest_word_counts(ours: Authority) -> None:
    held = crl(ours.root, [ours.leaf], NOW - DAY / 2, reason=x509.ReasonFlags.certificate_hold)
    free = crl(ours.root, [], NOW)
    assert status(ours, held, free) is status(ours, free, held) is Status.GOOD


def test_a_delta_list_says_what_changed_and_no_more(ours: Authority) -> None:
    delta = [(x509.DeltaCRLIndicator(1), True)]
    nothing, all_good = crl(ours.root, [], NOW, extensions=delta), crl(ours.root, [], NOW - DAY / 2)
    revoked = crl(ours.root, [ours.leaf], NOW, extensions=delta)
    held = crl(ours.root, [ours.leaf], NOW - DAY / 2, reason=x509.ReasonFlags.certificate_hold)
    released = crl(ours.root, [ours.leaf], NOW, reason=x509.ReasonFlags.remove_from_crl, extensions=delta)
    assert status(ours, nothing) is Status.UNKNOWN
    assert status(ours, nothing, all_good) is Status.GOOD
    assert status(ours, revoked) is status(ours, all_good, revoked) is Status.REVOKED
    assert status(ours, held, nothing) is Status.REVOKED
    assert status(ours, held, released) is Status.GOOD
    # A complete list that releases says nothing; a delta of before the complete list says less than it.
    assert status(ours, crl(ours.root, [ours.leaf], NOW, reason=x509.ReasonFlags.remove_from_crl)) is Status.UNKNOWN
    assert status(ours, crl(ours.root, [ours.leaf], NOW - DAY, extensions=delta), all_good) is Status.GOOD


def test_where_delta_lists_are(ours: Authority) -> None:
    def point(url: str) -> list[x509.DistributionPoint]:
        return [x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)]

    complete, fresh = x509.CRLDistributionPoints(point("http://a.test/c")), x509.FreshestCRL(point("http://a.test/d"))
    made = certificate("A", authority=ours.root, extensions=[complete, fresh]).certificate
    assert list_urls(made) == ["http://a.test/c", "http://a.test/d"]


def test_an_answer_to_another_question(ours: Authority) -> None:
    plain = OcspAnswer.parse(ocsp_answer(ours.leaf, ours.root.certificate, ours.root, NOW), "url")
    assert plain.answers(b"ours")  # made ahead, for all
    told = OcspAnswer.parse(ocsp_answer(ours.leaf, ours.root.certificate, ours.root, NOW, nonce=b"ours" * 8), "url")
    assert told.answers(b"ours" * 8)
    assert not told.answers(b"other" * 6)


def test_what_a_source_says_anew_takes_the_place_of_what_it_said(ours: Authority) -> None:
    known = Revocations()
    known.learn(Crl.parse(crl(ours.root, [], NOW), "url"))
    assert known.judge(ours.path, NOW).status is Status.GOOD
    known.learn(Crl.parse(crl(ours.root, [ours.leaf], NOW), "url"))
    assert known.judge(ours.path, NOW).status is Status.REVOKED
    known.forget("url")
    assert known.judge(ours.path, NOW).status is Status.UNKNOWN
    assert known.sources() == frozenset()


def test_an_answer_is_not_kept_past_the_end_of_its_list(ours: Authority) -> None:
    known = Revocations()
    known.learn(Crl.parse(crl(ours.root, [], NOW), "url"))
    assert known.judge(ours.path, NOW + DAY).status is Status.GOOD
    assert known.judge(ours.path, NOW + DAY + timedelta(minutes=2)).status is Status.UNKNOWN


def test_a_list_of_another_authority_with_the_same_name_says_nothing(ours: Authority) -> None:
    assert status(ours, crl(new_root(NOW), [ours.leaf], NOW)) is Status.UNKNOWN


def test_a_list_signed_by_a_leaf_says_nothing(ours: Authority) -> None:
    """RFC 5280 §6.3.3 (f): only a key that may sign lists."""
    leaf = server(ours.root, ["pirate.exemple.fr"], "Trois", NOW)
    inner = server(leaf, ["dessous.exemple.fr"], "Quatre", NOW).certificate
    known = Revocations()
    known.learn(Crl.parse(crl(leaf, [inner], NOW), "file"))
    assert known.standing(inner, leaf.certificate, NOW).status is Status.UNKNOWN


def test_a_changed_list_says_nothing(ours: Authority) -> None:
    der = bytearray(crl(ours.root, [ours.leaf], NOW))
    der[-1] ^= 1
    assert status(ours, bytes(der)) is Status.UNKNOWN


def distribution_point(**given: object) -> x509.IssuingDistributionPoint:
    values: dict[str, object] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**(values | given))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("extension", "why"),
    [
        (distribution_point(indirect_crl=True), "indirect"),
        (distribution_point(only_some_reasons=frozenset({x509.ReasonFlags.superseded})), "some reasons"),
        (distribution_point(only_contains_attribute_certs=True), "indirect"),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), "critical extension"),
    ],
)
def test_lists_that_say_less_than_all_are_refused(ours: Authority, extension: x509.ExtensionType, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        Crl.parse(crl(ours.root, [], NOW, extensions=[(extension, True)]), "url")


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        (distribution_point(only_contains_user_certs=True), Status.REVOKED),
        (distribution_point(only_contains_ca_certs=True), Status.UNKNOWN),
        (distribution_point(full_name=[x509.UniformResourceIdentifier(POINT)]), Status.UNKNOWN),
    ],
)
def test_a_list_speaks_within_its_scope(
    ours: Authority, point: x509.IssuingDistributionPoint, expected: Status
) -> None:
    assert status(ours, crl(ours.root, [ours.leaf], NOW, extensions=[(point, True)])) is expected


@pytest.mark.parametrize("data", [b"", b"\x30\x00", b"-----BEGIN X509 CRL-----\nAA==\n-----END X509 CRL-----\n"])
def test_what_is_no_list(data: bytes) -> None:
    with pytest.raises(Unusable):
        Crl.parse(data, "url")


def test_too_large() -> None:
    with pytest.raises(Unusable, match="too large"):
        Crl.parse(bytes(CRL_BYTES + 1), "url")
    with pytest.raises(Unusable, match="too large"):
        OcspAnswer.parse(bytes(OCSP_BYTES + 1), "url")


# OCSP


def responder(issuer: Issued, now: datetime = NOW, purpose: x509.ObjectIdentifier | None = None) -> Issued:
    """A responder that `issuer` appointed."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Répondeur")]))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + DAY)
        .add_extension(x509.ExtendedKeyUsage([purpose or ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )
    return Issued(certificate, key)


def told(ours: Authority, der: bytes, now: datetime = NOW) -> Status:
    known = Revocations()
    known.learn(OcspAnswer.parse(der, "url"))
    return known.judge(ours.path, now).status


@pytest.mark.parametrize("status", OCSPCertStatus)
def test_an_answer_of_the_issuer_or_of_whom_it_appointed(ours: Authority, status: OCSPCertStatus) -> None:
    for signer in (ours.root, responder(ours.root)):
        der = ocsp_answer(ours.leaf, ours.root.certificate, signer, NOW, status=status)
        assert told(ours, der).value == status.name.lower()


def test_an_answer_of_anybody_else_says_nothing(ours: Authority) -> None:
    stranger = new_root(NOW)
    for signer in (
        stranger,
        responder(stranger),
        responder(ours.root, purpose=ExtendedKeyUsageOID.CLIENT_AUTH),
        responder(ours.root, NOW - 3 * DAY),
        server(ours.root, ["pirate.exemple.fr"], "Trois", NOW),
    ):
        der = ocsp_answer(ours.leaf, ours.root.certificate, signer, NOW, status=OCSPCertStatus.REVOKED)
        assert told(ours, der) is Status.UNKNOWN


def test_an_answer_about_another_certificate_says_nothing(ours: Authority) -> None:
    other = server(ours.root, ["autre.exemple.fr"], "Deux", NOW).certificate
    assert told(ours, ocsp_answer(other, ours.root.certificate, ours.root, NOW)) is Status.UNKNOWN


def test_an_answer_holds_until_its_end(ours: Authority) -> None:
    der = ocsp_answer(ours.leaf, ours.root.certificate, ours.root, NOW)
    assert told(ours, der, NOW + DAY) is Status.GOOD
    assert told(ours, der, NOW + 2 * DAY) is Status.UNKNOWN
    endless = ocsp_answer(ours.leaf, ours.root.certificate, ours.root, NOW, lasts=None)
    assert told(ours, endless, NOW + DAY) is Status.GOOD
    assert told(ours, endless, NOW + 2 * DAY) is Status.UNKNOWN


def test_revoked_stays_revoked_past_the_end_of_the_answer(ours: Authority) -> None:
    der = ocsp_answer(ours.leaf, ours.root.certificate, ours.root, NOW, status=OCSPCertStatus.REVOKED)
    assert told(ours, der, NOW + 2 * DAY) is Status.REVOKED


def test_an_answer_without_the_responders_certificate_says_nothing(ours: Authority) -> None:
    der = ocsp_answer(ours.leaf, ours.root.certificate, responder(ours.root), NOW, sends=False)
    assert told(ours, der) is Status.UNKNOWN


@pytest.mark.parametrize("data", [b"", b"\x30\x03\x0a\x01\x06"])  # the second is "unauthorized" (RFC 6960 §4.2.1)
def test_what_is_no_answer(data: bytes) -> None:
    with pytest.raises(Unusable):
        OcspAnswer.parse(data, "url")
