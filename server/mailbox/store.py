"""The store as its readers see it: one `Mailbox` per owner, opened with the keyring.

Rules that every method keeps:
1. uid and modseq come only from `UPDATE folder_state … RETURNING` in the transaction that writes the rows. The row lock
   is held to commit, so commit order = uid order = modseq order.
2. Locks in one order: content rows, then `SELECT … FROM folder_state ORDER BY owner_id, folder_id FOR NO KEY UPDATE`,
   then counters and rows.
3. Counters and rows that are returned together come from one snapshot.
4. A command on more than 1,000 messages runs in steps of 1,000, each its own transaction and modseq.
5. Watchers are told after COMMIT, by the announcer, never inside the transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal

import asyncpg

from crypto.edge import EdgeKeys
from crypto.keyring import Keyring
from crypto.pki.issue import Issued
from crypto.smime.anchors import TrustAnchors
from server.audit.trail import Audit
from server.base import clock
from server.base.errors import Reason, Refused
from server.identity.model import Rights
from server.mail.summary import Summary
from server.mailbox import commands, content, folders, marks, queries, sharing, terms, views
from server.mailbox.beside import annotation, handed, signing_keys, url_keys
from server.mailbox.blocks.block import Block
from server.mailbox.blocks.shelf import Shelf
from server.mailbox.commands import Addition, Progress
from server.mailbox.feed import Announcer
from server.mailbox.incoming import Incoming
from server.mailbox.keys import Following, Keys, Opened, OwnerKey
from server.mailbox.model import (
    INBOX_ID,
    LIST_ID,
    Changes,
    Folder,
    FolderState,
    Identity,
    NewMessage,
    OwnerKind,
    Row,
    StoreResult,
    View,
)
from server.mailbox.reading import Reader, Reading, Wanted
from server.mailbox.routes import routes
from server.mailbox.sharing import Share
from server.mailbox.table import Chunk
from server.mailbox.trouble import connection
from server.mailbox.words import Words, open_words

Operation = Literal["add", "remove", "replace"]
Also = Callable[[asyncpg.Connection], Awaitable[None]]


class Store:
    """Opens mailboxes. One per process; keys of opened mailboxes are kept 10 minutes at most."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        edge: EdgeKeys,
        keyring: Keyring,
        anchors: TrustAnchors | None = None,
        quota_bytes: int = 0,
    ) -> None:
        """`anchors` let `append` give a verdict on a signed message; without them it is marked as not judged.
        `quota_bytes`: the room of a mailbox that has none of its own, 0 for no limit.
        """
        self.pool = pool
        self.edge = edge
        self.anchors = anchors
        self.quota_bytes = quota_bytes
        self.keys = Keys(keyring)
        self.audit = Audit(edge)
        self.announcer = Announcer(pool)
        self.reader = Reader(pool, self.audit)
        self.opener = folders.Opener(pool)
        self.large_words = asyncio.Semaphore(1)

    async def open(self, owner_id: int) -> Mailbox:
        """The mailbox of an owner. Raises Refused: UNKNOWN_RECIPIENT, RECIPIENT_CLOSED; TryLater."""
        opened = self.keys.known(owner_id)
        if opened is None:
            async with connection(self.pool) as acquired:
                opened = await self.keys.opened(acquired, owner_id)
        return Mailbox(self, opened)

    def follow(self) -> Following:
        """Learn of keys that are turned or destroyed, until it is closed."""
        return Following(self.pool, self.keys)

    async def find(self, address: str) -> Mailbox:
        """The mailbox of an address. Raises as `open`."""
        route = (await routes(self.pool, self.edge, [address])).get(address)
        if route is None:
            raise Refused(Reason.UNKNOWN_RECIPIENT, "There is no such mailbox.")
        return await self.open(route.owner_id)


