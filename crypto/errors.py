"""What can go wrong with bytes and keys. No message of these ever holds a key, a plaintext or an address."""

from __future__ import annotations


class CryptoError(Exception):
    """Base of this room's errors; raised itself for key material or arguments that cannot be used."""


class IntegrityError(CryptoError):
    """It does not open: not made with this key for this place, or changed since."""


class KeyMissing(CryptoError):
    """The key that this was made with is not here: destroyed, or of a version that this process does not hold."""
