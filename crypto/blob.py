"""Stored content: chunked authenticated encryption with random access, a push writer and a push reader.

    blob   = header chunk*
    header = format (1 byte) | salt version (2) | blob number (16, random)
    chunk  = AES-256-GCM of 65,536 bytes, the last of 0 to 65,536 | tag (16)

Invariants:
- The chunk key is HKDF-SHA256(message key, salt = the edge's salt of that version, info = label, content id, blob
  number). Without the edge's salt nobody, not even who holds the mailbox's public key, makes a blob that opens.
- A chunk key belongs to one blob, since the blob number is random; the nonce is the chunk's number and its last-mark.
  So no nonce is used twice under a key, even when the same content is encrypted again (a summary with a later verdict).
- Content id, chunk number and last-mark are in the associated data or the nonce: chunks cannot be swapped, repeated,
  dropped, cut off at the end, or moved to another content.

A range is checked chunk by chunk: `size` of a range read must come from a trusted place (the summary), since only
the last chunk proves where a blob ends.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crypto.edge import Salts
from crypto.errors import CryptoError, IntegrityError

FORMAT: Final = 1
CHUNK = 65_536  # 16 bytes of tag on it are nothing, and one IMAP partial fetch decrypts little beside what it wants
TAG = 16
SEALED_CHUNK = CHUNK + TAG
BLOB_NUMBER = 16
HEADER = 1 + 2 + BLOB_NUMBER

_KEY_BYTES = 32
_CONTENT_ID_BYTES = 16
_LAST = b"\x01"
_MORE = b"\x00"


def sealed_size(plain_size: int) -> int:
    """How many bytes the blob of `plain_size` bytes has."""
    return HEADER + plain_size + TAG * _chunks(plain_size)


def plain_size(blob_size: int) -> int:
    """How many plain bytes a blob of that many bytes holds. Raises `IntegrityError` when no blob has that size."""
    sealed = blob_size - HEADER
    chunks = -(-sealed // SEALED_CHUNK)
    plain = sealed - TAG * chunks
    if chunks < 1 or plain < 0 or _chunks(plain) != chunks:
        raise IntegrityError("this content has been cut")
    return plain


def cipher_range(start: int, end: int, size: int) -> tuple[int, int]:
    """The bytes [a, b) of the blob that hold the plain bytes [start, end) of a body of `size` bytes.

    `end` past the size is cut to it; an empty range gives (a, a). The header (first 19 bytes) is needed besides.
    """
    first, last = _chunk_range(start, end, size)
    return (
        HEADER + first * SEALED_CHUNK,
        min(HEADER + last * SEALED_CHUNK, sealed_size(size)) if last > first else HEADER + first * SEALED_CHUNK,
    )


class BlobWriter:
    """Push writer: bytes in, ciphertext out, at most one chunk held back. What it gives together is the blob."""

    __slots__ = ("_cipher", "_content_id", "_held", "_number", "_out")

    def __init__(self, message_key: bytes, content_id: bytes, salts: Salts, label: bytes = b"body") -> None:
        header = _new_header(salts)
        self._cipher: AESGCM | None = _chunk_cipher(message_key, content_id, salts, header, label)
        self._content_id = content_id
        self._held = bytearray()
        self._number = 0
        self._out = header

    def update(self, data: bytes | memoryview) -> bytes:
        """Take plain bytes; give the ciphertext that is ready, the header first. Raises `CryptoError` if finished."""
        if self._cipher is None:
            raise CryptoError("this blob is finished")
        self._held += data
        out = [self._out]
        self._out = b""
        with memoryview(self._held) as held:
            taken = 0
            # A full chunk is held until more comes: it may be the last.
            while len(held) - taken > CHUNK:
                out.append(
                    _seal_chunk(self._cipher, self._content_id, self._number, held[taken : taken + CHUNK], _MORE)
                )
                self._number += 1
                taken += CHUNK
        if taken:
            del self._held[:taken]
        return b"".join(out)

    def finish(self) -> bytes:
        """The rest, with the last chunk. Raises `CryptoError` if finished before."""
        if self._cipher is None:
            raise CryptoError("this blob is finished")
        last = self._out + _seal_chunk(self._cipher, self._content_id, self._number, self._held, _LAST)
        self._cipher = None
        self._held = bytearray()
        return last

    def __repr__(self) -> str:
        return f"BlobWriter(chunk {self._number})"


class BlobReader:
    """Opens the blob of `size` plain bytes, given in order piece by piece; at most a chunk is held back."""

    __slots__ = ("_content_id", "_given", "_header", "_held", "_key", "_label", "_offset", "_salts", "_size")

    def __init__(self, message_key: bytes, content_id: bytes, salts: Salts, size: int, label: bytes = b"body") -> None:
        self._key, self._content_id, self._salts = message_key, content_id, salts
        self._size, self._label = size, label
        self._header = b""
        self._held = b""
        self._offset = 0  # of what is held, in the blob
        self._given = 0

    def update(self, cipher: bytes) -> bytes:
        """The plain bytes that this piece completes. Raises `IntegrityError`, or `KeyMissing`."""
        self._held += cipher
        self._header = self._header or self._held[:HEADER]
        reach = self._offset + len(self._held)
        whole = max(0, reach - HEADER) // SEALED_CHUNK * CHUNK
        until = self._size if reach >= sealed_size(self._size) else min(whole, self._size - 1)
        until -= until % CHUNK if until < self._size else 0
        if until <= self._given:
            return b""
        plain = decrypt_range(
            self._key,
            self._content_id,
            self._salts,
            self._held,
            self._offset,
            self._header,
            self._given,
            until,
            self._size,
            self._label,
        )
        begin = cipher_range(until, self._size, self._size)[0] if until < self._size else reach
        self._held, self._offset, self._given = self._held[begin - self._offset :], begin, until
        return plain

    @property
    def complete(self) -> bool:
        """Whether all bytes were given."""
        return self._given == self._size


def encrypt(message_key: bytes, content_id: bytes, salts: Salts, plain: bytes, label: bytes = b"body") -> bytes:
    """The blob of `plain`, in one shot. `label` keeps body and summary of one content apart."""
    header = _new_header(salts)
    cipher = _chunk_cipher(message_key, content_id, salts, header, label)
    last = _chunks(len(plain)) - 1
    if last == 0:
        return header + _seal_chunk(cipher, content_id, 0, plain, _LAST)
    view = memoryview(plain)
    out = [header]
    for number in range(last + 1):
        mark = _LAST if number == last else _MORE
        out.append(_seal_chunk(cipher, content_id, number, view[number * CHUNK : (number + 1) * CHUNK], mark))
    return b"".join(out)


def decrypt(message_key: bytes, content_id: bytes, salts: Salts, blob: bytes, label: bytes = b"body") -> bytes:
    """The plain bytes of a whole blob. Raises `IntegrityError`, or `KeyMissing` for a salt that is not here."""
    size = plain_size(len(blob))
    view = memoryview(blob)
    return decrypt_range(
        message_key, content_id, salts, view[HEADER:], HEADER, bytes(view[:HEADER]), 0, size, size, label
    )


def decrypt_range(
    message_key: bytes,
    content_id: bytes,
    salts: Salts,
    cipher: bytes | memoryview,
    cipher_offset: int,
    header: bytes,
    start: int,
    end: int,
    size: int,
    label: bytes = b"body",
) -> bytes:
    """The plain bytes [start, end) of a body of `size` bytes, from part of its blob.

    `cipher` is any part of the blob that holds `cipher_range(start, end, size)` and begins at `cipher_offset` of it;
    `header` is the blob's first 19 bytes. Raises `IntegrityError`, or `KeyMissing` for a salt that is not here.
    """
    aead = _chunk_cipher(message_key, content_id, salts, header, label)
    first, last = _chunk_range(start, end, size)
    if first == last and size > 0:
        return b""
    total = _chunks(size)
    begin, stop = cipher_range(start, end, size) if size else (HEADER, HEADER + TAG)
    if cipher_offset > begin or cipher_offset + len(cipher) < stop:
        raise IntegrityError("this content has been cut")
    view = memoryview(cipher)[begin - cipher_offset : stop - cipher_offset]
    plain = []
    try:
        for number in range(first, max(last, first + 1)):
            at = (number - first) * SEALED_CHUNK
            nonce = _nonce(number, _LAST if number == total - 1 else _MORE)
            plain.append(aead.decrypt(nonce, view[at : at + SEALED_CHUNK], content_id))
    except (InvalidTag, ValueError):
        raise IntegrityError("this content does not open") from None
    whole = plain[0] if len(plain) == 1 else b"".join(plain)
    cut = first * CHUNK
    return whole if start == cut and end - cut == len(whole) else whole[max(start - cut, 0) : max(end - cut, 0)]


def _chunks(size: int) -> int:
    return max(1, -(-size // CHUNK))


def _chunk_range(start: int, end: int, size: int) -> tuple[int, int]:
    if not 0 <= start <= end or size < 0:
        raise CryptoError("a range goes from 0 upwards")
    start, end = min(start, size), min(end, size)
    first = min(start // CHUNK, _chunks(size) - 1)
    return first, (-(-end // CHUNK) if end > start else first)


def _new_header(salts: Salts) -> bytes:
    return bytes([FORMAT]) + salts.current.to_bytes(2, "big") + os.urandom(BLOB_NUMBER)


def _chunk_cipher(message_key: bytes, content_id: bytes, salts: Salts, header: bytes, label: bytes) -> AESGCM:
    if len(message_key) != _KEY_BYTES or len(content_id) != _CONTENT_ID_BYTES:
        raise CryptoError("a message key has 32 bytes, a content id 16")
    if len(header) != HEADER or header[0] != FORMAT:
        raise IntegrityError("not a content blob of ours")
    salt = salts.of(int.from_bytes(header[1:3], "big"))
    info = b"caducee blob 1\0" + bytes([len(label)]) + label + content_id + header
    return AESGCM(HKDF(hashes.SHA256(), _KEY_BYTES, salt, info).derive(message_key))


def _nonce(number: int, mark: bytes) -> bytes:
    return number.to_bytes(11, "big") + mark


def _seal_chunk(
    aead: AESGCM, content_id: bytes, number: int, plain: bytes | bytearray | memoryview, mark: bytes
) -> bytes:
    return aead.encrypt(_nonce(number, mark), plain, content_id)
