"""Any bytes as a signed document.

Invariant: `examine` gives facts and `judge` verdicts, whatever it is; facts and verdicts survive their passage as JSON;
a verdict is PASSED only where the document begins as the seeds' signer signed it, and names that signer.
The seeds are signed under `pdf_root.crt`, whose keys exist no more. Time and memory are bounded around `examine`, by
the process it runs in (`tests/unit/crypto/test_pades.py`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from crypto.pades.examine import examine
from crypto.pades.facts import Examined
from crypto.pades.judge import judge
from crypto.pades.verdict import PdfVerdict
from crypto.smime.anchors import TrustAnchors
from crypto.smime.verdict import Status

DAY = datetime(2026, 11, 27, tzinfo=UTC)
ANCHORS = TrustAnchors.load([Path(__file__).with_name("pdf_root.crt")])
# What the signatures cover before themselves.
SIGNED = tuple(
    (Path(__file__).parent / "seeds/pdf" / name).read_bytes().partition(b"/Contents <")[0]
    for name in ("signed.pdf", "proven.pdf")
)


def fuzz(data: bytes) -> None:
    examined = examine(data)
    assert Examined.from_bytes(examined.to_bytes()) == examined
    for verdict in judge(examined, ANCHORS, ANCHORS, DAY):
        assert PdfVerdict.from_json(verdict.to_json()) == verdict
        assert (verdict.status is Status.PASSED) == (verdict.reason == "valid")
        if verdict.status is Status.PASSED:
            assert verdict.signer is not None
            assert verdict.signer.rpps == "10000000017"
            assert data.startswith(SIGNED)
