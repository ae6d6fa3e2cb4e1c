"""Any bytes as a blob of stored content, given whole and in pieces.

Invariant: it opens to what the seeds' writer encrypted, or not at all; pieces give nothing but a beginning of that
text, and are complete only with all of it. Nothing is raised but IntegrityError and KeyMissing.
"""

from __future__ import annotations

from crypto.blob import BlobReader, decrypt, plain_size
from crypto.edge import Salts
from crypto.errors import IntegrityError, KeyMissing

KEY, CONTENT_ID = bytes(range(32)), bytes(range(16))
SALTS = Salts(1, {1: bytes(range(32, 64))})
TEXT = b"Amoxicilline 1 g, trois fois par jour.\r\n" * 2_000  # two chunks; a seed holds all of it, another a beginning
TEXTS = (TEXT, TEXT[:100], b"")


def fuzz(data: bytes) -> None:
    try:
        assert decrypt(KEY, CONTENT_ID, SALTS, data) in TEXTS
        size = plain_size(len(data))
    except (IntegrityError, KeyMissing):
        size = len(TEXT)
    for step in (1_000, max(1, len(data))):
        reader, given = BlobReader(KEY, CONTENT_ID, SALTS, size), b""
        try:
            for start in range(0, len(data), step):
                given += reader.update(data[start : start + step])
        except (IntegrityError, KeyMissing):
            pass
        assert TEXT.startswith(given)
        if reader.complete:
            assert given in TEXTS
