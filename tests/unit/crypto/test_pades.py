"""Signed documents: each level, each kind of tampering, both ways with poppler, and the card of a doctor."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from crypto.errors import CryptoError
from crypto.pades.examine import examine
from crypto.pades.examiner import UNREADABLE, Examiner
from crypto.pades.facts import Changes, Examined
from crypto.pades.judge import judge
from crypto.pades.sign import Material, file_signer, sign
from crypto.pades.token import token_signer
from crypto.pades.verdict import Doubt, Level, PdfVerdict, Reason
from crypto.pki.crl import Crl
from crypto.pki.issue import Issued, new_root, professional
from crypto.pki.profile import KeyKind
from crypto.smime.anchors import TrustAnchors
from crypto.smime.verdict import Status
from tests.documents import altered, card, document, openssl_stamps, stamper
from tests.programs import need
from tests.revocation_lists import crl

DOCTOR = "aline.martin@mss.example.test"
RPPS = "10000000017"
NOW = datetime.now(UTC)  # a time-stamp authority of another make has the machine's clock
LATER = NOW + timedelta(days=4000)  # when every certificate here has expired

Stamps = Callable[[bytes], Awaitable[bytes]]


@pytest.fixture(scope="module")
def root() -> Issued:
    return new_root(NOW)


@pytest.fixture(scope="module")
def doctor(root: Issued) -> Issued:
    return professional(root, DOCTOR, "Aline MARTIN", RPPS, NOW)


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory, root: Issued) -> Stamps:
    reply = openssl_stamps(tmp_path_factory.mktemp("tsa"), stamper(root, NOW))

    async def posted(query: bytes) -> bytes:
        return reply(query)

    return posted


@pytest.fixture(scope="module")
def proofs(root: Issued) -> Material:
    return Material([root.certificate], [crl(root, [], NOW - timedelta(minutes=1))])


@pytest.fixture(scope="module")
def stamped(doctor: Issued, post: Stamps) -> bytes:
    return asyncio.run(sign(document(), file_signer(doctor), Level.T, post=post))


def verdicts(pdf: bytes, root: Issued, now: datetime | None = None) -> list[PdfVerdict]:
    anchors = TrustAnchors([root.certificate])
    examined = examine(pdf)
    assert Examined.from_bytes(examined.to_bytes()) == examined
    found = judge(examined, anchors, anchors, now or datetime.now(UTC))
    assert [PdfVerdict.from_json(one.to_json()) for one in found] == found
    return found


def verdict(pdf: bytes, root: Issued, now: datetime | None = None) -> PdfVerdict:
    (found,) = verdicts(pdf, root, now)
    return found


async def test_levels(root: Issued, doctor: Issued, post: Stamps, proofs: Material) -> None:
    plain = await sign(document(), file_signer(doctor), Level.B)
    found = verdict(plain, root)
    assert (found.status, found.reason, found.level) == (Status.PASSED, Reason.VALID, Level.B)
    assert found.signer is not None
    assert (found.signer.rpps, found.signer.addresses) == (RPPS, (DOCTOR,))
    assert set(found.doubts) == {Doubt.TIME_NOT_PROVEN, Doubt.REVOCATION_NOT_CHECKED}
    assert verdict(plain, root, LATER).reason is Reason.EXPIRED
    proven = await sign(document(), file_signer(doctor), Level.LT, post=post, material=proofs)
    for now in (None, LATER):
        found = verdict(proven, root, now)
        assert (found.status, found.level, found.doubts) == (Status.PASSED, Level.LT, ())
        assert found.time is not None
        assert abs(found.time - datetime.now(UTC)) < timedelta(minutes=5)


async def test_a_time_stamp_outlives_the_certificate(root: Issued, stamped: bytes) -> None:
    found = verdict(stamped, root, LATER)
    assert (found.status, found.level) == (Status.PASSED, Level.T)
    # The stamp of an authority that nobody here knows proves nothing.
    anchors, stranger = TrustAnchors([root.certificate]), TrustAnchors([new_root(NOW).certificate])
    (unknown,) = judge(examine(stamped), anchors, stranger, datetime.now(UTC))
    assert (unknown.status, unknown.level) == (Status.PASSED, Level.B)
    assert Doubt.TIME_NOT_PROVEN in unknown.doubts


async def test_an_elliptic_key(root: Issued, stamped: bytes) -> None:
    colleague = professional(root, DOCTOR, "Paul DURAND", RPPS, NOW, kind=KeyKind.P256)
    assert verdict(await sign(document(), file_signer(colleague), Level.B), root).status is Status.PASSED
    with pytest.raises(CryptoError, match="forbids"):  # the first signature certified it
        await sign(stamped, file_signer(colleague), Level.B)


async def test_what_was_changed_is_told(root: Issued, stamped: bytes) -> None:
    assert verdict(altered(stamped), root).reason is Reason.MODIFIED
    assert verdict(stamped.replace(b"(Amoxicilline 1 g)", b"(Amoxicilline 9 g)"), root).reason is Reason.TAMPERED
    assert verdict(stamped + b"% not in any revision\n", root).reason is Reason.MODIFIED
    assert verdicts(document(), root) == []
    for broken in (stamped[:-200], stamped[: len(stamped) // 2], b"%PDF-1.7 /ByteRange", b"/ByteRange"):
        assert all(one.status is not Status.PASSED for one in verdicts(broken, root)), broken[:20]


async def test_who_may_not_be_believed(root: Issued, doctor: Issued, post: Stamps, stamped: bytes) -> None:
    stranger = professional(new_root(NOW), DOCTOR, "Aline MARTIN", RPPS, NOW)
    found = verdict(await sign(document(), file_signer(stranger), Level.B), root)
    assert (found.status, found.reason) == (Status.INDETERMINATE, Reason.UNTRUSTED)
    examined = examine(stamped)
    swapped = replace(examined.signatures[0], certificate=root.certificate.public_bytes(Encoding.DER))
    anchors = TrustAnchors([root.certificate])
    (found,) = judge(replace(examined, signatures=(swapped,)), anchors, anchors, NOW)
    assert (found.status, found.reason) == (Status.FAILED, Reason.NOT_FOR_SIGNING)


async def test_revoked_before_or_after_the_stamp(root: Issued, doctor: Issued, stamped: bytes) -> None:
    for when, reason in (
        (NOW - timedelta(hours=1), Reason.REVOKED),
        (datetime.now(UTC) + timedelta(hours=1), Reason.VALID),
    ):
        anchors = TrustAnchors([root.certificate])
        anchors.revocations.learn(Crl.parse(crl(root, [doctor.certificate], when), "list"))
        (found,) = judge(examine(stamped), anchors, anchors, datetime.now(UTC) + timedelta(hours=2))
        assert found.reason is reason


async def test_nothing_is_signed_by_halves(doctor: Issued, root: Issued, post: Stamps) -> None:
    async def nothing(query: bytes) -> bytes:
        return b"no stamp"

    signer = file_signer(doctor)
    with pytest.raises(CryptoError, match="level"):
        await sign(document(), signer, Level.T)
    with pytest.raises(CryptoError):
        await sign(document(), signer, Level.T, post=nothing)
    with pytest.raises(CryptoError, match="validated"):
        await sign(document(), signer, Level.LT, post=post, material=Material([root.certificate]))
    with pytest.raises(CryptoError):
        await sign(b"no PDF", signer, Level.B)


async def test_a_stamp_for_another_document_is_none(doctor: Issued, post: Stamps) -> None:
    first = []

    async def same(query: bytes) -> bytes:
        first.append(await post(query))
        return first[0]

    with pytest.raises(CryptoError, match="stamp"):
        await sign(document(), file_signer(doctor), Level.T, post=same)


async def test_poppler_agrees(tmp_path: Path, stamped: bytes) -> None:
    def pdfsig(pdf: bytes) -> str:
        (tmp_path / "document.pdf").write_bytes(pdf)
        return subprocess.run(
            [need("pdfsig"), tmp_path / "document.pdf"], capture_output=True, text=True, check=False
        ).stdout

    told = pdfsig(stamped)
    assert "Signature Validation: Signature is Valid." in told
    assert "Total document signed" in told
    assert "ETSI.CAdES.detached" in told
    assert "Aline MARTIN" in told
    assert "Digest Mismatch" in pdfsig(stamped.replace(b"(Amoxicilline 1 g)", b"(Amoxicilline 9 g)"))
    assert "Not total document signed" in pdfsig(altered(stamped))


async def test_a_card_signs(tmp_path: Path, root: Issued, doctor: Issued, post: Stamps) -> None:
    with card(tmp_path / "card", doctor, "CPS", "signature", "1234") as module:
        with token_signer(module, "CPS", "1234", "signature") as signer:
            signed = await sign(document(), signer, Level.T, post=post)
        assert verdict(signed, root).status is Status.PASSED
        with pytest.raises(CryptoError, match="PinIncorrect"), token_signer(module, "CPS", "9999", "signature"):
            pass
        with pytest.raises(CryptoError), token_signer(module, "no such", "1234", "signature"):
            pass
        with pytest.raises(CryptoError), token_signer(module, "CPS", "1234", "no such") as signer:
            await sign(document(), signer, Level.B)


async def test_examined_in_a_process_of_its_own(stamped: bytes) -> None:
    async with Examiner() as examiner:
        assert await examiner.examine(document()) == Examined()
        assert await examiner.examine(stamped) == examine(stamped)
        assert (await examiner.examine(altered(stamped))).signatures[0].changes is Changes.OTHER
        assert await examiner.examine(b"/ByteRange" + bytes(1024)) == examine(b"/ByteRange")


async def test_what_takes_too_long_is_left(stamped: bytes) -> None:
    async with Examiner(seconds=0.01) as examiner:
        assert await examiner.examine(stamped) == UNREADABLE
