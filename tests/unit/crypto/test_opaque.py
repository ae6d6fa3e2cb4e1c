"""An opaque signature that passes: the verdict of the whole, and nothing of its content kept."""

from __future__ import annotations

from datetime import datetime

import pytest

from crypto.pki.issue import Issued
from crypto.smime import opaque
from crypto.smime.anchors import TrustAnchors
from crypto.smime.opaque import OpaqueReader
from crypto.smime.sign import sign
from crypto.smime.signed_data import Kind, SignedData
from crypto.smime.tlv import OCTET_STRING, element, encoded
from crypto.smime.verdict import Status, SubReason, Verdict
from crypto.smime.verify import verify
from tests.unit.crypto.conftest import DOCTOR

ENTITY = b"Content-Type: image/png\r\n\r\n" + bytes(range(256)) * 4_000
STEP = 10_000


def streamed(cms: bytes) -> bytes:
    """The object as streaming signers write it (OpenSSL, Bouncy Castle): indefinite lengths, the content in pieces."""
    _, at, *_ = element(cms, 0, len(cms))
    kind = element(cms, at, len(cms))
    wrapper = element(cms, kind.after, len(cms))
    signed = element(cms, wrapper.start, len(cms))
    version = element(cms, signed.start, len(cms))
    digests = element(cms, version.after, len(cms))
    enclosed = element(cms, digests.after, len(cms))
    content_type = element(cms, enclosed.start, len(cms))
    pieces = b"".join(encoded(OCTET_STRING, ENTITY[at : at + 1_000]) for at in range(0, len(ENTITY), 1_000))
    return (
        b"\x30\x80"
        + cms[at : kind.after]
        + b"\xa0\x80\x30\x80"
        + cms[signed.start : digests.after]
        + b"\x30\x80"
        + cms[enclosed.start : content_type.after]
        + b"\xa0\x80\x24\x80"
        + pieces
        + b"\0\0" * 3
        + cms[enclosed.after :]
        + b"\0\0" * 3
    )


def passed(cms: bytes) -> tuple[bytes, SignedData]:
    reader = OpaqueReader()
    for at in range(0, len(cms), STEP):
        reader.update(cms[at : at + STEP])
        assert len(reader._held) < 2 * STEP
    left, content = reader.finish()
    return left, SignedData(Kind.OPAQUE, content, left)


@pytest.fixture(scope="module")
def whole(rsa_signer: Issued, noon: datetime) -> bytes:
    return sign(ENTITY, rsa_signer, noon, kind=Kind.OPAQUE)


@pytest.mark.parametrize("form", ["der", "ber"])
def test_the_verdict_is_that_of_the_whole(whole: bytes, form: str, anchors: TrustAnchors, noon: datetime) -> None:
    cms = whole if form == "der" else streamed(whole)

    def judged(found: SignedData) -> Verdict:
        return verify(found, [DOCTOR], anchors, noon)

    left, found = passed(cms)
    assert len(left) < 10_000
    assert judged(found) == judged(SignedData(Kind.OPAQUE, None, cms))
    assert judged(found).status is Status.PASSED
    changed = bytearray(cms)
    changed[len(cms) // 2] ^= 1
    verdict = judged(passed(bytes(changed))[1])
    assert (verdict.status, verdict.reason) == (Status.FAILED, SubReason.TAMPERED)
    for cut in (len(cms) // 2, len(cms) - 100, len(cms) - 1):
        assert judged(passed(cms[:cut])[1]).reason is SubReason.MALFORMED
    assert judged(passed(cms + b"\0")[1]).reason is SubReason.MALFORMED


def test_too_much_behind_the_content_is_not_kept(whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opaque, "DETACHED_BYTES", 1_000)
    reader = OpaqueReader()
    reader.update(whole)
    assert reader.too_large
    assert not reader._held
