"""Passwords made for software, and passwords that people choose.

An app password carries 160 random bits: nobody can try them, so a keyed hash is enough and checking costs microseconds
(practice software signs in at every poll). A password that a person chose is kept as argon2id (RFC 9106 §4, second
recommended option).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

APP_PASSWORD_BYTES = 20  # 160 bits
_GROUP = 4  # letters between hyphens, for people who have to type it
_LABEL = b"app-password 1\0"
# RFC 9106 §4: t=3, m=64 MiB, p=4.
_HASHER = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4)


def generate_app_password() -> str:
    """A new app password: 32 letters of base32 in groups of four, without a space (39 characters)."""
    letters = base64.b32encode(secrets.token_bytes(APP_PASSWORD_BYTES)).decode().lower()
    return "-".join(letters[i : i + _GROUP] for i in range(0, len(letters), _GROUP))


def app_password_hash(key: bytes, password: str) -> bytes:
    """HMAC-SHA256 (32 bytes) under the edges' credential key; case, spaces and hyphens do not count."""
    letters = password.replace("-", "").replace(" ", "").lower()
    return hmac.digest(key, _LABEL + letters.encode("utf-8", "surrogatepass"), hashlib.sha256)


def human_password_hash(password: str) -> str:
    """The argon2id hash of a password that a person chose, in the PHC string form. Takes tens of milliseconds."""
    return _HASHER.hash(password)


def human_password_matches(stored: str, password: str) -> bool:
    """Whether `password` is the one that was hashed. Raises InvalidHashError when `stored` is no argon2 hash."""
    try:
        return _HASHER.verify(stored, password)
    except VerifyMismatchError:
        return False


__all__ = [
    "APP_PASSWORD_BYTES",
    "InvalidHashError",
    "app_password_hash",
    "generate_app_password",
    "human_password_hash",
    "human_password_matches",
]
