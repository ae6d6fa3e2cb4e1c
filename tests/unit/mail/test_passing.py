"""A message that passes gives what the same message gives whole: structure, summary, header, what is signed."""

from __future__ import annotations

import hashlib
import random
from base64 import encodebytes
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto.smime.anchors import TrustAnchors
from crypto.smime.digested import HEAD
from crypto.smime.verdict import SubReason
from server.mail import content, passing
from server.mail.passing import PassingScanner, Shifted
from server.mail.scan import scan
from server.mail.signed import signed_data
from server.mail.structure import Finding
from server.mail.summary import summarise
from server.mail.trace import strip
from server.mailbox.understand import Understanding, understand

CASES = sorted(Path("tests/conformance/mime").rglob("*.eml"))


def passed(pieces: Iterable[bytes]) -> PassingScanner:
    scanner = PassingScanner()
    for piece in pieces:
        scanner.feed(piece)
    return scanner


def compare(data: bytes, pieces: Iterable[bytes]) -> None:
    """All that is asked of a message, of the whole and of what was kept."""
    scanner = passed(pieces)
    message = scanner.finish()
    assert message == scan(data)
    kept = scanner.kept
    assert summarise(message, kept) == summarise(message, data)
    header = b"Received: by us\r\n" + strip(message, kept, "msg.exemple.fr")
    assert header == b"Received: by us\r\n" + strip(message, data, "msg.exemple.fr")
    delta = len(header) - message.root.body_start
    marked = message.shifted(delta, header)
    whole = header + data[message.root.body_start :]
    assert summarise(marked, Shifted(kept, delta, header)) == summarise(marked, whole)
    found, expected = signed_data(message, kept, scanner.passed()), signed_data(message, data)
    assert (found is None) == (expected is None)
    if found is None or expected is None or found.cut:
        return
    if expected.kind == "detached":
        assert found.cms == expected.cms
    assert (found.micalg, found.path, found.at_top, found.outside, found.several, found.ambiguous) == (
        expected.micalg,
        expected.path,
        expected.at_top,
        expected.outside,
        expected.several,
        expected.ambiguous,
    )
    if isinstance(expected.content, bytes):
        assert not isinstance(found.content, bytes | None)
        for name in ("sha256", "sha384", "sha512"):
            assert found.content.digest(name) == hashlib.new(name, expected.content).digest()
        assert found.content.head == expected.content[:HEAD]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_the_corpus(case: Path) -> None:
    data = case.read_bytes()
    rng = random.Random(len(data))
    compare(data, [data])
    compare(data, cut(data, (rng.randrange(len(data) + 1) for _ in range(20))))
    # Longer than what a scanner may keep unneeded, so that parts do pass before the end.
    filler = b"x" * 70 + b"\r\n"
    large = data + filler * 2_000
    compare(large, cut(large, (rng.randrange(len(large)) for _ in range(60))))


LINES = st.sampled_from(
    [
        b"Content-Type: multipart/signed; boundary=a; micalg=sha-256",
        b"Content-Type: multipart/mixed; boundary=b",
        b"Content-Type: multipart/signed; boundary=c",
        b"Content-Type: application/pkcs7-signature",
        b"Content-Type: application/pkcs7-mime; smime-type=signed-data",
        b"Content-Type: application/pkcs7-mime",
        b"Content-Type: message/rfc822",
        b"Content-Type: text/html",
        b"Content-Transfer-Encoding: base64",
        b"From: a@b.example",
        b"Subject: " + b"long " * 300,
        b"",
        b"",
        b"text",
        b"x" * 5_000,
        b"--a",
        b"--a",
        b"--b",
        b"--c",
        b"--a--",
        b"--b--",
        b"--c--",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(LINES, max_size=40), st.lists(st.integers(0, 60_000), max_size=30), st.sampled_from([b"\r\n", b"\n"]))
def test_any_message_in_any_pieces(lines: list[bytes], places: list[int], ending: bytes) -> None:
    data = ending.join(lines)
    compare(data, cut(data, places))


def test_what_is_kept_is_bounded_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "KEPT", 50_000)
    part = b"--a\r\nContent-Type: message/rfc822\r\n\r\nSubject: " + b"y" * 20_000 + b"\r\n\r\ntext\r\n"
    data = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + part * 5 + b"--a--\r\n"
    message = passed([data]).finish()
    assert Finding.HEADER_TOO_LARGE in message.findings
    assert not message.readable


def test_a_signature_too_large_to_keep_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "KEPT", 10_000)
    data = (
        b"Content-Type: multipart/signed; boundary=a\r\n\r\n--a\r\n\r\ntext\r\n--a\r\n"
        b"Content-Type: application/pkcs7-signature\r\n\r\n" + b"x" * 70_000 + b"\r\n--a--\r\n"
    )
    scanner = passed([data])
    found = signed_data(scanner.finish(), scanner.kept, scanner.passed())
    assert found is not None
    assert found.cut


CMS = Path("tests/fuzz/seeds/cms")
ANCHORS = TrustAnchors.load([Path("tests/fuzz/cms_root.crt")])
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize("seed", sorted(CMS.iterdir()), ids=lambda path: path.name)
@pytest.mark.parametrize("encoding", ["base64", "binary", "quoted-printable"])
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(places=st.lists(st.integers(0, 6_000), max_size=30), filled=st.integers(0, 3))
def test_an_opaque_signature_has_the_same_verdict(seed: Path, encoding: str, places: list[int], filled: int) -> None:
    cms = seed.read_bytes()
    header = (
        b"From: aline.martin@mss.example.test\r\nContent-Type: application/pkcs7-mime; smime-type=signed-data\r\n"
        b"Content-Transfer-Encoding: " + encoding.encode() + b"\r\n\r\n"
    )
    body = encodebytes(cms).replace(b"\n", b"\r\n") if encoding == "base64" else cms
    data = header + body + b"\r\n" * filled * (encoding == "base64")
    understanding = Understanding()
    for piece in cut(data, places):
        understanding.feed(piece)
    verdict = understanding.finish(ANCHORS, NOON).verdict
    if encoding == "quoted-printable":  # nobody writes it, and it does not pass in pieces
        assert verdict.reason is SubReason.TOO_LARGE
    else:
        assert verdict == understand(data, ANCHORS, NOON).verdict


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=10), st.sampled_from([b"", b"=", b"==\r\nmore"]))
def test_base64_that_passes(plain: bytes, places: list[int], end: bytes) -> None:
    data = encodebytes(plain).replace(b"=", b"") + end + plain
    decoder = content.Base64()
    found = b"".join([*(decoder.update(piece) for piece in cut(data, places)), decoder.finish()])
    assert found == content.octets(data, "base64")
