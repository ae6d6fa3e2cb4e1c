from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.base.limits import IMAP_LINE, IMAP_LITERALS
from server.imap.grammar.reader import (
    Admission,
    Event,
    Frame,
    LineTooLong,
    LiteralRefused,
    Passed,
    Piece,
    Prompt,
    Reader,
)


def events(data: bytes, pieces: int = 0, limit: int = 1_000, passes_over: int = 0) -> list[Event]:
    """Everything a reader tells of `data`, fed whole or in pieces of that many octets."""

    def admit(text: bytes, taken: int, size: int, nonsync: bool) -> Admission:
        return Admission.ACCEPT if taken + size <= limit else Admission.TOO_BIG

    reader = Reader(admit)
    reader.longest_line, reader.passes_over = IMAP_LINE, passes_over
    told: list[Event] = []
    step = pieces or max(len(data), 1)
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
        while (event := reader.next_frame()) is not None:
            told.append(event)
            if isinstance(event, LineTooLong) or (isinstance(event, LiteralRefused) and event.fatal):
                return told
    return told


def test_a_literal_stands_as_one_nul() -> None:
    told = events(b"a LOGIN {4+}\r\nus\r\n {2}\r\npw\r\n")
    assert told == [Prompt(), Frame(b"a LOGIN \0 \0", (b"us\r\n", b"pw"))]


@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_a_large_literal_is_handed_on_while_it_comes(pieces: int) -> None:
    reader = Reader(lambda text, taken, size, nonsync: Admission.HAND_ON if size > 3 else Admission.ACCEPT)
    data = b"a APPEND x {3+}\r\nabc {9+}\r\nde\r\nfg\r\nh {5+}\r\nijklm\r\nb NOOP\r\n"
    passed, frames = [b"", b""], []
    for start in range(0, len(data), pieces):
        reader.feed(data[start : start + pieces])
        while (event := reader.next_frame()) is not None:
            if isinstance(event, Piece):
                passed[event.number] += event.data
            else:
                frames.append(event)
        assert reader.buffered < 20
    assert passed == [b"de\r\nfg\r\nh", b"ijklm"]
    assert frames == [Frame(b"a APPEND x \0 \0 \0", (b"abc", Passed(0, 9), Passed(1, 5))), Frame(b"b NOOP")]


def test_sizes_are_judged_before_the_octets() -> None:
    assert events(b"a X {1001}\r\nb NOOP\r\n") == [
        LiteralRefused(b"a X ", Admission.TOO_BIG, fatal=False),
        Frame(b"b NOOP"),
    ]
    assert events(b"a X {1001+}\r\nb NOOP\r\n") == [LiteralRefused(b"a X ", Admission.TOO_BIG, fatal=True)]
    assert events(b"a X {9999999999999999999}\r\n")[0] == LiteralRefused(b"a X ", Admission.TOO_BIG, fatal=False)
    many = b"a X" + b" {0+}\r\n" * (IMAP_LITERALS + 1) + b"\r\n"
    assert isinstance(events(many)[-1], LiteralRefused)


@pytest.mark.parametrize("pieces", [0, 1, 7])
def test_a_refused_literal_that_comes_anyway_is_passed_over(pieces: int) -> None:
    refused = LiteralRefused(b"a X ", Admission.TOO_BIG, fatal=False)
    rest = b" (more {4+}\r\nc X\n {2000}\r\n"
    data = b"a X {1001+}\r\n" + b"b NOOP\r\n" * 125 + b"x" + rest + b"d NOOP\r\n"
    assert events(data, pieces, passes_over=2_000) == [refused, Frame(b"d NOOP")]
    too_much = data.replace(rest, b" {2001+}\r\n")
    assert events(too_much, pieces, passes_over=2_000) == [replace(refused, fatal=True)]


def test_what_is_passed_over_is_not_kept() -> None:
    reader = Reader(lambda text, taken, size, nonsync: Admission.TOO_BIG)
    reader.passes_over = 10_000_000
    reader.feed(b"a X {5000000+}\r\n")
    for _ in range(50):
        assert reader.next_frame() is None
        assert reader.buffered == 0
        reader.feed(b"x" * 100_000)
    reader.feed(b"\r\n")
    assert isinstance(reader.next_frame(), LiteralRefused)


@pytest.mark.parametrize("line", [b"a NOOP\n", b"a NO\rOP\r\n", b"a NO\0OP\r\n"])
def test_faulty_lines_are_told_and_passed(line: bytes) -> None:
    first, second = events(line + b"b NOOP\r\n")
    assert isinstance(first, Frame)
    assert first.fault
    assert second == Frame(b"b NOOP")


def test_a_literal_behind_a_fault_is_not_read() -> None:
    refused = events(b"a \0 {3}\r\n")[0]
    assert refused == LiteralRefused(b"a ? ", Admission.SENSELESS, fatal=False)


def test_a_line_without_end_is_cut_off() -> None:
    assert events(b"a" * (IMAP_LINE + 1)) == [LineTooLong(b"")]
    assert events(b"a" * IMAP_LINE + b"\n") != [LineTooLong(b"")]
    halves = b"a" * (IMAP_LINE // 2) + b" {0+}\r\n" + b"b" * (IMAP_LINE // 2) + b"\r\n"
    assert isinstance(events(halves)[-1], LineTooLong)


def test_what_was_buffered_is_forgotten() -> None:
    reader = Reader(lambda *_: Admission.ACCEPT)
    reader.feed(b"a STARTTLS\r\nb LOGIN {3}\r\nx")
    assert reader.next_frame() == Frame(b"a STARTTLS")
    reader.clear()
    reader.feed(b"c NOOP\r\n")
    assert reader.next_frame() == Frame(b"c NOOP")


PIECES = st.sampled_from(
    [b"a NOOP", b"\r\n", b"\n", b"\r", b"{3}\r\n", b"{3+}\r\n", b"{2000}", b"~{1+}\r\n", b'"x"', b"\0", b" "]
)


@given(st.lists(PIECES | st.binary(max_size=4), max_size=20).map(b"".join), st.integers(1, 3))
def test_in_pieces_as_whole(data: bytes, pieces: int) -> None:
    assert events(data, pieces) == events(data)
