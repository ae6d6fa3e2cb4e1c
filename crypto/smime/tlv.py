"""Reading of ASN.1 elements (X.690), hostile input in mind.

Invariant: whatever the bytes are, reading ends after a bounded number of steps, never looks past `end`, never recurses,
and either gives an element that lies wholly inside or raises `Malformed`.

Our own reader, since a verdict has 0.1 ms: an object per element (asn1crypto) takes 0.17 ms for the frame alone, and
BER's indefinite lengths, which streaming signers write, let a stranger ask for unbounded work.
"""

from __future__ import annotations

from typing import Final, NamedTuple

INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OID: Final = 0x06
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31
CONTEXT_0: Final = 0xA0  # constructed
CONTEXT_1: Final = 0xA1
CONTEXT_2: Final = 0xA2
CONTEXT_0_PRIMITIVE: Final = 0x80
CONSTRUCTED: Final = 0x20

_INDEFINITE = 0x80
_LENGTH_BYTES = 4  # 4 GiB: more than any message
MAX_DEPTH = 12  # nested indefinite lengths; a streamed SignedData has 6
# Elements walked over to find the end of an indefinite length: a streamed 34 MB content in pieces of 1,000 bytes
# (Bouncy Castle's) has 34,000. 100,000 cost 50 ms.
MAX_ELEMENTS = 100_000


class Malformed(Exception):
    """These bytes are not what they should be."""


class Element(NamedTuple):
    """Where an element stands: its first octet (class, form, tag), contents [start, stop), and the next element."""

    tag: int
    start: int
    stop: int
    after: int


def head(data: bytes, at: int, end: int) -> tuple[int, int | None, int]:
    """Tag and length (None: indefinite) of the element at `at`, and where its contents start. Raises `Malformed`."""
    if end - at < 2:
        raise Malformed
    tag = data[at]
    length = data[at + 1]
    start = at + 2
    # X.690 §8.1.2.4: tags from 31 on take more octets; nothing we read has one.
    if tag & 0x1F == 0x1F:
        raise Malformed
    if length < _INDEFINITE:
        return tag, length, start
    if length == _INDEFINITE:
        # X.690 §8.1.3.6: only a constructed element has an indefinite length.
        if not tag & CONSTRUCTED:
            raise Malformed
        return tag, None, start
    count = length - _INDEFINITE
    start += count
    if count > _LENGTH_BYTES or start > end:
        raise Malformed
    return tag, int.from_bytes(data[at + 2 : start], "big"), start


def element(data: bytes, at: int, end: int) -> Element:
    """The element at `at`, which must end at or before `end`. Raises `Malformed`."""
    tag, length, start = head(data, at, end)
    if length is None:
        stop = _end_of_contents(data, start, end)
        return Element(tag, start, stop, stop + 2)
    stop = start + length
    if stop > end:
        raise Malformed
    return Element(tag, start, stop, stop)


def expect(data: bytes, at: int, end: int, tag: int) -> Element:
    """The element at `at`, of that tag. Raises `Malformed`."""
    found = element(data, at, end)
    if found.tag != tag:
        raise Malformed
    return found


def only(data: bytes, at: int, end: int, tag: int) -> Element:
    """The element of that tag that fills [at, end) alone. Raises `Malformed`."""
    found = expect(data, at, end, tag)
    if found.after != end:
        raise Malformed
    return found


def elements(data: bytes, start: int, stop: int, limit: int) -> list[tuple[int, Element]]:
    """All elements in [start, stop) with the offsets at which they begin, at most `limit`. Raises `Malformed`."""
    found: list[tuple[int, Element]] = []
    while start < stop:
        if len(found) == limit:
            raise Malformed
        one = element(data, start, stop)
        found.append((start, one))
        start = one.after
    return found


def octets(data: bytes, string: Element, tag: int) -> bytes:
    """The bytes of an octet string, in one piece or in pieces (X.690 §8.7.3). Raises `Malformed`.

    `tag` is the primitive tag that it has here: OCTET_STRING, or a context's when implicit.
    """
    if string.tag == tag:
        return data[string.start : string.stop]
    if string.tag != tag | CONSTRUCTED:
        raise Malformed
    pieces = []
    for _, piece in elements(data, string.start, string.stop, MAX_ELEMENTS):
        if piece.tag != OCTET_STRING:  # pieces in pieces are allowed by X.690 and written by nobody
            raise Malformed
        pieces.append(data[piece.start : piece.stop])
    return b"".join(pieces)


def encoded(tag: int, contents: bytes) -> bytes:
    """The DER element of `contents`."""
    size = len(contents)
    if size < _INDEFINITE:
        return bytes((tag, size)) + contents
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, _INDEFINITE | len(length))) + length + contents


def _end_of_contents(data: bytes, at: int, end: int) -> int:
    """Where the end-of-contents octets stand that close the indefinite length whose contents begin at `at`."""
    depth = 1
    for _ in range(MAX_ELEMENTS):
        if end - at < 2:
            raise Malformed
        tag, length = data[at], data[at + 1]
        if tag == 0 and length == 0:
            depth -= 1
            if depth == 0:
                return at
            at += 2
        elif length == _INDEFINITE:
            depth += 1
            if depth > MAX_DEPTH or not tag & CONSTRUCTED:
                raise Malformed
            at += 2
        elif length < _INDEFINITE:
            at += 2 + length
        else:
            count = length - _INDEFINITE
            if count > _LENGTH_BYTES:
                raise Malformed
            at += 2 + count + int.from_bytes(data[at + 2 : at + 2 + count], "big")
    raise Malformed
