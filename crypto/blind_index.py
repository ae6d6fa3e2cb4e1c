"""Keyed tokens: equality look-ups of identifiers that the database never sees.

Whoever holds a key can enumerate a small space (INS numbers), so the two keys live apart: `address` with the edges,
`identity` with the readers. Names are never indexed.
"""

from __future__ import annotations

import hmac

from crypto.errors import CryptoError

TOKEN_BYTES = 32
_LABEL = b"caducee token 1\0"


def token(key: bytes, value: str) -> bytes:
    """HMAC-SHA256 of the value in UTF-8 (32 bytes). The caller normalises first: equal things need equal text."""
    if len(key) != TOKEN_BYTES:
        raise CryptoError("a key of the blind index has 32 bytes")
    return hmac.digest(key, _LABEL + value.encode("utf-8", "surrogatepass"), "sha256")
