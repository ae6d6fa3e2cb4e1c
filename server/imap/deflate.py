"""COMPRESS=DEFLATE (RFC 4978): raw deflate in both directions, under TLS, from one command to the end.

What comes is inflated only as far as it is used: a line octet by octet of the input (so that what stands before a fault
is found however the input was cut), a literal in pieces of IMAP_INFLATE; a small input never becomes a large one in
memory. What goes is compressed with a dictionary of its own each time: an answer never tells by its length whether it
repeats an earlier one (CRIME, BREACH; within one answer it may), and a connection that idles keeps no compressor.
"""

from __future__ import annotations

import zlib

from server.base.limits import IMAP_INFLATE

_RAW = -zlib.MAX_WBITS


class Inflater:
    """What the client sends. `read` raises zlib.error where it is no deflate stream, or where that ends."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_RAW)
        self._raw = b""

    def feed(self, data: bytes) -> None:
        self._raw += data

    @property
    def waiting(self) -> int:
        return len(self._raw)

    def read(self, literal: int) -> bytes:
        """The next piece, of a line or of what is missing of a literal; empty for "need more"."""
        if self._stream.eof:
            raise zlib.error("the stream has ended")
        piece = self._octets(min(literal, IMAP_INFLATE)) if literal else self._line()
        if not piece and self._stream.eof:
            raise zlib.error("the stream has ended")
        return piece

    def _octets(self, most: int) -> bytes:
        piece = self._stream.decompress(self._raw, most)
        self._raw = self._stream.unconsumed_tail
        return piece

    def _line(self) -> bytes:
        piece, at = self._stream.decompress(b""), 0
        while at < len(self._raw) and b"\n" not in piece and len(piece) < IMAP_INFLATE and not self._stream.eof:
            try:
                piece += self._stream.decompress(self._raw[at : at + 1])
            except zlib.error:
                if not piece:
                    raise
                break  # met again when what came before it is used
            at += 1
        self._raw = self._raw[at:]
        return piece


def deflated(data: bytes) -> bytes:
    """The next piece of what the server sends: a flush ends on an octet, and nothing looks back past it."""
    # Level 1: the bytes are mostly text once, and the processor is shared.
    stream = zlib.compressobj(1, zlib.DEFLATED, _RAW)
    return stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)
