"""An opaque signature that passes: its content is digested, and what is left is a detached signature over it.

    update* finish → (CMS without the content, what the content was)

Whatever the bytes are, the verdict on what is left is the one that `read` would lead to for the whole. Memory: the
frame before the content, and what stands behind it (certificates, the signature) up to `DETACHED_BYTES`.
"""

from __future__ import annotations

from crypto.smime.digested import Digested
from crypto.smime.signed_data import DETACHED_BYTES
from crypto.smime.tlv import (
    CONSTRUCTED,
    CONTEXT_0,
    INTEGER,
    MAX_ELEMENTS,
    OCTET_STRING,
    OID,
    SEQUENCE,
    SET,
    Malformed,
    element,
    expect,
    head,
)

# Before the content stand object identifiers and the digest algorithms, at most `MAX_DIGESTS` of them.
_FRAME_BYTES = 4_096
_LONGEST_HEAD = 6  # octets: tag and length
_END = b"\0\0"
_OPEN = b"\x80"  # an indefinite length


class OpaqueReader:
    """`update` with the CMS object as it comes, without transfer encoding; then `finish`."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._at = 0  # offset of what is held, in the object
        self._content: Digested | None = None
        self._frame: list[bytes] = []  # content type, version and digests, type of the content
        self._ends: list[int | None] = []  # of the open elements, outermost first; None: end-of-contents octets
        self._left = 0  # octets of the piece of the content that is being read
        self._pieces = 0
        self._in_content = False
        self._broken = False
        self.too_large = False  # more stands behind the content than is read

    def update(self, data: bytes | memoryview) -> None:
        if self._broken or self.too_large:
            return
        self._held += data
        try:
            if self._content is None:
                self._open()
            while self._in_content and self._read_content():
                pass
        except Malformed:
            self._broken = True
        self.too_large = not self._in_content and len(self._held) > DETACHED_BYTES
        if self._broken or self.too_large:
            self._held.clear()

    def finish(self) -> tuple[bytes, Digested | None]:
        """A detached CMS and its content; the object as it came, and None, where it has no content."""
        if self._content is None:
            return bytes(self._held), None
        try:
            if self._broken or self._in_content:
                raise Malformed
            return self._detached(), self._content
        except Malformed:
            return b"", self._content

    def _open(self) -> None:
        """Read the frame up to the content; where it is not all there, wait."""
        data = bytes(self._held[:_FRAME_BYTES])
        self._ends = []
        try:
            start = self._enter(data, 0, SEQUENCE)
            kind = expect(data, start, len(data), OID)
            wrapper = self._enter(data, kind.after, CONTEXT_0)
            first = self._enter(data, wrapper, SEQUENCE)
            version = expect(data, first, len(data), INTEGER)
            digests = expect(data, version.after, len(data), SET)
            enclosed = self._enter(data, digests.after, SEQUENCE)
            content_type = expect(data, enclosed, len(data), OID)
            string = self._enter(data, content_type.after, CONTEXT_0)
            tag, length, begin = head(data, string, len(data))
        except Malformed:
            # Cut short, wrong, or without a content: then all of it is what stands here, and is read as a whole.
            return
        if tag != OCTET_STRING and tag != OCTET_STRING | CONSTRUCTED:
            raise Malformed
        self._frame = [data[start : kind.after], data[first : digests.after], data[enclosed : content_type.after]]
        self._content = Digested()
        self._in_content = True
        if tag == OCTET_STRING:
            self._left = length or 0
            self._ends.append(begin + self._left)
        else:
            self._ends.append(None if length is None else begin + length)
        self._drop(begin)

    def _enter(self, data: bytes, at: int, tag: int) -> int:
        end = self._ends[-1] if self._ends else None
        found, length, start = head(data, at, len(data) if end is None else min(end, len(data)))
        if found != tag:
            raise Malformed
        self._ends.append(None if length is None else start + length)
        return start

    def _read_content(self) -> bool:
        """A step in the content; False: bytes are missing."""
        held, end = self._held, self._ends[-1]
        if self._left:
            octets = min(self._left, len(held))
            assert self._content is not None  # noqa: S101 -- there is one while it is read
            with memoryview(held) as view:
                self._content.update(view[:octets])
            self._left -= octets
            self._drop(octets)
            return octets > 0
        if end is not None and self._at >= end:
            self._leave()
            return True
        if end is None and held.startswith(_END):
            self._leave()
            return True
        try:
            tag, length, start = head(bytes(held[:_LONGEST_HEAD]), 0, min(len(held), _LONGEST_HEAD))
        except Malformed:
            if len(held) < _LONGEST_HEAD:
                return False
            raise
        self._pieces += 1
        if tag != OCTET_STRING or length is None or self._pieces > MAX_ELEMENTS:
            raise Malformed
        self._left = length
        self._drop(start)
        return True

    def _leave(self) -> None:
        """The content is over."""
        self._in_content = False
        self._drop(self._close(bytes(self._held[:2]), 0))

    def _drop(self, octets: int) -> None:
        del self._held[:octets]
        self._at += octets

    def _close(self, data: bytes, at: int) -> int:
        """Where the innermost open element, which must end at `at` of what is held, is over."""
        end = self._ends.pop()
        if end is None:
            if data[at : at + 2] != _END:
                raise Malformed
            return at + 2
        if end != self._at + at:
            raise Malformed
        return at

    def _detached(self) -> bytes:
        """The object without its content, all its lengths indefinite. Raises Malformed."""
        data = bytes(self._held)
        begin = at = self._close(data, self._close(data, 0))  # [0] and EncapsulatedContentInfo
        end = self._ends[-1]
        while not (data[at : at + 2] == _END if end is None else self._at + at >= end):
            at = element(data, at, len(data)).after
        rest = data[begin:at]
        for _ in range(len(self._ends)):
            at = self._close(data, at)
        if at != len(data):
            raise Malformed
        kind, digests, content_type = self._frame
        sequence, wrapper = bytes([SEQUENCE]) + _OPEN, bytes([CONTEXT_0]) + _OPEN
        return sequence + kind + wrapper + sequence + digests + sequence + content_type + _END + rest + 3 * _END
