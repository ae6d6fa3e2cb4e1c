"""Access tokens for a facility's people: made for a mailbox and an acting user, looked at again at each sign-in.

A token is one box under an edge secret: nobody outside reads whom it names, or makes another. It lives SECONDS; what it
may do is what both it and the binding of that moment allow. No socket, no database.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from crypto.edge import EdgeKeys
from crypto.errors import CryptoError
from crypto.sealing import unwrap, wrap
from server.identity.model import Rights

PREFIX: Final = "facility."  # tells these from an identity provider's, which are JSON Web Tokens or opaque
SECONDS: Final = 600
LONGEST: Final = 2_048  # characters: an address of 254, an actor of 64, a name of 100 in four octets each
_LABEL: Final = b"facility token 1"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts at the facility, as it says: an identifier of its own or a national one, and a name."""

    identifier: str
    name: str

    def named(self, subject: str) -> str:
        """For the trail: the certificate's subject first, which the operator bound, then what the facility says."""
        return f"{subject}: {self.identifier} {self.name}"


@dataclass(frozen=True, slots=True)
class Access:
    """What a token is for: a mailbox (normalised address), the facility's key, rights, who acts, until when (UTC)."""

    mailbox: str
    key_hash: bytes
    rights: Rights
    actor: Actor
    until: datetime


def make(edge: EdgeKeys, mailbox: str, key_hash: bytes, rights: Rights, actor: Actor, now: datetime) -> str:
    """A token that lives SECONDS from `now`."""
    until = int((now + timedelta(seconds=SECONDS)).timestamp())
    content = [mailbox, key_hash.hex(), int(rights), actor.identifier, actor.name, until]
    return _written(wrap(_key(edge), json.dumps(content, ensure_ascii=False).encode(), _LABEL))


def read(edge: EdgeKeys, token: str, now: datetime) -> Access | None:
    """What `make` was given; None: it is none of ours, was altered, or is over."""
    if not token.startswith(PREFIX) or len(token) > LONGEST:
        return None
    text = token.removeprefix(PREFIX)
    try:
        box = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        # Only the one form of the octets (RFC 4648 §3.5).
        content = json.loads(unwrap(_key(edge), box, _LABEL)) if _written(box) == token else None
    except (binascii.Error, CryptoError, ValueError):
        return None
    if content is None:
        return None
    mailbox, key_hash, rights, identifier, name, until = content
    access = Access(
        mailbox, bytes.fromhex(key_hash), Rights(rights), Actor(identifier, name), datetime.fromtimestamp(until, UTC)
    )
    return access if now < access.until else None


def _written(box: bytes) -> str:
    return PREFIX + base64.urlsafe_b64encode(box).decode().rstrip("=")


def _key(edge: EdgeKeys) -> bytes:
    return hmac.digest(edge.credential, _LABEL, hashlib.sha256)
