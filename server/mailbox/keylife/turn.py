"""A new pair for one mailbox: it is announced, then used, then what is under the former one is brought under it.

- Announced first, so that every process can open what is sealed to the new pair before anything is.
- From the switch on, edges seal to the new pair and its proof. What was sealed before, or comes late from a message
  that was under way (two hours at most), opens with the former one, which is dropped only when a whole pass that began
  after that left nothing under it.
- Tokens of folder names and of documents stay: they are carried along.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import asyncpg
import structlog

from crypto.edge import EdgeKeys
from crypto.errors import IntegrityError
from crypto.keyring import Keyring
from crypto.sealing import MailboxKey
from server.base.errors import Reason, Refused
from server.base.limits import LARGE_MESSAGE_SECONDS
from server.mailbox import queries as store_queries
from server.mailbox.beside import annotation, entrusted, signing_keys, url_keys
from server.mailbox.beside import queries as beside_queries
from server.mailbox.blocks import queries as block_queries
from server.mailbox.folders import SUBSCRIPTION
from server.mailbox.keylife import queries
from server.mailbox.keylife.renewal import PAGE, Advance
from server.mailbox.keys import FOLLOW_SECONDS, OwnerKey, open_owner, owner_key
from server.mailbox.model import OwnerKind, OwnerState
from server.mailbox.routes import proof

# From the announcement to the switch: every process has looked several times, or cannot read the store either.
ANNOUNCED_SECONDS = 3 * FOLLOW_SECONDS
# After the switch nothing is sealed to the former pair any more: what was under way is in, or was given up.
SETTLED = timedelta(seconds=LARGE_MESSAGE_SECONDS + 600)

log = structlog.get_logger()

# What a neighbour keeps under a mailbox's key, brought under its current pair.
Neighbour = Callable[[asyncpg.Connection, OwnerKey], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Former:
    """A pair that was replaced. `left_at`: when the last whole pass began, None before the first has ended."""

    owner_id: int
    key_id: int
    changed_at: datetime
    left_at: datetime | None

    @property
    def is_left(self) -> bool:
        """Whether nothing can be under it any more."""
        return self.left_at is not None and self.left_at - self.changed_at >= SETTLED


async def announce(connection: asyncpg.Connection, keyring: Keyring, owner_id: int, now: datetime) -> None:
    """Make a mailbox its next pair; one that was announced before stays. Raises Refused(UNKNOWN_RECIPIENT)."""
    async with connection.transaction():
        await connection.execute(queries.RENEWING)
        keyring.refresh()
        row = await _owner(connection, owner_id)
        if await connection.fetchrow(queries.COMING, owner_id) is not None:
            return
        current = _key(keyring, owner_id, row, row["wrapped_private_key"])
        following = owner_key(
            owner_id, current.kind, current.state, MailboxKey.generate(), current.names + current.owns
        )
        wrapped = keyring.wrap_owned(owner_id, following.secret())
        await connection.execute(queries.ADD_PAIR, owner_id, "coming", following.private.public(), wrapped, now)


async def switch(
    connection: asyncpg.Connection, keyring: Keyring, edge: EdgeKeys, owner_id: int, now: datetime
) -> None:
    """Use the pair that was announced, ANNOUNCED_SECONDS ago at least. Raises Refused(UNKNOWN_RECIPIENT)."""
    async with connection.transaction():
        await connection.execute(queries.RENEWING)
        row = await _owner(connection, owner_id)
        coming = await connection.fetchrow(queries.COMING, owner_id)
        if coming is None:
            return
        public, wrapped = coming["public_key"], coming["wrapped_private_key"]
        # What the database names as the new pair is opened first: nobody who writes there alone leads mail to a key.
        if _key(keyring, owner_id, row, wrapped).private.public() != public:
            raise IntegrityError("the pair that was announced is not one of this mailbox")
        await connection.execute(queries.DROP_PAIR, owner_id, coming["key_id"])
        former = (row["public_key"], row["wrapped_private_key"])
        await connection.execute(queries.ADD_PAIR, owner_id, "former", *former, now)
        await connection.execute(queries.SET_PAIR, owner_id, public, wrapped)
        tokens = [one["token"] for one in await connection.fetch(queries.ADDRESSES, owner_id)]
        proofs = [proof(edge, token, owner_id, public) for token in tokens]
        await connection.execute(queries.SET_PROOFS, tokens, proofs)


async def announced(connection: asyncpg.Connection) -> list[int]:
    """Whose turn was begun and not made."""
    return [row["owner_id"] for row in await connection.fetch(queries.ANNOUNCED)]


async def former(connection: asyncpg.Connection) -> list[Former]:
    """The pairs that were replaced and not dropped yet."""
    return [Former(*row) for row in await connection.fetch(queries.FORMER)]


async def contents(connection: asyncpg.Connection, owner_ids: Sequence[int]) -> int:
    """How many contents `bring` will look at."""
    return int(await connection.fetchval(queries.COUNT_CONTENTS, list(owner_ids)))


async def bring(
    connection: asyncpg.Connection,
    keyring: Keyring,
    owner_id: int,
    now: datetime,
    neighbours: Sequence[Neighbour] = (),
    advance: Advance = lambda done: None,
) -> int:
    """One pass over all that a mailbox keeps: what is under a former pair is brought under the current one.

    Goes on where the last one was killed; returns how many message keys were wrapped anew.
    """
    row = await connection.fetchrow(store_queries.OWNER, owner_id)
    if row is None or row["state"] == OwnerState.CLOSED:
        return 0
    kind, state = OwnerKind(row["kind"]), OwnerState(row["state"])
    key = open_owner(keyring, owner_id, kind, state, row["wrapped_private_key"], row["others"] or ())
    current = replace(key, others=())
    await connection.execute(queries.BEGIN_ROUND, owner_id, now)
    upto: bytes = await connection.fetchval(queries.ROUND_UPTO, owner_id) or b""
    if not upto:
        await _names(connection, key)
        for neighbour in neighbours:
            await neighbour(connection, key)
    done = 0
    while rows := await connection.fetch(queries.CONTENTS, owner_id, upto, PAGE):
        changed = []
        for content_id, old, form in rows:
            try:
                if not _opens(current, content_id, old, form):
                    message_key = key.message_key(content_id, old, form)
                    changed.append((content_id, old, current.wrap_message_key(content_id, message_key)))
            except IntegrityError:  # a row that somebody wrote to: no pair of this mailbox ever opened it
                log.error("content_damaged", owner=owner_id, content=content_id.hex(), part="key")
        upto = rows[-1]["content_id"]
        async with connection.transaction():
            if changed:
                await connection.execute(queries.PUT_CONTENTS, owner_id, *map(list, zip(*changed, strict=True)))
            await connection.execute(queries.ADVANCE_ROUND, owner_id, upto)
        done += len(changed)
        advance(len(rows))
    await connection.execute(queries.END_ROUND, owner_id)
    return done


async def drop(connection: asyncpg.Connection, pair: Former) -> None:
    """Forget a former pair under which nothing is left (`is_left`) but view blocks: searches make them anew."""
    async with connection.transaction():
        await connection.execute(block_queries.DROP_OWNERS_BLOCKS, pair.owner_id)
        await connection.execute(queries.DROP_PAIR, pair.owner_id, pair.key_id)


async def _owner(connection: asyncpg.Connection, owner_id: int) -> asyncpg.Record:
    row = await connection.fetchrow(queries.OWNER, owner_id)
    if row is None:
        raise Refused(Reason.UNKNOWN_RECIPIENT, "There is no such mailbox, or it is closed.")
    return row


def _key(keyring: Keyring, owner_id: int, row: asyncpg.Record, wrapped: bytes) -> OwnerKey:
    return open_owner(keyring, owner_id, OwnerKind(row["kind"]), OwnerState(row["state"]), wrapped)


def _opens(key: OwnerKey, content_id: bytes, wrapped: bytes, form: str) -> bool:
    try:
        key.message_key(content_id, wrapped, form)
    except IntegrityError:
        return False
    return True


def again(key: OwnerKey, label: str, name: bytes, wrapped: bytes) -> bytes:
    """A small secret of the mailbox under its current pair. Raises IntegrityError."""
    return key.wrap_own(label, name, key.unwrap_own(label, name, wrapped))


async def _names(connection: asyncpg.Connection, key: OwnerKey) -> None:
    """All but contents: names of folders and subscriptions, annotations, the keys beside, the identity."""
    for folder_id, wrapped in await connection.fetch(queries.FOLDER_NAMES, key.owner_id):
        fresh = key.folder_name(folder_id, key.open_folder_name(folder_id, wrapped))
        await connection.execute(queries.PUT_FOLDER_NAME, key.owner_id, folder_id, wrapped, fresh)
    for token, wrapped in await connection.fetch(queries.SUBSCRIPTIONS, key.owner_id):
        fresh = again(key, SUBSCRIPTION, token, wrapped)
        await connection.execute(queries.PUT_SUBSCRIPTION, key.owner_id, token, wrapped, fresh)
    for folder_id, reader_id, token, sealed in await connection.fetch(queries.ANNOTATIONS, key.owner_id):
        fresh = again(key, annotation.LABEL, annotation.place(folder_id, reader_id, token), sealed)
        await connection.execute(queries.PUT_ANNOTATION, key.owner_id, token, sealed, fresh)
    for folder_id, sealed in await connection.fetch(queries.URL_KEYS, key.owner_id):
        fresh = again(key, url_keys.LABEL, str(folder_id).encode(), sealed)
        await connection.execute(queries.PUT_URL_KEY, key.owner_id, folder_id, sealed, fresh)
    for made_at, sealed in await connection.fetch(beside_queries.SIGNING_KEYS, key.owner_id):
        fresh = again(key, signing_keys.LABEL, signing_keys.place(made_at), sealed)
        await connection.execute(queries.PUT_SIGNING_KEY, key.owner_id, made_at, sealed, fresh)
    for token, sealed in await connection.fetch(beside_queries.ENTRUSTED, key.owner_id):
        fresh = again(key, entrusted.LABEL, token, sealed)
        await connection.execute(queries.PUT_ENTRUSTED, key.owner_id, token, sealed, fresh)
    await connection.execute(queries.DROP_BLOCKS, key.owner_id)
    row = await connection.fetchrow(store_queries.IDENTITY, key.owner_id)
    if row is not None:
        identity = key.open_identity(row["identity"], row["identity_key"])
        await connection.execute(queries.PUT_IDENTITY, key.owner_id, row["identity"], key.wrap_identity(identity))
