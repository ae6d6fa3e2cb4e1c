"""The reader: lines and contents, whole and byte by byte, and the attacks on the border between them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.base.errors import CaduceeError, ProtocolViolation, Reason, Refused, TryLater
from server.smtp.reader import Reader

LINE = 100
LIMIT = 1_000

Outcome = bytes | Reason


def contents(reader: Reader, pieces: Iterable[bytes], whole: int = 2 * LIMIT) -> list[Outcome]:
    """Read one content, in parts where it is larger than `whole`, then command lines."""
    outcomes: list[Outcome] = []
    reader.start_content(LIMIT, whole)
    in_content = True
    parts = b""
    for piece in (b"", *pieces):
        reader.feed(piece)
        while True:
            try:
                value = reader.content() if in_content else reader.line()
            except CaduceeError as error:
                outcomes.append(error.reason)
                in_content = False
                continue
            if value is None:
                break
            if in_content:
                parts += value
                if reader.in_content:
                    continue
                value = parts
            outcomes.append(value)
            in_content = False
    return outcomes


def whole_and_bytewise(data: bytes) -> list[Outcome]:
    whole = contents(Reader(LINE), [data])
    for size in (1, 3, len(data)):
        pieces = [data[i : i + size] for i in range(0, len(data), size)]
        assert contents(Reader(LINE), pieces) == whole
        assert contents(Reader(LINE), pieces, whole=8) == whole
    return whole


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b".\r\n", [b""]),
        (b"\r\n.\r\n", [b"\r\n"]),
        (b"A: b\r\n\r\ntext\r\n.\r\nQUIT\r\n", [b"A: b\r\n\r\ntext\r\n", b"QUIT"]),
        (b"..\r\n.\r\n", [b".\r\n"]),
        (b"..leading\r\n...three\r\n.one\r\n.\r\n", [b".leading\r\n..three\r\none\r\n"]),
        (b"a.\r\n.\r\n", [b"a.\r\n"]),
        (b"nul \0 stays\r\n.\r\n", [b"nul \0 stays\r\n"]),
        (b"....\r\n..\r\n.\r\nNOOP\r\n", [b"...\r\n.\r\n", b"NOOP"]),
    ],
)
def test_content(sent: bytes, expected: list[Outcome]) -> None:
    assert whole_and_bytewise(sent) == expected


# What was taken for the end of a message by one peer or another (CVE-2023-51764, -51765, -51766, CVE-2024-27305, …).
FALSE_ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r.\n",
    b"\n.\r",
    b"\r\r\n.\r\r\n",
    b"\n\n.\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n\x85.\r\n",
    b"\r\n.\r\0\n",
]


@pytest.mark.parametrize("end", FALSE_ENDS)
def test_no_false_end_ends_a_message(end: bytes) -> None:
    smuggled = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\nhello"
    outcomes = whole_and_bytewise(b"A: b\r\n\r\ntext" + end + smuggled + b"\r\n.\r\nQUIT\r\n")
    assert outcomes[1:] == [b"QUIT"]
    bare = end.replace(b"\r\n", b"")
    if b"\r" in bare or b"\n" in bare:
        assert outcomes[0] is Reason.BARE_LINE_ENDING
    else:
        assert isinstance(outcomes[0], bytes)
        assert b"evil@example.org" in outcomes[0]


def test_a_bare_cr_before_the_end_is_found() -> None:
    assert whole_and_bytewise(b"text\r\r\n.\r\nQUIT\r\n") == [Reason.BARE_LINE_ENDING, b"QUIT"]


def test_the_limit_holds_and_memory_stays_small() -> None:
    reader = Reader(LINE)
    reader.start_content(LIMIT)
    for _ in range(100):
        reader.feed(b"x" * 998 + b"\r\n")
        assert reader.content() is None
        assert reader.buffered <= 2 * LIMIT
    assert reader.dropped > 90 * LIMIT
    reader.feed(b".\r\nQUIT\r\n")
    with pytest.raises(Refused) as refused:
        reader.content()
    assert refused.value.reason is Reason.TOO_LARGE
    assert reader.line() == b"QUIT"


def test_a_large_content_comes_in_parts_and_memory_stays_small() -> None:
    reader = Reader(LINE)
    reader.start_content(10**9, whole=5_000)
    parts: list[bytes] = []
    for number in range(1_000):
        reader.feed(b".." + b"x" * 995 + b"\r\n" if number % 3 else b"y" * 999)
        while (part := reader.content()) is not None:
            parts.append(part)
        assert reader.buffered <= 6_000
    assert sum(map(len, parts)) > 990_000
    reader.feed(b"\r\n.\r\nQUIT\r\n")
    while reader.in_content:
        parts.append(reader.content() or b"")
    expected = b"".join(b"." + b"x" * 995 + b"\r\n" if number % 3 else b"y" * 999 for number in range(1_000))
    # A line that begins within what came before has no dot to lose.
    assert b"".join(parts) == expected.replace(b"y.", b"y..") + b"\r\n"
    assert reader.line() == b"QUIT"


def test_a_part_is_not_given_back_and_its_content_falls_at_its_end() -> None:
    reader = Reader(LINE)
    reader.start_content(10**9, whole=100)
    reader.feed(b"x" * 200 + b"\r\n" + b"y" * 200)
    given = reader.content()
    assert given == b"x" * 200 + b"\r\n"
    reader.feed(b"\n" + b"z" * 5_000)
    assert reader.content() is None
    assert reader.buffered < 10
    reader.feed(b"\r\n.\r\nQUIT\r\n")
    with pytest.raises(ProtocolViolation):
        reader.content()
    assert reader.line() == b"QUIT"


@pytest.mark.parametrize(("size", "taken"), [(LIMIT, True), (LIMIT + 1, False)])
def test_the_limit_is_exact(size: int, taken: bool) -> None:
    data = b"x" * (size - 2) + b"\r\n"
    assert whole_and_bytewise(data + b".\r\n") == [data if taken else Reason.TOO_LARGE]


def test_a_doomed_content_is_read_to_its_end() -> None:
    reader = Reader(LINE)
    reader.start_content(LIMIT)
    reader.doom(TryLater(Reason.BUSY, "no room"))
    reader.doom(TryLater(Reason.INTERNAL, "the first reason counts"))
    reader.feed(b"text\r\n.\r\nNOOP\r\n")
    with pytest.raises(TryLater) as error:
        reader.content()
    assert error.value.reason is Reason.BUSY
    assert reader.line() == b"NOOP"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"NOOP\nQUIT\r\n", Reason.BARE_LINE_ENDING),
        (b"NO\rOP\r\nQUIT\r\n", Reason.BARE_LINE_ENDING),
        (b"NOOP\r\r\nQUIT\r\n", Reason.BARE_LINE_ENDING),
        (b"NO\0OP\r\nQUIT\r\n", Reason.MALFORMED),
        (b"x" * 5_000 + b"\r\nQUIT\r\n", Reason.MALFORMED),
        (b"x" * 5_000 + b"\nQUIT\r\n", Reason.BARE_LINE_ENDING),
    ],
)
def test_a_bad_line_is_refused_alone(sent: bytes, reason: Reason) -> None:
    for pieces in ([sent], [sent[i : i + 1] for i in range(len(sent))]):
        reader = Reader(LINE)
        outcomes: list[Outcome] = []
        for piece in pieces:
            reader.feed(piece)
            assert reader.buffered <= max(LINE + 1, len(piece))
            try:
                line = reader.line()
            except ProtocolViolation as error:
                outcomes.append(error.reason)
                line = reader.line()
            if line is not None:
                outcomes.append(line)
        assert outcomes == [reason, b"QUIT"]


def test_a_line_at_the_limit_is_read() -> None:
    reader = Reader(LINE)
    reader.feed(b"x" * LINE + b"\r\n")
    with pytest.raises(ProtocolViolation):
        reader.line()
    reader.feed(b"x" * (LINE - 1) + b"\r\n")
    assert reader.line() == b"x" * (LINE - 1)


def test_only_the_line_asked_for() -> None:
    reader = Reader(LINE)
    reader.feed(b"rcpt TO:<a@b>\r\nDATA\r\nRCP")
    assert reader.line(b"RCPT TO:") == b"rcpt TO:<a@b>"
    assert reader.line(b"RCPT TO:") is None
    assert reader.line() == b"DATA"
    assert reader.line(b"RCPT TO:") is None
    reader.feed(b"T TO:<c@d>\r\n")
    assert reader.line(b"RCPT TO:") == b"RCPT TO:<c@d>"


def test_clear_forgets_everything() -> None:
    reader = Reader(LINE)
    reader.feed(b"x" * 5_000)
    assert reader.line() is None
    reader.clear()
    reader.feed(b"NOOP\r\n")
    assert reader.line() == b"NOOP"


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n", b"\r\n.\r\n", b"\0"]), max_size=60))
def test_pieces_do_not_matter(parts: list[bytes]) -> None:
    whole_and_bytewise(b"".join(parts) + b"\r\n.\r\nQUIT\r\n")
