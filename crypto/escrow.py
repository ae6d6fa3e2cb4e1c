"""Escrow: what a lost keyring is made again from, readable only by some of several people together.

A secret is split into shares after SLIP-0039 (Shamir's scheme over GF(256), with checksums), each a sentence of words
that a person can write on paper and read aloud; of `shares` any `threshold` give it back, fewer tell nothing.
From it a key pair is derived. Whoever has the public half seals to it; the private half exists only while it is split,
and while enough people sit together to read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics

from crypto.errors import CryptoError
from crypto.sealing import KEY_BYTES, ML_KEM_SEED, SEALED_OVERHEAD, X25519_SEED, MailboxKey, open_sealed, seal
from crypto.sealing import unwrap as _unwrap
from crypto.sealing import wrap as _wrap

_INFO = b"caducee escrow 1"
_SEALED_KEY = KEY_BYTES + SEALED_OVERHEAD


def new(shares: int, threshold: int) -> tuple[bytes, list[str]]:
    """A new escrow: its public key (1,217 bytes) and its shares. Raises `CryptoError` for senseless numbers."""
    if not 2 <= threshold <= shares <= 16:
        raise CryptoError("of 2 to 16 shares at least 2, and not more than there are, give the secret back")
    secret = os.urandom(KEY_BYTES)
    words = generate_mnemonics(1, [(threshold, shares)], secret, extendable=True, iteration_exponent=0)
    return _pair(secret).public(), words[0]


def combined(shares: Sequence[str]) -> MailboxKey:
    """The private half. Raises `CryptoError`: too few shares, of different escrows, or mistyped."""
    try:
        return _pair(combine_mnemonics([" ".join(share.lower().split()) for share in shares]))
    except (MnemonicError, ValueError) as error:
        raise CryptoError(f"these shares give no secret: {error}") from None


def sealed(public: bytes, document: bytes) -> bytes:
    """A document that only the shares open."""
    key = os.urandom(KEY_BYTES)
    return seal(public, key, _INFO) + _wrap(key, document, _INFO)


def opened(private: MailboxKey, document: bytes) -> bytes:
    """What `sealed` was given. Raises IntegrityError: of another escrow, or changed."""
    key = open_sealed(private, document[:_SEALED_KEY], _INFO)
    return _unwrap(key, document[_SEALED_KEY:], _INFO)


def _pair(secret: bytes) -> MailboxKey:
    seeds = HKDF(hashes.SHA256(), ML_KEM_SEED + X25519_SEED, None, _INFO).derive(secret)
    return MailboxKey(seeds[:ML_KEM_SEED], seeds[ML_KEM_SEED:])
