"""Invariant: any bytes give a message, the same whole, in pieces, and where it passes and is never there whole; its
offsets are in order and inside of the bytes; its summary survives storing, every section that it has can be found, and
no IMAP form holds a bare line end.
"""

from __future__ import annotations

import hashlib
import re

from crypto.smime.digested import Digested
from server.base.limits import MIME_DEPTH, MIME_PARTS
from server.mail import content
from server.mail.passing import PassingScanner
from server.mail.scan import Message, Part, Scanner, scan
from server.mail.signed import signed_data
from server.mail.summary import Summary, section, summarise
from server.mail.trace import strip

PIECES = (1, 2, 3, 61, 4_096)
# Outside of literals an IMAP response is one line of ASCII (RFC 3501 §9).
LITERAL = re.compile(rb"\{(\d+)\}\r\n")


def in_pieces(data: bytes, size: int) -> Message:
    scanner = Scanner()
    for at in range(0, len(data), size):
        scanner.feed(data[at : at + size])
    return scanner.finish()


def in_passing(data: bytes, message: Message) -> None:
    """The same of a message that is never there whole."""
    scanner = PassingScanner()
    for at in range(0, len(data), 5_003):
        scanner.feed(data[at : at + 5_003])
    assert scanner.finish() == message
    assert summarise(message, scanner.kept) == summarise(message, data)
    assert strip(message, scanner.kept, "mail.example") == strip(message, data, "mail.example")
    found, expected = signed_data(message, scanner.kept, scanner.passed()), signed_data(message, data)
    assert (found is None) == (expected is None)
    if found is None or expected is None or found.cut or expected.kind == "opaque":
        return
    assert found.cms == expected.cms
    assert isinstance(found.content, Digested)
    assert isinstance(expected.content, bytes)
    assert found.content.digest("sha512") == hashlib.sha512(expected.content).digest()


def check_part(part: Part, depth: int) -> None:
    assert 0 <= part.header_start <= part.body_start <= part.body_end
    assert depth <= MIME_DEPTH + 2
    assert part.lines >= 0
    assert part.type != "multipart" or part.children
    at = part.body_start
    for inner in part.inner():
        assert at <= inner.header_start
        assert inner.body_end <= part.body_end
        at = inner.body_end
        check_part(inner, depth + 1)


def check_imap(form: bytes) -> None:
    at = 0
    while (literal := LITERAL.search(form, at)) is not None:
        check_line(form[at : literal.start()])
        at = literal.end() + int(literal[1])
        assert at <= len(form)
    check_line(form[at:])
    assert b"\0" not in form


def check_line(line: bytes) -> None:
    assert line.isascii()
    assert b"\r" not in line
    assert b"\n" not in line


def fuzz(data: bytes) -> None:
    message = scan(data)
    for size in PIECES:
        if size * 1_024 > len(data):  # byte by byte only what is small
            assert in_pieces(data, size) == message
    in_passing(data, message)
    assert message.size == len(data) == message.root.body_end
    check_part(message.root, 0)
    parts = list(message.parts())
    assert len(parts) <= 2 * MIME_PARTS
    paths = [part.path for part in parts]
    assert len(set(paths)) == len(paths)
    for part in parts:
        assert len(content.decode(part, data)) <= part.size
        content.text(content.decode(part, data), part.charset)
    summary = summarise(message, data, {"status": "none"})
    assert Summary.from_bytes(summary.to_bytes()) == summary
    for form in (summary.envelope, summary.body, summary.bodystructure):
        check_imap(form)
    for row in summary.parts:
        assert section(summary, row.path) == (row.body_start, row.body_end)
        assert section(message, f"{row.path}.MIME") == (row.header_start, row.body_start)
    found = signed_data(message, data)
    assert found is None or not isinstance(found.content, bytes) or found.content in data
    header = strip(message, data, "mail.example")
    trace = b"Received: by mail.example\r\n" + header
    moved = message.shifted(len(trace) - message.root.body_start, trace)
    again = trace + data[message.root.body_start :]
    assert [part.body_end for part in moved.parts()] == [part.body_end + len(again) - len(data) for part in parts]
    assert moved.headers == scan(again).headers or not message.readable or len(trace) > 65_536
