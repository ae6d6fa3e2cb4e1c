"""What the rows of local accounts are sealed and found by: keys made of the edge's credential secret.

Whoever can write to the database alone cannot make a row that opens, nor hang one on another mailbox.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from crypto.edge import EdgeKeys
from crypto.errors import IntegrityError
from crypto.sealing import unwrap, wrap

_KEY = b"local account 1"


def seal(edge: EdgeKeys, label: str, owner_id: int, value: dict[str, Any], place: bytes = b"") -> bytes:
    """A small document of a row, bound to what it is, to its owner and to its place."""
    return wrap(_key(edge), json.dumps(value).encode(), _context(label, owner_id, place))


def opened(edge: EdgeKeys, label: str, owner_id: int, sealed: bytes, place: bytes = b"") -> dict[str, Any] | None:
    """What was sealed; None for a row that was not made with the edge's secret, or was moved."""
    try:
        value = json.loads(unwrap(_key(edge), sealed, _context(label, owner_id, place)))
    except IntegrityError:
        return None
    return value if isinstance(value, dict) else None


def keyed(edge: EdgeKeys, label: str, *parts: object) -> bytes:
    """A keyed hash (32 bytes) by which a secret, or something bound to its owner, is found or compared."""
    text = "\0".join((label, *map(str, parts)))
    return hmac.digest(edge.credential, b"local " + text.encode("utf-8", "surrogatepass"), hashlib.sha256)


def _key(edge: EdgeKeys) -> bytes:
    return hmac.digest(edge.credential, _KEY, hashlib.sha256)


def _context(label: str, owner_id: int, place: bytes) -> bytes:
    return f"{label} 1\0{owner_id}\0".encode() + place
