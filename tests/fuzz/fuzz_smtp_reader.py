"""Invariant: whatever the bytes and however they are cut, the reader gives the same lines and contents or says the same
errors, whether it gives contents whole or in parts; nothing but a CaduceeError is raised; no line holds CR, LF or NUL;
no content holds a bare CR or LF or passes the limit; what is held stays within the limits; and a content ends at the
first CR LF "." CR LF, never elsewhere.

The first byte chooses how the bytes are cut; DATA as a command starts a content, as in a session.
"""

from __future__ import annotations

from server.base.errors import CaduceeError, Reason
from server.smtp.reader import Reader

LINE = 64
LIMIT = 512
PART = 16

Outcome = tuple[str, bytes | Reason]


def dialogue(data: bytes, step: int, part: int = LIMIT * 2) -> list[Outcome]:
    """`part`: octets past which a content comes in parts."""
    outcomes: list[Outcome] = []
    reader, in_content, parts = Reader(LINE), False, b""
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
        while True:
            kind = "content" if in_content else "line"
            try:
                value = reader.content() if in_content else reader.line()
            except CaduceeError as error:
                outcomes.append((kind, error.reason))
                in_content = False
                continue
            if value is None:
                break
            if in_content:
                parts += value
                if reader.in_content:
                    continue
                value, parts = parts, b""
            outcomes.append((kind, value))
            check(kind, value)
            in_content = kind == "line" and value == b"DATA"
            if in_content:
                parts = b""
                reader.start_content(LIMIT, part)
        assert reader.buffered <= step + max(LINE, min(LIMIT, part) if reader.in_content else 0) + 8
    return outcomes


def check(kind: str, value: bytes) -> None:
    if kind == "line":
        assert len(value) < LINE
        assert not set(value) & set(b"\r\n\0")
    else:
        assert len(value) <= LIMIT
        pairs = value.count(b"\r\n")
        assert value.count(b"\r") == value.count(b"\n") == pairs
        assert not value or value.endswith(b"\r\n")


def fuzz(data: bytes) -> None:
    step, data = (data[0] if data else 0) % 17 + 1, data[1:]
    whole = dialogue(data, max(1, len(data)))
    assert dialogue(data, step) == whole
    assert dialogue(data, 1) == whole
    assert dialogue(data, step, PART) == whole
    assert dialogue(data, 1, PART) == whole
    assert dialogue(data, max(1, len(data)), PART) == whole
    plain(data, whole)


def plain(data: bytes, outcomes: list[Outcome]) -> None:
    """The border of the first content, by the definition."""
    before, found, rest = data.partition(b"DATA\r\n")
    if not found or b"\n" in before or before != b"":
        return
    end = (b"\r\n" + rest).find(b"\r\n.\r\n")
    kinds = [kind for kind, _ in outcomes]
    assert kinds[:1] == ["line"]
    if end < 0:
        assert "content" not in kinds
    else:
        assert kinds[1] == "content"
        following = dialogue(rest[end + 3 :], 1)
        assert outcomes[2:] == following
