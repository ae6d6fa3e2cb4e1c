"""Any bytes as a revocation list.

Invariant: they are a list or Unusable; asking never raises; and what the seeds' authority is taken to say is what it
said: `LEAF` is revoked, the authority itself is not spoken of. Its key exists no more.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from crypto.pki.crl import Crl
from crypto.pki.standing import Status, Unusable

HERE = Path(__file__).parent
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
ROOT, LEAF, OTHER = x509.load_pem_x509_certificates((HERE / "revocation.crt").read_bytes())


def fuzz(data: bytes) -> None:
    try:
        found = Crl.parse(data, "fuzz")
    except Unusable:
        return
    for now in (NOON, NOON + timedelta(days=9_999)):
        revoked, good = found.answer(LEAF, ROOT, now), found.answer(OTHER, ROOT, now)
        assert revoked is None or revoked.status is Status.REVOKED
        assert good is None or good.status is (Status.GOOD if now == NOON else Status.UNKNOWN)
