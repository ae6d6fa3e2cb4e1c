"""A large message that stays with its operator until the recipient's fetches it, and the small one that leads there.

    pointer message = the message's own header without its MIME fields
                      Content-Type: application/x-caducee-pointer
                      (empty line) one line of JSON
    what is held    = a blob (crypto/blob.py) of the message and zeros up to `padded`, its key in the pointer alone

Invariants:
- A pointer names a domain and no host, port or URL: who follows it goes where DNS and the trust space lead for that
  domain, which must be the one of the reverse-path. It leads nowhere else.
- The key is made for one message and is in the pointer only: whoever holds the blob cannot read it any more.
- Sizes are padded (Padmé: at most 12 % more, in steps of about 2 % past 1 MB), so that a blob's size names no document.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from crypto import blob
from crypto.edge import Salts
from server.base.errors import ProtocolViolation, Reason
from server.base.ids import content_id
from server.mail import headers

EXTENSION: Final = "CADUCEE-POINTER"  # what an operator announces to another that it follows pointers
HELD_BY: Final = "held:"  # before a domain in the queue: its message is to be fetched from there, not to be sent there
RECIPIENT: Final = "Caducee-Recipient"  # the header of a request that names for whom it is
PATH: Final = "/held/"

_TYPE: Final = "application/x-caducee-pointer"
_LABEL: Final = b"held"
_FORM: Final = 1
_BODY_BYTES: Final = 2_000
_MIME_FIELDS: Final = re.compile(rb"^(?:content-[^:\r\n]*|mime-version)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.I | re.M)
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Pointer:
    """`size`: octets of the message, `padded`: of what was encrypted; `digest`: SHA-256 of the message."""

    domain: str
    held_id: bytes
    key: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    size: int
    padded: int
    ends_at: datetime
    digest: bytes = b""

    @classmethod
    def new(cls, domain: str, size: int, ends_at: datetime) -> Pointer:
        """With a key of its own; its digest comes when all was seen."""
        secret = os.urandom(2 * _SECRET_BYTES)
        return cls(
            domain, content_id(), secret[:_SECRET_BYTES], secret[_SECRET_BYTES:], size, padded_size(size), ends_at
        )

    def writer(self) -> blob.BlobWriter:
        """Encrypts what is held."""
        return blob.BlobWriter(self.key, self.held_id, self._salts, _LABEL)

    def reader(self) -> blob.BlobReader:
        """Opens it, padding included."""
        return blob.BlobReader(self.key, self.held_id, self._salts, self.padded, _LABEL)

    @property
    def _salts(self) -> Salts:
        return Salts(1, {1: self.salt})

    @property
    def path(self) -> str:
        """Where its operator serves it."""
        return PATH + self.held_id.hex()

    def to_message(self, header: bytes) -> bytes:
        """The message that leads there; `header` is the held one's, with its empty line."""
        text = json.dumps(
            {
                "pointer": _FORM,
                "domain": self.domain,
                "id": self.held_id.hex(),
                "key": b64encode(self.key + self.salt).decode(),
                "size": self.size,
                "padded": self.padded,
                "sha256": self.digest.hex(),
                "ends": self.ends_at.isoformat(timespec="seconds"),
            }
        )
        kept = _MIME_FIELDS.sub(b"", header.removesuffix(b"\r\n"))
        return kept + f"MIME-Version: 1.0\r\nContent-Type: {_TYPE}\r\n\r\n{text}\r\n".encode()


def is_pointer(data: bytes) -> bool:
    """Whether a message says that it leads to another."""
    value = headers.first(data[: data.find(b"\r\n\r\n") + 2], "content-type") or ""
    return value.partition(";")[0].strip().lower() == _TYPE


def read(data: bytes) -> Pointer:
    """The pointer in a message. Raises ProtocolViolation(MALFORMED)."""
    body = data.partition(b"\r\n\r\n")[2]
    try:
        if len(body) > _BODY_BYTES:
            raise ValueError
        given: dict[str, Any] = json.loads(body)
        key = b64decode(given["key"], validate=True)
        pointer = Pointer(
            _text(given["domain"]),
            bytes.fromhex(given["id"]),
            key[:_SECRET_BYTES],
            key[_SECRET_BYTES:],
            int(given["size"]),
            int(given["padded"]),
            datetime.fromisoformat(given["ends"]),
            bytes.fromhex(given["sha256"]),
        )
        lengths = [len(one) for one in (pointer.held_id, pointer.key, pointer.salt, pointer.digest)]
        sound = given["pointer"] == _FORM and lengths == [16, 32, 32, 32] and pointer.ends_at.tzinfo is not None
        if not sound or pointer.size < 0 or pointer.padded != padded_size(pointer.size):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        raise ProtocolViolation(Reason.MALFORMED, "This pointer to a message cannot be understood.") from None
    return pointer


def padded_size(size: int) -> int:
    """Padmé (Nikitin et al., "Reducing metadata leakage from encrypted files", §4): O(log log size) bits are told."""
    if size < 2:
        return size
    exponent = size.bit_length() - 1
    cut = exponent - exponent.bit_length()
    return -(-size >> cut) << cut if cut > 0 else size


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
