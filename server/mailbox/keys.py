"""The keys of opened mailboxes, kept in memory ten minutes at most, and what each of them opens.

Invariant: a message key is bound to its owner and its content, in both its forms, so a row moved to another mailbox or
another message does not open.
"""

from __future__ import annotations

import hmac
import json
from collections import OrderedDict
from dataclasses import asdict, dataclass, field

import asyncpg

from crypto.errors import IntegrityError
from crypto.keyring import Keyring
from crypto.sealing import MailboxKey, message_info, open_sealed, unwrap, wrap
from server.base import clock
from server.base.errors import Reason, Refused
from server.base.limits import KEY_CACHE_SECONDS
from server.mailbox import queries
from server.mailbox.model import Identity, OwnerKind, OwnerState

OPENED_MAILBOXES = 4_096  # about 20 KB each

SEALED_FORM = "hpke"
MAILBOX_FORM = "mailbox"


@dataclass(frozen=True, slots=True)
class OwnerKey:
    """One mailbox's keys. `names` makes the tokens of folder names."""

    owner_id: int
    kind: OwnerKind
    state: OwnerState
    private: MailboxKey = field(repr=False)
    symmetric: bytes = field(repr=False)
    names: bytes = field(repr=False)

    def message_key(self, content_id: bytes, key: bytes, form: str) -> bytes:
        """The message key of a content row. Raises IntegrityError when it is not this owner's and this content's."""
        info = message_info(self.owner_id, content_id)
        if form == SEALED_FORM:
            return open_sealed(self.private, key, info)
        return unwrap(self.symmetric, key, info)

    def wrap_message_key(self, content_id: bytes, message_key: bytes) -> bytes:
        """The message key in the form that a reader opens fast."""
        return wrap(self.symmetric, message_key, message_info(self.owner_id, content_id))

    def folder_name(self, folder_id: int, name: str) -> bytes:
        """A folder's name as the database keeps it."""
        return wrap(self.symmetric, name.encode(), _context("folder name", self.owner_id, folder_id))

    def open_folder_name(self, folder_id: int, wrapped: bytes) -> str:
        """Raises IntegrityError."""
        return unwrap(self.symmetric, wrapped, _context("folder name", self.owner_id, folder_id)).decode()

    def name_token(self, name: str) -> bytes:
        """What finds a folder by its name, and keeps names unique, where PostgreSQL cannot read them."""
        return hmac.digest(self.names, name.encode(), "sha256")

    def wrap_own(self, label: str, name: bytes, secret: bytes) -> bytes:
        """A neighbour's small secret of this owner (a document's detail), bound to what it is and to its row."""
        return wrap(self.symmetric, secret, _context(label, self.owner_id) + name)

    def unwrap_own(self, label: str, name: bytes, wrapped: bytes) -> bytes:
        """Raises IntegrityError."""
        return unwrap(self.symmetric, wrapped, _context(label, self.owner_id) + name)

    def own_token(self, label: str, value: bytes) -> bytes:
        """What finds such a secret again by a value that PostgreSQL must not see (32 bytes)."""
        return hmac.digest(self.symmetric, _context(f"{label} token", self.owner_id) + value, "sha256")

    def wrap_identity(self, identity: Identity) -> bytes:
        """Whose mailbox it is, as the database keeps it."""
        return wrap(self.symmetric, identity_text(identity), identity_context(self.owner_id))

    def open_identity(self, wrapped: bytes, sealed_key: bytes | None) -> Identity:
        """`sealed_key` is there when an edge named the mailbox. Raises IntegrityError."""
        context = identity_context(self.owner_id)
        key = self.symmetric if sealed_key is None else open_sealed(self.private, sealed_key, context)
        try:
            return Identity(**json.loads(unwrap(key, wrapped, context)))
        except (ValueError, TypeError) as error:
            raise IntegrityError("this identity cannot be understood") from error


def owner_key(owner_id: int, kind: OwnerKind, state: OwnerState, private: MailboxKey) -> OwnerKey:
    """All that follows from a mailbox's private key."""
    symmetric = private.symmetric()
    return OwnerKey(owner_id, kind, state, private, symmetric, hmac.digest(symmetric, b"folder names 1", "sha256"))


def identity_text(identity: Identity) -> bytes:
    """An identity as bytes."""
    return json.dumps(asdict(identity), ensure_ascii=False, separators=(",", ":")).encode()


def identity_context(owner_id: int) -> bytes:
    """What an identity is bound to."""
    return _context("identity", owner_id)


def _context(what: str, *numbers: int) -> bytes:
    return f"caducee {what} 1\0{'/'.join(map(str, numbers))}".encode()


class Keys:
    """Opened mailboxes by owner id, the least used forgotten first, each after ten minutes."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._opened: OrderedDict[int, tuple[float, OwnerKey]] = OrderedDict()

    async def of(self, connection: asyncpg.Connection, owner_id: int, *, closed: bool = False) -> OwnerKey:
        """The keys of a mailbox; of a closed one only with `closed`, and then they are not kept.

        Raises Refused: UNKNOWN_RECIPIENT, RECIPIENT_CLOSED; IntegrityError; KeyMissing when destroyed.
        """
        known = self.known(owner_id)
        if known is not None:
            return known
        row = await connection.fetchrow(queries.OWNER, owner_id)
        if row is None or row["state"] == OwnerState.SPARE:
            raise Refused(Reason.UNKNOWN_RECIPIENT, "There is no such mailbox.")
        if row["state"] == OwnerState.CLOSED and not closed:
            raise Refused(Reason.RECIPIENT_CLOSED, "This mailbox is closed.")
        private = self._keyring.unwrap_private(owner_id, row["wrapped_private_key"])
        key = owner_key(owner_id, OwnerKind(row["kind"]), OwnerState(row["state"]), private)
        if key.state == OwnerState.CLOSED:
            return key
        self._opened[owner_id] = (clock.monotonic() + KEY_CACHE_SECONDS, key)
        if len(self._opened) > OPENED_MAILBOXES:
            self._opened.popitem(last=False)
        return key

    def known(self, owner_id: int) -> OwnerKey | None:
        """The keys if they are in memory and not too old."""
        found = self._opened.get(owner_id)
        if found is None:
            return None
        if found[0] < clock.monotonic():
            del self._opened[owner_id]
            return None
        self._opened.move_to_end(owner_id)
        return found[1]

    def forget(self, owner_id: int) -> None:
        """Drop a mailbox's keys now (closed, destroyed)."""
        self._opened.pop(owner_id, None)
