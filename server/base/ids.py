"""Identifiers that an attacker cannot guess and that tell nothing."""

from __future__ import annotations

import base64
import secrets

CONTENT_ID_BYTES = 16  # 128 random bits: a collision is not to be expected in the life of the universe


def content_id() -> bytes:
    """A new content id (16 random bytes)."""
    return secrets.token_bytes(CONTENT_ID_BYTES)


def trace_id() -> str:
    """A short name of one session or request for logs and replies (16 characters of base32)."""
    return base64.b32encode(secrets.token_bytes(10)).decode().lower()
