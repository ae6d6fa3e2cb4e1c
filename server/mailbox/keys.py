"""The keys of opened mailboxes, kept in memory ten minutes at most, and what each of them opens.

Invariants:
- A message key is bound to its owner and its content, in both its forms, so a row moved to another mailbox or another
  message does not open.
- A mailbox has one pair that is written with, and for a while others that still open what was sealed to them
  (`mailbox/keylife`). Its tokens stay the same when its pair is turned: they are what unique names are held by.
- What changed is known to every process some seconds later (`follow`): a coming pair before anything is sealed to it,
  destroyed keys so that they are forgotten.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Final, TypeVar, cast
from weakref import WeakValueDictionary

import asyncpg
import structlog

from crypto.errors import CryptoError, IntegrityError
from crypto.keyring import Keyring
from crypto.sealing import SEEDS_BYTES, MailboxKey, message_info, open_sealed, unwrap, wrap
from server.base import clock
from server.base.errors import Reason, Refused
from server.base.limits import KEY_CACHE_SECONDS
from server.db.pool import trouble
from server.mailbox import queries
from server.mailbox.model import Identity, OwnerKind, OwnerState

OPENED_MAILBOXES = 4_096  # about 20 KB each
FOLLOW_SECONDS: Final = 2.0

SEALED_FORM = "hpke"

_TOKEN_KEY = 32

log = structlog.get_logger()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OwnerKey:
    """One mailbox's keys. `names` and `owns` make tokens, of folder names and of a neighbour's values; `others` are the
    pairs that only open."""

    owner_id: int
    kind: OwnerKind
    state: OwnerState
    private: MailboxKey = field(repr=False)
    symmetric: bytes = field(repr=False)
    names: bytes = field(repr=False)
    owns: bytes = field(repr=False)
    others: tuple[OwnerKey, ...] = field(repr=False, default=())

    def message_key(self, content_id: bytes, key: bytes, form: str) -> bytes:
        """The message key of a content row. Raises IntegrityError when it is not this owner's and this content's."""
        info = message_info(self.owner_id, content_id)
        if form == SEALED_FORM:
            return self._by_any(lambda one: open_sealed(one.private, key, info))
        return self._by_any(lambda one: unwrap(one.symmetric, key, info))

    def wrap_message_key(self, content_id: bytes, message_key: bytes) -> bytes:
        """The message key in the form that a reader opens fast."""
        return wrap(self.symmetric, message_key, message_info(self.owner_id, content_id))

    def folder_name(self, folder_id: int, name: str) -> bytes:
        """A folder's name as the database keeps it."""
        return wrap(self.symmetric, name.encode(), _context("folder name", self.owner_id, folder_id))

    def open_folder_name(self, folder_id: int, wrapped: bytes) -> str:
        """Raises IntegrityError."""
        context = _context("folder name", self.owner_id, folder_id)
        return self._by_any(lambda one: unwrap(one.symmetric, wrapped, context)).decode()

    def name_token(self, name: str) -> bytes:
        """What finds a folder by its name, and keeps names unique, where PostgreSQL cannot read them."""
        return hmac.digest(self.names, name.encode(), "sha256")

    def wrap_own(self, label: str, name: bytes, secret: bytes) -> bytes:
        """A neighbour's small secret of this owner (a document's detail), bound to what it is and to its row."""
        return wrap(self.symmetric, secret, _context(label, self.owner_id) + name)

    def unwrap_own(self, label: str, name: bytes, wrapped: bytes) -> bytes:
        """Raises IntegrityError."""
        context = _context(label, self.owner_id) + name
        return self._by_any(lambda one: unwrap(one.symmetric, wrapped, context))

    def own_token(self, label: str, value: bytes) -> bytes:
        """What finds such a secret again by a value that PostgreSQL must not see (32 bytes)."""
        return hmac.digest(self.owns, _context(f"{label} token", self.owner_id) + value, "sha256")

    def wrap_identity(self, identity: Identity) -> bytes:
        """Whose mailbox it is, as the database keeps it."""
        return wrap(self.symmetric, identity_text(identity), identity_context(self.owner_id))

    def open_identity(self, wrapped: bytes, sealed_key: bytes | None) -> Identity:
        """`sealed_key` is there when an edge named the mailbox. Raises IntegrityError."""
        context = identity_context(self.owner_id)

        def opened(one: OwnerKey) -> bytes:
            key = one.symmetric if sealed_key is None else open_sealed(one.private, sealed_key, context)
            return unwrap(key, wrapped, context)

        try:
            return Identity(**json.loads(self._by_any(opened)))
        except (ValueError, TypeError) as error:
            raise IntegrityError("this identity cannot be understood") from error

    def secret(self) -> bytes:
        """What the keyring wraps: the seeds and, of a turned pair, the keys of the tokens."""
        return self.private.seeds() + self.names + self.owns

    def _by_any(self, attempt: Callable[[OwnerKey], T]) -> T:
        try:
            return attempt(self)
        except IntegrityError:
            for other in self.others:
                try:
                    return attempt(other)
                except IntegrityError:
                    continue
            raise


def owner_key(owner_id: int, kind: OwnerKind, state: OwnerState, private: MailboxKey, tokens: bytes = b"") -> OwnerKey:
    """All that follows from a mailbox's private key; `tokens`: the keys of its tokens when this is not its first."""
    symmetric = private.symmetric()
    names = tokens[:_TOKEN_KEY] or hmac.digest(symmetric, b"folder names 1", "sha256")
    owns = tokens[_TOKEN_KEY:] or hmac.digest(symmetric, b"own tokens 1", "sha256")
    return OwnerKey(owner_id, kind, state, private, symmetric, names, owns)


