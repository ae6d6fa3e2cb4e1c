"""Passwords made for software. Those that people choose are in `chosen.py`.

An app password carries 160 random bits: nobody can try them, so a keyed hash is enough and checking costs microseconds
(practice software signs in at every poll).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

APP_PASSWORD_BYTES = 20  # 160 bits
_GROUP = 4  # letters between hyphens, for people who have to type it
_LABEL = b"app-password 1\0"


def generate_app_password() -> str:
    """A new app password: 32 letters of base32 in groups of four, without a space (39 characters)."""
    letters = base64.b32encode(secrets.token_bytes(APP_PASSWORD_BYTES)).decode().lower()
    return "-".join(letters[i : i + _GROUP] for i in range(0, len(letters), _GROUP))


def app_password_hash(key: bytes, password: str) -> bytes:
    """HMAC-SHA256 (32 bytes) under the edges' credential key; case, spaces and hyphens do not count."""
    letters = password.replace("-", "").replace(" ", "").lower()
    return hmac.digest(key, _LABEL + letters.encode("utf-8", "surrogatepass"), hashlib.sha256)
