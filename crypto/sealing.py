"""Sealing of message keys to mailboxes, and the symmetric wrap for everything small.

Invariants:
- Sealing needs the public key alone: who writes cannot read.
- What is sealed opens only with the same `info`, so a sealed key moved to another owner or message is refused.
- The first byte of a key, a sealed or a wrapped value names its algorithm: 1 is HPKE with the hybrid KEM
  MLKEM768-X25519 (draft-ietf-hpke-pq beside RFC 9180), HKDF-SHA256, AES-256-GCM. What is recorded today must resist
  tomorrow's computers, and the KEM is a draft: the byte lets another follow.
- HPKE proves no origin (RFC 9180 §9.1.1, base mode): `crypto.blob` adds the edge's salt for that.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crypto.errors import CryptoError, IntegrityError

MLKEM768_X25519: Final = 1  # the algorithm byte of mailbox keys and of what is sealed to them
AES_256_GCM: Final = 1  # the algorithm byte of what is wrapped

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_ALGORITHM = bytes([MLKEM768_X25519])
_WRAP = bytes([AES_256_GCM])

ML_KEM_SEED = 64  # FIPS 203 §7.1: d and z
X25519_SEED = 32
ML_KEM_PUBLIC = 1184  # FIPS 203 table 3
X25519_PUBLIC = 32
SEEDS_BYTES = 1 + ML_KEM_SEED + X25519_SEED
PUBLIC_BYTES = 1 + ML_KEM_PUBLIC + X25519_PUBLIC
SEALED_OVERHEAD = 1 + 1088 + 32 + 16  # algorithm, ML-KEM ciphertext, X25519 share, tag

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
WRAP_OVERHEAD = 1 + NONCE_BYTES + TAG_BYTES

CONTENT_ID_BYTES = 16
# Reading a public key in costs 20 µs beside 110 for sealing; a parsed one holds about 10 KB, so this is 10 MB at most.
PARSED_PUBLIC_KEYS = 1_024


class MailboxKey:
    """The private key of a mailbox: two seeds, from which everything else is made again."""

    __slots__ = ("_private", "_seeds")

    def __init__(self, ml_kem_seed: bytes, x25519_seed: bytes) -> None:
        if len(ml_kem_seed) != ML_KEM_SEED or len(x25519_seed) != X25519_SEED:
            raise CryptoError("a mailbox key has seeds of 64 and 32 bytes")
        self._seeds = _ALGORITHM + ml_kem_seed + x25519_seed
        self._private = (
            MLKEM768PrivateKey.from_seed_bytes(ml_kem_seed),
            X25519PrivateKey.from_private_bytes(x25519_seed),
        )

    @classmethod
    def generate(cls) -> MailboxKey:
        """A new key from the system's randomness."""
        return cls(os.urandom(ML_KEM_SEED), os.urandom(X25519_SEED))

    @classmethod
    def from_seeds(cls, seeds: bytes) -> MailboxKey:
        """The key that `seeds()` gave: algorithm byte, 64 bytes, 32 bytes. Raises `CryptoError`."""
        if len(seeds) != SEEDS_BYTES or seeds[0] != MLKEM768_X25519:
            raise CryptoError("not the seeds of a mailbox key")
        return cls(seeds[1 : 1 + ML_KEM_SEED], seeds[1 + ML_KEM_SEED :])

    def seeds(self) -> bytes:
        """97 bytes: algorithm byte, ML-KEM-768 seed (d, z), X25519 private key. Secret."""
        return self._seeds

    def public(self) -> bytes:
        """1,217 bytes: algorithm byte, ML-KEM-768 encapsulation key, X25519 public key."""
        ml_kem, x25519 = self._private
        return _ALGORITHM + ml_kem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()

    def symmetric(self) -> bytes:
        """32 secret bytes, always the same for this key: message keys are wrapped again with it after delivery."""
        return HKDF(hashes.SHA256(), KEY_BYTES, None, b"caducee mailbox symmetric 1").derive(self._seeds)

    def hpke(self) -> MLKEM768X25519PrivateKey:
        """The pair as HPKE takes it."""
        return MLKEM768X25519PrivateKey(*self._private)

    def __repr__(self) -> str:
        return "MailboxKey(hidden)"

    def __reduce__(self) -> str:
        raise TypeError("a mailbox key is never pickled")


def seal(public: bytes, message_key: bytes, info: bytes) -> bytes:
    """Seal `message_key` to the mailbox whose `public()` this is: 1,137 bytes more than the key (0.11 ms).

    `info` says what the key is for (`message_info`); it is not stored. Raises `CryptoError` for a bad public key.
    """
    return _ALGORITHM + _SUITE.encrypt(message_key, _parsed(public), info=info)


def open_sealed(private: MailboxKey, sealed: bytes, info: bytes) -> bytes:
    """The key that `seal` was given. Raises `IntegrityError` for another mailbox, another info or changed bytes."""
    if len(sealed) < SEALED_OVERHEAD or sealed[0] != MLKEM768_X25519:
        raise IntegrityError("this sealed key does not open")
    try:
        return _SUITE.decrypt(memoryview(sealed)[1:], private.hpke(), info=info)
    except (InvalidTag, ValueError):
        raise IntegrityError("this sealed key does not open") from None


def message_info(owner_id: int, content_id: bytes) -> bytes:
    """What a message key is bound to: its owner (a positive 64-bit number) and its content (16 bytes)."""
    if len(content_id) != CONTENT_ID_BYTES:
        raise CryptoError("a content id has 16 bytes")
    return b"caducee message key 1\0" + owner_id.to_bytes(8, "big") + content_id


def wrap(key: bytes, secret: bytes, context: bytes) -> bytes:
    """Encrypt something small under a 32-byte key: algorithm byte, nonce, ciphertext, tag (29 bytes more).

    `context` must be given again to unwrap. The nonce is random: NIST SP 800-38D §8.3 allows 2^32 of these a key,
    which no mailbox reaches.
    """
    nonce = os.urandom(NONCE_BYTES)
    return _WRAP + nonce + _cipher(key).encrypt(nonce, secret, context)


def unwrap(key: bytes, wrapped: bytes, context: bytes) -> bytes:
    """What `wrap` was given. Raises `IntegrityError` for another key, another context or changed bytes."""
    if len(wrapped) < WRAP_OVERHEAD or wrapped[0] != AES_256_GCM:
        raise IntegrityError("this wrapped secret does not open")
    try:
        return _cipher(key).decrypt(wrapped[1 : 1 + NONCE_BYTES], wrapped[1 + NONCE_BYTES :], context)
    except InvalidTag:
        raise IntegrityError("this wrapped secret does not open") from None


def _cipher(key: bytes) -> AESGCM:
    if len(key) != KEY_BYTES:  # AESGCM would take 16 bytes and be AES-128
        raise CryptoError("a wrapping key has 32 bytes")
    return AESGCM(key)


@lru_cache(maxsize=PARSED_PUBLIC_KEYS)
def _parsed(public: bytes) -> MLKEM768X25519PublicKey:
    if len(public) != PUBLIC_BYTES or public[0] != MLKEM768_X25519:
        raise CryptoError("not the public key of a mailbox")
    try:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[1 : 1 + ML_KEM_PUBLIC]),
            X25519PublicKey.from_public_bytes(public[1 + ML_KEM_PUBLIC :]),
        )
    except ValueError:
        raise CryptoError("not the public key of a mailbox") from None
