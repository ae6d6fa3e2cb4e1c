"""The reference on a paper: what finds a prescription, and what it takes to open it.

160 random bits, printed as a QR code. The database keeps a keyed hash of it; the document's key is made of it and of an
edge secret. So neither the database with the keys, nor the paper without the server, opens anything; and who has the
database alone finds nothing by a paper.
"""

from __future__ import annotations

import secrets
from base64 import b32encode
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crypto.blind_index import token
from crypto.edge import EdgeKeys
from crypto.errors import CryptoError, IntegrityError
from crypto.sealing import KEY_BYTES, unwrap, wrap

REFERENCE_BYTES: Final = 20
CHARACTERS: Final = 32  # of its text: base 32 in lower case, which people and QR codes bear
CODE_DIGITS: Final = 8
_ALPHABET: Final = frozenset("abcdefghijklmnopqrstuvwxyz234567")
_VERSION_BYTES: Final = 2


def new_reference() -> str:
    """A new one, as it is printed."""
    return b32encode(secrets.token_bytes(REFERENCE_BYTES)).decode().lower()


def new_code() -> str:
    """The digits that open it together with the reference, for who has no account."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"


def is_reference(text: str) -> bool:
    return len(text) == CHARACTERS and _ALPHABET.issuperset(text)


def found_by(edge: EdgeKeys, reference: str) -> bytes:
    """What the database keeps of it (32 bytes)."""
    return token(edge.credential, f"prescription {reference}")


def code_hash(edge: EdgeKeys, reference: str, code: str) -> bytes:
    """What the database keeps of the digits (32 bytes): of no use with another reference."""
    return token(edge.credential, f"prescription code {reference} {code}")


def seal_document(edge: EdgeKeys, reference: str, document: bytes) -> bytes:
    """The document as the database keeps it: version of the edge secret, then AES-256-GCM."""
    version = edge.salts.current
    return version.to_bytes(_VERSION_BYTES, "big") + wrap(_key(edge, version, reference), document, _CONTEXT)


def open_document(edge: EdgeKeys, reference: str, sealed: bytes) -> bytes:
    """What `seal_document` was given. Raises IntegrityError, KeyMissing."""
    if len(sealed) < _VERSION_BYTES:
        raise IntegrityError("this document does not open")
    version = int.from_bytes(sealed[:_VERSION_BYTES], "big")
    return unwrap(_key(edge, version, reference), sealed[_VERSION_BYTES:], _CONTEXT)


_CONTEXT: Final = b"caducee prescription 1"


def _key(edge: EdgeKeys, version: int, reference: str) -> bytes:
    if not is_reference(reference):
        raise CryptoError("this is no reference")
    return HKDF(hashes.SHA256(), KEY_BYTES, edge.salts.of(version), _CONTEXT).derive(reference.encode())