class Mailbox:
    """One owner's folders and messages. Cheap: it holds a key and no rows. Safe to share between tasks."""

    def __init__(self, store: Store, opened: Opened) -> None:
        self._store = store
        self._pool = store.pool
        self._opened = opened
        self.owner_id: int = opened.key.owner_id
        self.kind: OwnerKind = opened.key.kind

    @property
    def _key(self) -> OwnerKey:
        return self._opened.key

    async def identity(self) -> Identity:
        """Whose mailbox it is, decrypted. Raises IntegrityError when the row was tampered with."""
        async with connection(self._pool) as acquired:
            row = await acquired.fetchrow(queries.IDENTITY, self.owner_id)
        if row is None:
            raise Refused(Reason.UNKNOWN_RECIPIENT, "There is no such mailbox.")
        return self._key.open_identity(row["identity"], row["identity_key"])

    def wrap_own(self, label: str, name: bytes, secret: bytes) -> bytes:
        """A small secret of another room about this owner, encrypted; `label` and `name` say what and which it is."""
        return self._key.wrap_own(label, name, secret)

    def unwrap_own(self, label: str, name: bytes, wrapped: bytes) -> bytes:
        """Raises IntegrityError."""
        return self._key.unwrap_own(label, name, wrapped)

    def own_token(self, label: str, value: bytes) -> bytes:
        """A keyed token of a value, for uniqueness and look-up inside this mailbox (32 bytes)."""
        return self._key.own_token(label, value)

    async def folders(self) -> list[Folder]:
        """All folders, INBOX first, then by name."""
        async with connection(self._pool) as acquired:
            return await folders.listed(acquired, self._key)

    async def folder(self, name: str) -> Folder:
        """The folder of that name ("inbox" in any case is INBOX). Raises Refused(NO_SUCH_FOLDER)."""
        async with connection(self._pool) as acquired:
            return await folders.named(acquired, self._key, name)

    async def opened_folder(self, name: str) -> tuple[Folder, FolderState]:
        """The folder of that name and its counters. Raises Refused(NO_SUCH_FOLDER)."""
        return await folders.opened(self._store.opener, self._key, name)

    async def create_folder(self, name: str, special_use: str | None = None) -> Folder:
        """Raises Refused: FOLDER_EXISTS, BAD_FOLDER_NAME, LIMIT_REACHED."""
        async with connection(self._pool) as acquired:
            folder = await folders.create(acquired, self._key, name, special_use)
        self._changed(LIST_ID)
        return folder

    async def rename_folder(self, name: str, new_name: str) -> Folder:
        """Renames a folder and those below it; INBOX moves its messages into a new folder (RFC 9051 §6.3.6).

        Raises Refused: NO_SUCH_FOLDER, FOLDER_EXISTS, BAD_FOLDER_NAME.
        """
        async with connection(self._pool) as acquired:
            folder = await folders.rename(acquired, self._key, name, new_name)
        self._changed(LIST_ID, INBOX_ID, folder.folder_id)
        return folder

    async def delete_folder(self, name: str) -> None:
        """Raises Refused: NO_SUCH_FOLDER, FOLDER_PROTECTED (INBOX)."""
        async with connection(self._pool) as acquired:
            folder = await folders.delete(acquired, self._key, name)
        self._changed(LIST_ID, folder.folder_id)

    async def subscribe(self, name: str, subscribed: bool) -> None:
        """Raises Refused(NO_SUCH_FOLDER)."""
        async with connection(self._pool) as acquired:
            await folders.subscribe(acquired, self._key, name, subscribed)
        self._changed(LIST_ID)

    async def kept_subscriptions(self) -> list[str]:
        """The subscribed names that no folder has (any more), in order."""
        async with connection(self._pool) as acquired:
            return await folders.kept_subscriptions(acquired, self._key)

    async def usage(self) -> terms.Usage:
        """What the mailbox holds and may hold."""
        async with connection(self._pool) as acquired:
            return await terms.usage(acquired, self.owner_id, self._store.quota_bytes)

    async def check_room(self) -> None:
        """Raises Refused(MAILBOX_FULL) where the mailbox holds more than it may already."""
        async with connection(self._pool) as acquired:
            await terms.check_room(acquired, self.owner_id, self._store.quota_bytes)

    async def annotations(self, reader_id: int) -> annotation.Annotations:
        """What is written of the mailbox and its folders, as this reader (a mailbox's number) sees it."""
        async with connection(self._pool) as acquired:
            return await annotation.seen_by(acquired, self._key, reader_id)

    async def annotate(self, folder_id: int | None, reader_id: int, entries: Mapping[str, bytes | None]) -> None:
        """Sets or removes entries, all or none. Raises Refused: LIMIT_REACHED, MAILBOX_FULL, NO_SUCH_FOLDER."""
        async with connection(self._pool) as acquired:
            await annotation.change(acquired, self._key, folder_id, reader_id, entries)
        self._changed(LIST_ID)

    async def url_key(self, folder_id: int, make: bool = False) -> bytes | None:
        """The key of a folder's URLs (RFC 4467); None where it has none, and none is to be made."""
        async with connection(self._pool) as acquired:
            return await (url_keys.made if make else url_keys.known)(acquired, self._key, folder_id)

    async def drop_url_keys(self, folder_id: int | None) -> None:
        """Every URL of the folder, or of all, that was made until now leads nowhere."""
        async with connection(self._pool) as acquired:
            await url_keys.drop(acquired, self.owner_id, folder_id)

    async def signer(self, moment: datetime) -> Issued | None:
        """What signs the mailbox's own message of this Date; None where it had nothing to sign with then."""
        async with connection(self._pool) as acquired:
            return await signing_keys.at(acquired, self._key, moment)

    async def hand_over(
        self, folder_id: int, url: bytes, size: int, pieces: AsyncIterator[bytes], until: datetime
    ) -> None:
        """Leave a copy of these octets for submission, which opens it with the URL (BURL). Raises TryLater."""
        place = self.owner_id, folder_id
        await handed.hand_over(self._pool, self._store.edge.salts, place, url, size, pieces, until)

    async def shares(self) -> list[Share]:
        """With whom the mailbox is shared."""
        return await sharing.shares(self._store, self.owner_id)

    async def share(self, address: str, rights: Rights, actor: str) -> None:
        """Gives a person these rights here, none to end it. Raises Refused: UNKNOWN_RECIPIENT, NOT_ALLOWED."""
        await sharing.share(self._store, self.owner_id, address, rights, actor)

    async def states(self, folder_ids: Sequence[int] | None = None) -> dict[int, FolderState]:
        """Counters by folder id, of all folders or of those asked (a missing one is left out)."""
        async with connection(self._pool) as acquired:
            return await views.states(acquired, self.owner_id, folder_ids)

    async def claim_recent(self, folder_id: int, end: int) -> int | None:
        """Makes messages below uid `end` that no session was told of this one's; the first of them, None for none."""
        async with connection(self._pool) as acquired:
            return await views.claim_recent(acquired, self.owner_id, folder_id, end)

    async def deleted_bytes(self) -> dict[int, int]:
        """Octets of the messages with \\Deleted by folder id; folders without such are left out."""
        async with connection(self._pool) as acquired:
            return await views.deleted_bytes(acquired, self.owner_id)

    async def view(self, folder_id: int) -> View:
        """The folder with all its rows. Raises Refused(NO_SUCH_FOLDER)."""
        async with connection(self._pool) as acquired:
            return await views.view(acquired, self._key, folder_id)

    async def rows(self, folder_id: int, uids: Sequence[int]) -> list[Row]:
        """Those of these messages that are there, in order of uid."""
        async with connection(self._pool) as acquired:
            return await commands.present(acquired, self.owner_id, folder_id, uids)

    async def changes(self, folder_id: int, since_modseq: int) -> Changes:
        """What changed after a modseq. Raises Refused(NO_SUCH_FOLDER)."""
        async with connection(self._pool) as acquired:
            return await views.changes(acquired, self.owner_id, folder_id, since_modseq)

    async def vanished(self, folder_id: int, since_modseq: int) -> list[tuple[int, int]] | None:
        """Ranges of uids removed after a modseq, None past the log's horizon. Raises Refused(NO_SUCH_FOLDER)."""
        async with connection(self._pool) as acquired:
            return await views.vanished(acquired, self.owner_id, folder_id, since_modseq)

    async def store(
        self,
        folder_id: int,
        uids: Sequence[int],
        op: Operation,
        flags: int,
        keywords: Sequence[str] = (),
        unchanged_since: int | None = None,
        progress: Progress | None = None,
    ) -> StoreResult:
        """Changes flags and keywords; uids that do not exist are passed over, rows that stay equal keep their modseq.

        Raises Refused: NO_SUCH_FOLDER, LIMIT_REACHED (keywords of one message).
        """
        async with connection(self._pool) as acquired:
            result = await commands.store(
                acquired, self.owner_id, folder_id, uids, op, flags, keywords, unchanged_since, progress
            )
        self._changed(folder_id)
        return result

    async def expunge(
        self, folder_id: int, uids: Sequence[int] | None = None, progress: Progress | None = None
    ) -> list[int]:
        """Removes messages that carry \\Deleted (among `uids` when given); returns their uids in order."""
        async with connection(self._pool) as acquired:
            gone = await commands.expunge(acquired, self.owner_id, folder_id, uids, progress)
        if gone:
            self._changed(folder_id)
        return gone

    async def copy(
        self, folder_id: int, uids: Sequence[int], target_id: int, progress: Progress | None = None
    ) -> list[tuple[int, int]]:
        """Copies, all or nothing, and returns (uid, new uid) in order. Raises Refused: NO_SUCH_FOLDER, MAILBOX_FULL."""
        async with connection(self._pool) as acquired, acquired.transaction():
            copied = await commands.copy(acquired, self.owner_id, folder_id, uids, target_id, progress)
            await terms.check_room(acquired, self.owner_id, self._store.quota_bytes)
        self._changed(target_id)
        return copied

    async def move(
        self, folder_id: int, uids: Sequence[int], target_id: int, progress: Progress | None = None
    ) -> list[tuple[int, int]]:
        """Moves (RFC 6851), each step of 1,000 as a whole; returns (uid, new uid). Raises Refused(NO_SUCH_FOLDER)."""
        async with connection(self._pool) as acquired:
            moved = await commands.move(acquired, self.owner_id, folder_id, uids, target_id, progress)
        self._changed(folder_id, target_id)
        return moved

    async def append(
        self,
        folder_id: int,
        data: bytes,
        flags: int = 0,
        keywords: Sequence[str] = (),
        internaldate: datetime | None = None,
    ) -> int:
        """Stores a message of the owner's own; its uid. Raises Refused: NO_SUCH_FOLDER, MAILBOX_FULL; TryLater."""
        message = NewMessage(data, flags, tuple(keywords), internaldate)
        return (await self.append_many(folder_id, [message]))[0]

    async def append_many(self, folder_id: int, messages: Sequence[NewMessage], also: Also | None = None) -> list[int]:
        """Appends all or none, in order; returns the uids. `also` runs in the same transaction. Raises as `append`."""
        prepared, additions = await self._prepare(messages)
        async with connection(self._pool) as acquired, acquired.transaction():
            await content.write(acquired, self._key, prepared)
            uids = await commands.append(acquired, self.owner_id, folder_id, additions)
            await terms.check_room(acquired, self.owner_id, self._store.quota_bytes)
            if also is not None:
                await also(acquired)
        self._changed(folder_id)
        return uids

    def reading(self, actor: str, content_ids: Sequence[bytes], purpose: str) -> Reading:
        """For `summaries` and `body`, whose first answer tells it in the trail; `actor` is an address."""
        return Reading(self.owner_id, actor, content_ids, purpose)

    async def replace(self, folder_id: int, uid: int, target_id: int, message: NewMessage) -> int:
        """Puts a message in the place of another, at once or not at all (RFC 8508); returns its uid.

        Raises as `append`, and Refused(NO_SUCH_MESSAGE).
        """
        prepared, (addition,) = await self._prepare([message])
        async with connection(self._pool) as acquired, acquired.transaction():
            await content.write(acquired, self._key, prepared)
            new = await commands.replace(acquired, self.owner_id, folder_id, uid, target_id, addition)
            await terms.check_room(acquired, self.owner_id, self._store.quota_bytes)
        self._changed(folder_id, target_id)
        return new

    def incoming(self) -> Incoming:
        """A message that comes in pieces, for `append_many` or `replace`."""
        return Incoming(self._pool, self.owner_id, self._store.anchors, self._store.edge.salts)

    async def summaries(self, content_ids: Sequence[bytes], reading: Reading | None = None) -> dict[bytes, Summary]:
        """The summaries of those contents, one query for all; one that does not open is left out and logged."""
        rows = await self._store.reader.read(Wanted(self.owner_id, content_ids, reading=reading))
        found, fresh = content.opened(self._key, rows, self._store.edge.salts)
        await self._rewrap(fresh)
        return found

    async def body(
        self, content_id: bytes, start: int = 0, end: int | None = None, reading: Reading | None = None
    ) -> bytes:
        """Octets [start, end) of the message text; only the chunks that hold them are read and decrypted.

        Raises Refused(NO_SUCH_MESSAGE), Refused(CONTENT_DAMAGED).
        """
        salts = self._store.edge.salts
        plain, fresh = await content.body(self._store.reader, self._key, content_id, start, end, salts, reading)
        await self._rewrap(fresh)
        return plain

    async def _rewrap(self, fresh: Sequence[tuple[bytes, bytes]]) -> None:
        if fresh:
            async with connection(self._pool) as acquired:
                await content.rewrap(acquired, self._key, fresh)

    async def bodies(self, content_ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """Whole small messages, one query for all; one that does not open is left out and logged."""
        async with connection(self._pool) as acquired:
            return await content.bodies(acquired, self._key, content_ids, self._store.edge.salts)

    async def words(self, content_id: bytes, summary: Summary, whole: bytes | None = None) -> Words:
        """The text of a message, folded; `whole` where it is open already.

        Raises Refused(NO_SUCH_MESSAGE), Refused(CONTENT_DAMAGED).
        """
        if summary.size <= content.LARGE_BODY:
            return await open_words(self, content_id, summary, whole)
        # One at a time: a large text takes several times its size while it is decoded and folded.
        async with self._store.large_words:
            return await open_words(self, content_id, summary)

    async def blocks(
        self, folder_id: int, chunks: Mapping[int, Chunk], parts: Collection[str], make: Collection[int] = ()
    ) -> dict[int, tuple[Block, Chunk]]:
        """The view blocks of a folder for whole chunks of it (`blocks.block.number`), with the messages each does not
        know. One that is not there is made if it is among `make`, else left out."""
        return await Shelf(self, self._pool, self._key, folder_id).blocks(chunks, parts, make)

    async def content_read(self, actor: str, content_ids: Sequence[bytes], purpose: str) -> None:
        """Writes the reading to the trail and commits; call it before the bytes leave. `actor` is an address."""
        await self._store.reader.tell(self.reading(actor, content_ids, purpose))

    async def _prepare(self, messages: Sequence[NewMessage]) -> tuple[list[content.Prepared], list[Addition]]:
        now = clock.now()
        prepared: list[content.Prepared] = []
        additions: list[Addition] = []
        for message in messages:
            if isinstance(message.data, Incoming):
                incoming = message.data
            else:
                incoming = self.incoming()
                await incoming.add(message.data)
            body = await incoming.finish(now)
            keywords = [*marks.settable(message.keywords), *incoming.keywords]
            prepared.append(body)
            additions.append(Addition(body.content_id, message.flags, keywords, message.internaldate or now, body.size))
        return prepared, additions

    def _changed(self, *folder_ids: int) -> None:
        self._store.announcer.changed((self.owner_id, folder_id) for folder_id in folder_ids)