def open_owner(
    keyring: Keyring, owner_id: int, kind: OwnerKind, state: OwnerState, wrapped: bytes, others: Sequence[bytes] = ()
) -> OwnerKey:
    """The keys of an owner's row. Raises IntegrityError; KeyMissing when destroyed."""
    current, *further = (_opened_pair(keyring, owner_id, kind, state, one) for one in (wrapped, *others))
    return replace(current, others=tuple(further))


def _opened_pair(keyring: Keyring, owner_id: int, kind: OwnerKind, state: OwnerState, wrapped: bytes) -> OwnerKey:
    secret = keyring.unwrap_owned(owner_id, wrapped)
    return owner_key(owner_id, kind, state, MailboxKey.from_seeds(secret[:SEEDS_BYTES]), secret[SEEDS_BYTES:])


def identity_text(identity: Identity) -> bytes:
    """An identity as bytes."""
    return json.dumps(asdict(identity), ensure_ascii=False, separators=(",", ":")).encode()


def identity_context(owner_id: int) -> bytes:
    """What an identity is bound to."""
    return _context("identity", owner_id)


def _context(what: str, *numbers: int) -> bytes:
    return f"caducee {what} 1\0{'/'.join(map(str, numbers))}".encode()


class Opened:
    """A mailbox's keys as long as anybody holds them: replaced in place when they were turned, taken away when they
    were destroyed."""

    __slots__ = ("__weakref__", "_key")

    def __init__(self, key: OwnerKey) -> None:
        self._key: OwnerKey | None = key

    @property
    def key(self) -> OwnerKey:
        """Raises Refused(RECIPIENT_CLOSED): the keys were destroyed meanwhile."""
        if self._key is None:
            raise Refused(Reason.RECIPIENT_CLOSED, "This mailbox is closed.")
        return self._key

    def become(self, key: OwnerKey | None) -> None:
        """What it is from now on."""
        self._key = key


class Keys:
    """Opened mailboxes by owner id, the least used forgotten first, each after ten minutes."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._opened: OrderedDict[int, tuple[float, Opened]] = OrderedDict()
        self._held: WeakValueDictionary[int, Opened] = WeakValueDictionary()  # sessions hold theirs for longer
        self._revision = 0

    async def of(self, connection: asyncpg.Connection, owner_id: int, *, closed: bool = False) -> OwnerKey:
        """The keys of a mailbox; of a closed one only with `closed`, and then they are not kept.

        Raises Refused: UNKNOWN_RECIPIENT, RECIPIENT_CLOSED; IntegrityError; KeyMissing when destroyed.
        """
        known = self.known(owner_id)
        if known is not None:
            return known.key
        key = await self._read(connection, owner_id, closed)
        return key if key.state == OwnerState.CLOSED else self._keep(key).key

    async def opened(self, connection: asyncpg.Connection, owner_id: int) -> Opened:
        """The same for who goes on to hold them. Raises as `of`."""
        return self.known(owner_id) or self._keep(await self._read(connection, owner_id, False))

    def known(self, owner_id: int) -> Opened | None:
        """The keys if they are in memory and not too old."""
        found = self._opened.get(owner_id)
        if found is None:
            return None
        if found[0] < clock.monotonic():
            del self._opened[owner_id]
            return None
        self._opened.move_to_end(owner_id)
        return found[1]

    async def look(self, connection: asyncpg.Connection) -> None:
        """Take what changed since the last look: the keyring's files, and the pairs of mailboxes that are open here."""
        self._keyring.refresh()
        for owner_id, revision in await connection.fetch(queries.TURNED, self._revision):
            held = self._held.get(owner_id)
            if held is not None:
                try:
                    held.become(await self._read(connection, owner_id, False))
                except (Refused, CryptoError):
                    held.become(None)
                    self._opened.pop(owner_id, None)
            self._revision = revision

    def _keep(self, key: OwnerKey) -> Opened:
        held = self._held.get(key.owner_id)
        if held is None:
            held = self._held[key.owner_id] = Opened(key)
        else:
            held.become(key)
        self._opened[key.owner_id] = (clock.monotonic() + KEY_CACHE_SECONDS, held)
        if len(self._opened) > OPENED_MAILBOXES:
            self._opened.popitem(last=False)
        return held

    async def _read(self, connection: asyncpg.Connection, owner_id: int, closed: bool) -> OwnerKey:
        row = await connection.fetchrow(queries.OWNER, owner_id)
        if row is None or row["state"] == OwnerState.SPARE:
            raise Refused(Reason.UNKNOWN_RECIPIENT, "There is no such mailbox.")
        if row["state"] == OwnerState.CLOSED and not closed:
            raise Refused(Reason.RECIPIENT_CLOSED, "This mailbox is closed.")
        kind, state = OwnerKind(row["kind"]), OwnerState(row["state"])
        return open_owner(self._keyring, owner_id, kind, state, row["wrapped_private_key"], row["others"] or ())


async def look(pool: asyncpg.Pool, keys: Keys) -> None:
    """One look, on a connection of the pool."""
    async with pool.acquire() as acquired:
        await keys.look(cast(asyncpg.Connection, acquired))


class Following:
    """Looks again and again, for the edges whose sessions last."""

    def __init__(self, pool: asyncpg.Pool, keys: Keys) -> None:
        self._pool = pool
        self._keys = keys
        self._task = asyncio.create_task(self._follow(), name="keys")

    async def _follow(self) -> None:
        while True:
            try:
                await look(self._pool, self._keys)
            except Exception as error:  # whatever it meets, the keys that are known go on to open
                log.warning("keys_wait" if trouble(error) is not None else "keys_failed", error=error)
            await asyncio.sleep(FOLLOW_SECONDS)

    async def close(self) -> None:
        """Follow no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
