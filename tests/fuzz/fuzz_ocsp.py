"""Any bytes as a responder's answer.

Invariant: they are an answer or Unusable; asking never raises; and what the seeds' authority is taken to say is what it
said of `LEAF` (revoked) and of `OTHER` (good). Its key exists no more.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from crypto.pki.ocsp import OcspAnswer
from crypto.pki.standing import Status, Unusable

HERE = Path(__file__).parent
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
ROOT, LEAF, OTHER = x509.load_pem_x509_certificates((HERE / "revocation.crt").read_bytes())


def fuzz(data: bytes) -> None:
    try:
        found = OcspAnswer.parse(data, "fuzz")
    except Unusable:
        return
    for certificate, said in ((LEAF, Status.REVOKED), (OTHER, Status.GOOD)):
        answer = found.answer(certificate, ROOT, NOON)
        assert answer is None or answer.status is said
