"""Any bytes as the signature of a message.

Invariant: `verify` gives a verdict and raises nothing; it is PASSED only for the content that the seeds' signer signed,
with that signer's certificate; the verdict survives storage; it is the same where an opaque signature passes, however
it is cut; and `enclosed_content` gives what was judged or says no.
The seeds are signatures of `ENTITY` under `cms_root.crt`, whose keys exist no more.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from crypto.errors import CryptoError
from crypto.smime.anchors import TrustAnchors
from crypto.smime.opaque import OpaqueReader
from crypto.smime.signed_data import Kind, SignedData, enclosed_content
from crypto.smime.verdict import Status, Verdict
from crypto.smime.verify import verify

ENTITY = b"Content-Type: text/plain; charset=utf-8\r\n\r\nAmoxicilline 1 g.\r\n"
DOCTOR = "aline.martin@mss.example.test"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ANCHORS = TrustAnchors.load([Path(__file__).with_name("cms_root.crt")])


def fuzz(data: bytes) -> None:
    for found in (
        SignedData(Kind.DETACHED, ENTITY, data, "sha-256"),
        SignedData(Kind.DETACHED, data, data),
        SignedData(Kind.OPAQUE, None, data),
    ):
        verdict = verify(found, [DOCTOR], ANCHORS, NOON)
        assert Verdict.from_json(verdict.to_json()) == verdict
        assert (verdict.status is Status.PASSED) == (verdict.reason == "valid")
        if verdict.status is Status.PASSED:
            assert verdict.signer is not None
            assert (verdict.signer.addresses, verdict.signer.rpps) == ((DOCTOR,), "10000000017")
            assert (found.content if found.kind is Kind.DETACHED else enclosed_content(data)) == ENTITY
    for step in (1, 7, max(1, len(data))):
        passed = OpaqueReader()
        for start in range(0, len(data), step):
            passed.update(data[start : start + step])
        cms, content = passed.finish()
        assert verify(SignedData(Kind.OPAQUE, content, cms), [DOCTOR], ANCHORS, NOON) == verdict
    try:
        enclosed_content(data)
    except CryptoError:
        assert verdict.status is Status.FAILED
