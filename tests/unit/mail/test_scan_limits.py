"""What hostile input may cost, and that a scan is the same however the bytes come."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.base.limits import MIME_DEPTH, MIME_HEADER_BYTES, MIME_HEADER_COUNT, MIME_PARAMETERS, MIME_PARTS
from server.mail.scan import Finding, Message, Scanner, scan
from server.mail.summary import Summary, summarise

HEAD = b"From: a@b.example\r\n"
MULTIPART = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"

# Pieces that matter to a scanner, so that joined at random they often make half a message.
PIECES = st.lists(
    st.sampled_from(
        [
            b"--b",
            b"--b--",
            b"--bb",
            b"--bb--",
            b"\r\n",
            b"\n",
            b"\r",
            b" ",
            b"--",
            b"Content-Type: multipart/mixed; boundary=b",
            b"Content-Type: multipart/mixed; boundary=bb",
            b"Content-Type: message/rfc822",
            b"Content-Type: text/html",
            b"Content-Transfer-Encoding: base64",
            b"From: a@b",
            b"x" * 1_100,
            b"\0",
            b"\xe9",
        ]
    ),
    max_size=60,
)


def in_pieces(data: bytes, cuts: list[int]) -> Message:
    scanner = Scanner()
    places = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(places):
        scanner.feed(data[start:end])
    return scanner.finish()


@settings(max_examples=300, deadline=None)
@given(PIECES, st.data())
def test_pieces_do_not_matter(pieces: list[bytes], draw: st.DataObject) -> None:
    data = MULTIPART + b"".join(pieces)
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=8))
    assert in_pieces(data, cuts) == scan(data)


@settings(max_examples=60, deadline=None)
@given(PIECES)
def test_byte_by_byte(pieces: list[bytes]) -> None:
    data = MULTIPART + b"".join(pieces[:30])
    assert in_pieces(data, list(range(len(data)))) == scan(data)


def test_a_fed_scanner_keeps_little() -> None:
    scanner = Scanner()
    scanner.feed(MULTIPART + b"--b\r\nContent-Type: text/plain\r\n\r\n")
    for _ in range(400):
        scanner.feed(b"line of text\r\n" * 600)
        assert len(scanner._data) < 20_000
    scanner.feed(b"\r\n--b--\r\n")
    message = scanner.finish()
    assert message.root.children[0].lines == 400 * 600
    assert message.findings == ()


def test_a_header_without_end_is_cut() -> None:
    data = HEAD + b"X: " + b"y" * (2 * MIME_HEADER_BYTES)
    scanner = Scanner()
    for at in range(0, len(data), 10_000):
        scanner.feed(data[at : at + 10_000])
        assert len(scanner._data) < MIME_HEADER_BYTES + 20_000
    message = scanner.finish()
    assert message == scan(data)
    assert Finding.HEADER_TOO_LARGE in message.findings
    assert not message.readable


def test_depth_is_bounded() -> None:
    data = HEAD + b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (number, number) for number in range(100)
    )
    message = scan(data + b"\r\nx\r\n")
    parts = list(message.parts())
    assert len(parts) == MIME_DEPTH + 1
    assert parts[-1].opaque
    assert parts[-1].content_type == "application/octet-stream"
    assert Finding.TOO_DEEP in message.findings
    assert not message.readable


def test_messages_in_messages_are_bounded() -> None:
    message = scan(HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 100 + b"x\r\n")
    assert len(list(message.parts())) == MIME_DEPTH + 1
    assert Finding.TOO_DEEP in message.findings


def test_parts_are_bounded_and_the_rest_is_kept() -> None:
    data = MULTIPART + b"--b\r\n\r\nx\r\n" * (3 * MIME_PARTS) + b"--b--\r\n"
    message = scan(data)
    children = message.root.children
    assert len(children) == MIME_PARTS
    assert children[-1].opaque
    assert children[-1].body_end == len(data)
    assert Finding.TOO_MANY_PARTS in message.findings
    assert in_pieces(data, list(range(0, len(data), 997))) == message


def test_lines_like_delimiters_are_bounded() -> None:
    data = MULTIPART + b"--b\r\n\r\n" + b"--bx\r\n" * (3 * MIME_PARTS) + b"--b--\r\n"
    message = scan(data)
    assert {Finding.DELIMITER_LIKE, Finding.TOO_MANY_PARTS} <= set(message.findings)
    assert message.root.children[-1].body_end == len(data)


def test_fields_and_parameters_are_bounded() -> None:
    message = scan(b"X: y\r\n" * (MIME_HEADER_COUNT + 1) + b"\r\nx")
    assert len(message.headers) == MIME_HEADER_COUNT
    assert Finding.TOO_MANY_HEADERS in message.findings
    many = b"".join(b"; p%d=x" % number for number in range(MIME_PARAMETERS + 10))
    message = scan(HEAD + b"Content-Type: text/plain" + many + b"\r\n\r\nx")
    assert len(message.root.params) == MIME_PARAMETERS
    assert Finding.TOO_MANY_PARAMETERS in message.findings


def steps(data: bytes) -> int:
    """How often the scanner asked for a byte string, in the only unit that does not depend on the machine."""

    class Counting(bytes):
        searched = 0

        def find(self, *arguments: object) -> int:  # type: ignore[override]
            at = bytes.find(self, *arguments)  # type: ignore[arg-type]
            start, end = arguments[1], arguments[2]
            assert isinstance(start, int)
            assert isinstance(end, int)
            Counting.searched += max(0, (at if at >= 0 else min(end, len(self))) - start)
            return at

    scan(Counting(data))
    return Counting.searched


@pytest.mark.parametrize(
    "part",
    [
        b"--b\r\nContent-Type: multipart/mixed; boundary=never%d\r\n\r\nx\r\n",
        b"--b\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\nx\r\n",
        b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: %d\r\n\r\nx\r\n",
    ],
)
def test_search_is_linear_however_many_multiparts_are_open(part: bytes) -> None:
    data = MULTIPART + b"".join(part % number for number in range(MIME_PARTS - 2)) + b"y" * 500_000
    assert steps(data) < 8 * len(data)


def test_a_message_is_scanned_once_then_shifted() -> None:
    data = MULTIPART + b"--b\r\n\r\nx\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nz\r\n--b--\r\n"
    header = b"Received: by mail.example;\r\n\tTue, 24 Nov 2026 10:00:00 +0100\r\n" + MULTIPART
    message = scan(data)
    moved = message.shifted(len(header) - len(MULTIPART), header)
    assert moved == scan(header + data[len(MULTIPART) :])
    assert message == scan(data)
    with pytest.raises(ValueError, match="header of"):
        message.shifted(1, header)


def test_summary_is_stored_and_read_back() -> None:
    data = MULTIPART.replace(b"a@b.example", b"=?utf-8?q?=C3=89?= <a@b.example>") + b"--b\r\n\r\nx \xe9\r\n--b--\r\n"
    summary = summarise(scan(data), data, {"status": "passed", "signer": None})
    assert Summary.from_bytes(summary.to_bytes()) == summary
    assert summary.from_[0].name == "É"
    assert summary.verdict["status"] == "passed"
    with pytest.raises(ValueError, match="version"):
        Summary.from_bytes(b"[0]")


def test_a_large_header_is_flagged_in_the_summary() -> None:
    data = b"X: " + b"y" * 70_000 + b"\r\n" + HEAD + b"\r\nx"
    summary = summarise(scan(data), data)
    assert not summary.header_complete
    assert summary.header == data[: len(summary.header)]
    assert summary.from_[0].address == "a@b.example"
