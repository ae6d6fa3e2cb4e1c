"""Any bytes as a question to our responder.

Invariant: it answers with a response that can be read, and says "good" of nothing, for it gave nothing. The seeds ask
about a certificate of its own authority, with a nonce and without.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.x509 import ocsp

from crypto.pki import authority
from crypto.pki.issue import Holder, issue, new_root
from crypto.pki.profile import Profile, ProfileName
from crypto.pki.responder import Responder

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ROOT = x509.load_pem_x509_certificates((Path(__file__).parent / "revocation.crt").read_bytes())[0]


@cache
def _responder() -> Responder:
    folder = Path(tempfile.mkdtemp(prefix="caducee-fuzz-"))
    root = new_root(NOW)
    authority.publish(folder, root, NOW)
    signer = issue(root, Profile.load(ProfileName.RESPONDER), Holder({"common_name": "OCSP"}), NOW)
    authority.issued_file(folder).touch()
    return Responder(ROOT, signer, authority.list_file(folder), authority.issued_file(folder))


def fuzz(data: bytes) -> None:
    response = ocsp.load_der_ocsp_response(_responder().answer(data, NOW).response)
    if response.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL:
        assert response.certificate_status is not ocsp.OCSPCertStatus.GOOD
