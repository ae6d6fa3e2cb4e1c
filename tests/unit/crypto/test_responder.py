from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from crypto.pki import authority
from crypto.pki.issue import Holder, Issued, issue, new_root, renewed, server
from crypto.pki.ocsp import OcspAnswer, request_bytes
from crypto.pki.profile import Profile, ProfileName
from crypto.pki.responder import REQUEST_BYTES, Responder
from crypto.pki.standing import Status

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Pki:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = new_root(NOW)
        self.root.save(folder, "root")
        authority.publish(folder, self.root, NOW)
        self.good, self.bad = (server(self.root, [name], "X", NOW) for name in ("a.example", "b.example"))
        signer = issue(self.root, Profile.load(ProfileName.RESPONDER), Holder({"common_name": "OCSP"}), NOW)
        authority.record(folder, [one.certificate for one in (self.good, self.bad, signer)])
        files = authority.list_file(folder), authority.issued_file(folder)
        self.responder = Responder(self.root.certificate, signer, *files)

    def says(self, certificate: x509.Certificate, now: datetime = NOW) -> Status | None:
        """What our own reader of answers makes of it."""
        answered = self.responder.answer(request_bytes(certificate, self.root.certificate, b""), now)
        found = OcspAnswer.parse(answered.response, "test").answer(certificate, self.root.certificate, now)
        return found.status if found else None


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


def test_what_was_given_is_good_what_is_on_the_list_revoked_all_else_unknown(pki: Pki) -> None:
    assert (pki.says(pki.good.certificate), pki.says(pki.bad.certificate)) == (Status.GOOD, Status.GOOD)
    reason = x509.ReasonFlags.key_compromise
    authority.revoke(pki.folder, pki.bad.certificate, NOW, reason=reason)
    authority.revoke(pki.folder, pki.bad.certificate, NOW + timedelta(days=1))  # a second time changes nothing
    assert (pki.says(pki.good.certificate), pki.says(pki.bad.certificate)) == (Status.GOOD, Status.REVOKED)
    stranger = server(pki.root, ["c.example"], "X", NOW)  # signed with our key, and nobody remembers it
    assert pki.says(stranger.certificate) is Status.UNKNOWN


def test_a_nonce_comes_back_and_such_an_answer_is_not_kept(pki: Pki) -> None:
    nonce = os.urandom(32)
    builder = ocsp.OCSPRequestBuilder().add_certificate(pki.good.certificate, pki.root.certificate, hashes.SHA256())
    request = builder.add_extension(x509.OCSPNonce(nonce), critical=False).build().public_bytes(Encoding.DER)
    answered = pki.responder.answer(request, NOW)
    response = ocsp.load_der_ocsp_response(answered.response)
    assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
    assert answered.keep_until is None
    plain = pki.responder.answer(request_bytes(pki.good.certificate, pki.root.certificate, b""), NOW)
    assert plain.keep_until == ocsp.load_der_ocsp_response(plain.response).next_update_utc


@pytest.mark.parametrize("request_", [b"", b"\x30\x00", b"x" * 100, b"\x30" * (REQUEST_BYTES + 1)])
def test_what_is_no_request_is_malformed(pki: Pki, request_: bytes) -> None:
    response = ocsp.load_der_ocsp_response(pki.responder.answer(request_, NOW).response)
    assert response.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_another_authoritys_certificate_is_not_spoken_of(pki: Pki) -> None:
    other = new_root(NOW)
    asked = request_bytes(server(other, ["d.example"], "X", NOW).certificate, other.certificate, b"")
    # the same name, another key
    response = ocsp.load_der_ocsp_response(pki.responder.answer(asked, NOW).response)
    assert response.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


def test_without_its_files_it_says_later(pki: Pki) -> None:
    authority.list_file(pki.folder).unlink()
    asked = request_bytes(pki.good.certificate, pki.root.certificate, b"")
    response = ocsp.load_der_ocsp_response(pki.responder.answer(asked, NOW).response)
    assert response.response_status is ocsp.OCSPResponseStatus.TRY_LATER


def test_a_renewed_certificate_is_the_same_but_for_key_number_and_time(pki: Pki) -> None:
    later = NOW + timedelta(days=1_000)
    former: Issued = issue(
        pki.root,
        Profile.load(ProfileName.SERVER),
        Holder({"common_name": "a.example"}, hosts=["a.example"]),
        NOW,
        published="http://pki.example",
    )
    again = renewed(pki.root, former.certificate, later).certificate
    again.verify_directly_issued_by(pki.root.certificate)
    assert again.subject == former.certificate.subject
    assert again.public_key() != former.certificate.public_key()
    assert again.serial_number != former.certificate.serial_number
    assert again.not_valid_after_utc == former.certificate.not_valid_after_utc + timedelta(days=1_000)
    kinds = (x509.SubjectAlternativeName, x509.CRLDistributionPoints, x509.AuthorityInformationAccess, x509.KeyUsage)
    for kind in kinds:
        was, now = (one.extensions.get_extension_for_class(kind).value for one in (former.certificate, again))
        assert was == now
