"""An IMAP server without sockets, database or keys: the real dialogue over a store in memory.

`Wire` is one client: `send` bytes, `take` what was answered. Several wires may share a `Backend`, as sessions of one
worker do; two backends over one `MemoryStore` are two workers.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from server.base.errors import Reason, Refused
from server.identity import sasl
from server.identity.model import Delegate, Principal, Rights
from server.imap.budget import Budget
from server.imap.deflate import deflated
from server.imap.dialogue import Dialogue
from server.imap.grammar.sequence import SequenceSet
from server.imap.session import Services, Session
from server.imap.view import Views
from server.mail.scan import scan
from server.mail.summary import Summary, summarise
from server.mailbox import marks
from server.mailbox.beside.annotation import Annotations
from server.mailbox.blocks import shelf
from server.mailbox.blocks.block import WORDS, Block, Members, encode_lines, encode_words, select
from server.mailbox.commands import Progress
from server.mailbox.model import LIST_ID, Changes, Folder, FolderState, NewMessage, Row, StoreResult, View
from server.mailbox.sharing import Share
from server.mailbox.table import Chunk, Table
from server.mailbox.terms import Usage
from server.mailbox.words import Words, open_words

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ADDRESS, PASSWORD = "dr@msg.exemple.fr", "s3cret"
SHARED = "equipe@msg.exemple.fr"
SPECIAL = {"INBOX": "\\Inbox", "Sent": "\\Sent", "Drafts": "\\Drafts", "Trash": "\\Trash", "Junk": "\\Junk"}


@dataclass
class Kept:
    folder: Folder
    uidnext: int = 1
    modseq: int = 1
    trimmed: int = 0  # the log holds what came after this modseq
    rows: dict[int, Row] = field(default_factory=dict)
    gone: list[tuple[int, int]] = field(default_factory=list)

    def state(self) -> FolderState:
        rows = self.rows.values()
        return FolderState(
            self.folder.folder_id,
            self.uidnext,
            self.modseq,
            len(self.rows),
            sum(not row.flags & 1 for row in rows),
            sum(bool(row.flags & 8) for row in rows),
            sum(row.size for row in rows),
            self.uidnext,
        )

    def add(self, content_id: bytes, size: int, flags: int, keywords: Sequence[str], moment: datetime) -> int:
        self.modseq += 1
        uid, self.uidnext = self.uidnext, self.uidnext + 1
        self.rows[uid] = Row(uid, content_id, flags, tuple(keywords), moment, NOW, self.modseq, size)
        return uid

    def drop(self, uids: Sequence[int]) -> None:
        if uids:
            self.modseq += 1
            for uid in uids:
                del self.rows[uid]
                self.gone.append((self.modseq, uid))


@dataclass
class MemoryReading:
    """`server.mailbox.reading.Reading`: told with what is read first."""

    purpose: str
    count: int
    told: bool = False


class MemoryIncoming:
    """`server.mailbox.incoming.Incoming` that only gathers."""

    def __init__(self) -> None:
        self.data = bytearray()

    @property
    def size(self) -> int:
        return len(self.data)

    async def add(self, data: bytes) -> None:
        self.data += data


class MemoryMailbox:
    """`server.mailbox.store.Mailbox` over dictionaries."""

    owner_id = 1
    kind = "ORG"

    def __init__(self) -> None:
        self.kept: dict[int, Kept] = {}
        self.subscriptions: set[str] = set()  # names that no folder has
        self.handed: dict[bytes, bytes] = {}  # to submission, by URL
        self.url_keys: dict[int, bytes] = {}
        self.resets = 0  # of those keys
        self.room = 2_000  # octets of messages, as usage tells them
        self.written: dict[tuple[int | None, int | None], dict[str, bytes]] = {}  # annotations by folder and reader
        self.parts = {"aline@msg.exemple.fr": Rights.READ}  # with whom it is shared
        self.contents: dict[bytes, bytes] = {}
        self.reads: list[tuple[str, int]] = []  # the trail: purpose, messages
        self.calls: list[str] = []
        self.watchers: dict[int, set[Callable[[], None]]] = {}
        self.broken: set[bytes] = set()  # contents that do not open
        self.summarised: dict[bytes, Summary] = {}
        self.made: dict[tuple[Any, ...], shelf.Opened] = {}
        for name, use in SPECIAL.items():
            self._make(name, use)

    def _make(self, name: str, use: str | None = None) -> Folder:
        number = max(self.kept, default=0) + 1
        folder = Folder(number, name, 1_000 + number, use, use is not None or name in self.subscriptions)
        self.subscriptions.discard(name)
        self.kept[number] = Kept(folder)
        return folder

    def _of(self, folder_id: int) -> Kept:
        if folder_id not in self.kept:
            raise Refused(Reason.NO_SUCH_FOLDER, "There is no such folder.")
        return self.kept[folder_id]

    def _told(self, folder_id: int) -> None:
        for callback in tuple(self.watchers.get(folder_id, ())):
            callback()

    async def folders(self) -> list[Folder]:
        return sorted((kept.folder for kept in self.kept.values()), key=lambda one: (one.name != "INBOX", one.name))

    async def folder(self, name: str) -> Folder:
        for kept in self.kept.values():
            if kept.folder.name == name:
                return kept.folder
        raise Refused(Reason.NO_SUCH_FOLDER, "There is no such folder.")

    async def opened_folder(self, name: str) -> tuple[Folder, FolderState]:
        folder = await self.folder(name)
        return folder, self._of(folder.folder_id).state()

    async def create_folder(self, name: str, special_use: str | None = None) -> Folder:
        if any(kept.folder.name == name for kept in self.kept.values()):
            raise Refused(Reason.FOLDER_EXISTS, "There is such a folder.")
        if special_use in ("\\All", *(kept.folder.special_use for kept in self.kept.values() if special_use)):
            raise Refused(Reason.BAD_SPECIAL_USE, "There is such a folder, or there cannot be.")
        made = self._make(name, special_use)
        self._told(LIST_ID)
        return made

    async def check_room(self) -> None:
        usage = await self.usage()
        if usage.used > usage.room:
            raise Refused(Reason.MAILBOX_FULL, "This mailbox is full.")

    async def usage(self) -> Usage:
        written = sum(len(value) for entries in self.written.values() for value in entries.values())
        used = sum(row.size for kept in self.kept.values() for row in kept.rows.values())
        return Usage(used, self.room, len(self.kept), written)

    async def annotations(self, reader_id: int) -> Annotations:
        found: Annotations = {}
        for (folder_id, reader), entries in self.written.items():
            if reader in (None, reader_id):
                found.setdefault(folder_id, {}).update(entries)
        return found

    async def annotate(self, folder_id: int | None, reader_id: int, entries: Mapping[str, bytes | None]) -> None:
        for name, value in entries.items():
            kept = self.written.setdefault((folder_id, reader_id if name.startswith("/private") else None), {})
            if value is None:
                kept.pop(name, None)
            elif len(kept) == 3:
                raise Refused(Reason.LIMIT_REACHED, "There are too many.")
            else:
                kept[name] = value
        self._told(LIST_ID)

    async def url_key(self, folder_id: int, make: bool = False) -> bytes | None:
        if make:
            self.url_keys.setdefault(folder_id, b"key %d" % (folder_id + 10 * self.resets))
        return self.url_keys.get(folder_id)

    async def drop_url_keys(self, folder_id: int | None) -> None:
        self.resets += 1
        self.url_keys = {number: key for number, key in self.url_keys.items() if folder_id not in (None, number)}

    async def hand_over(
        self, folder_id: int, url: bytes, size: int, pieces: AsyncIterator[bytes], until: datetime
    ) -> None:
        self.handed[url] = b"".join([piece async for piece in pieces])
        assert len(self.handed[url]) == size

    async def shares(self) -> list[Share]:
        return [Share(address, rights) for address, rights in sorted(self.parts.items())]

    async def share(self, address: str, rights: Rights, actor: str) -> None:
        if not address.endswith("@msg.exemple.fr"):
            raise Refused(Reason.UNKNOWN_RECIPIENT, "There is no such mailbox.")
        self.parts[address] = rights
        if not rights:
            del self.parts[address]

    async def rename_folder(self, name: str, new_name: str) -> Folder:
        folder = await self.folder(name)
        for kept in self.kept.values():
            if kept.folder.name == name or kept.folder.name.startswith(name + "/"):
                kept.folder = replace(kept.folder, name=new_name + kept.folder.name[len(name) :])
        self._told(LIST_ID)
        return self.kept[folder.folder_id].folder

    async def delete_folder(self, name: str) -> None:
        if name == "INBOX":
            raise Refused(Reason.FOLDER_PROTECTED, "INBOX stays.")
        folder = await self.folder(name)
        if folder.subscribed:
            self.subscriptions.add(name)
        del self.kept[folder.folder_id]
        self._told(folder.folder_id)
        self._told(LIST_ID)

    async def subscribe(self, name: str, subscribed: bool) -> None:
        if name in self.subscriptions:
            if not subscribed:
                self.subscriptions.discard(name)
            return
        kept = self._of((await self.folder(name)).folder_id)
        kept.folder = replace(kept.folder, subscribed=subscribed)
        self._told(LIST_ID)

    async def kept_subscriptions(self) -> list[str]:
        return sorted(self.subscriptions)

    async def states(self, folder_ids: Sequence[int] | None = None) -> dict[int, FolderState]:
        wanted = self.kept if folder_ids is None else folder_ids
        return {number: self.kept[number].state() for number in wanted if number in self.kept}

    async def claim_recent(self, folder_id: int, end: int) -> int | None:
        return None  # of all that is here some session was told

    async def deleted_bytes(self) -> dict[int, int]:
        return {
            number: sum(row.size for row in kept.rows.values() if row.flags & 8) for number, kept in self.kept.items()
        }

    async def view(self, folder_id: int) -> View:
        self.calls.append("view")
        kept = self._of(folder_id)
        return View(kept.folder, kept.state(), list(kept.rows.values()))

    async def changes(self, folder_id: int, since_modseq: int) -> Changes:
        self.calls.append("changes")
        kept = self._of(folder_id)
        changed = [row for row in kept.rows.values() if row.modseq > since_modseq]
        vanished = [(uid, uid) for modseq, uid in kept.gone if modseq > since_modseq]
        return Changes(kept.state(), changed, vanished, True)

    async def vanished(self, folder_id: int, since_modseq: int) -> list[tuple[int, int]] | None:
        kept = self._of(folder_id)
        if since_modseq < kept.trimmed:
            return None
        return SequenceSet(tuple((uid, uid) for modseq, uid in kept.gone if modseq > since_modseq)).resolve(0)

    async def store(
        self,
        folder_id: int,
        uids: Sequence[int],
        op: str,
        flags: int,
        keywords: Sequence[str] = (),
        unchanged_since: int | None = None,
        progress: Progress | None = None,
    ) -> StoreResult:
        kept = self._of(folder_id)
        rows = [kept.rows[uid] for uid in uids if uid in kept.rows]
        conflicts = [row.uid for row in rows if unchanged_since is not None and row.modseq > unchanged_since]
        result, before, next_modseq = [], kept.modseq, kept.modseq + 1
        for row in rows:
            if row.uid in conflicts:
                continue
            lasting = {word for word in row.keywords if word.lower() in marks.LASTING}
            known, named = set(row.keywords), set(marks.settable(keywords))
            mask, words = {
                "add": (row.flags | flags, known | named),
                "remove": (row.flags & ~flags, known - set(marks.clearable(keywords))),
                "replace": (flags, named | lasting),
            }[op]
            if (mask, words) != (row.flags, known):
                kept.modseq = next_modseq
                row = kept.rows[row.uid] = replace(row, flags=mask, keywords=tuple(sorted(words)), modseq=next_modseq)
            result.append(row)
        self._told(folder_id)
        return StoreResult(Table(result), conflicts, kept.modseq, before)

    async def expunge(
        self, folder_id: int, uids: Sequence[int] | None = None, progress: Progress | None = None
    ) -> list[int]:
        kept = self._of(folder_id)
        gone = [uid for uid, row in kept.rows.items() if row.flags & 8 and (uids is None or uid in uids)]
        kept.drop(gone)
        self._told(folder_id)
        return gone

    async def copy(
        self, folder_id: int, uids: Sequence[int], target_id: int, progress: Progress | None = None
    ) -> list[tuple[int, int]]:
        kept, target = self._of(folder_id), self._of(target_id)
        pairs = []
        for done, uid in enumerate(uids):
            if progress is not None:
                progress(done, len(uids))
            row = kept.rows.get(uid)
            if row is not None:
                new = target.add(row.content_id, row.size, row.flags, row.keywords, row.internaldate)
                pairs.append((uid, new))
        self._told(target_id)
        return pairs

    async def move(
        self, folder_id: int, uids: Sequence[int], target_id: int, progress: Progress | None = None
    ) -> list[tuple[int, int]]:
        pairs = await self.copy(folder_id, uids, target_id, progress)
        self._of(folder_id).drop([uid for uid, _ in pairs])
        self._told(folder_id)
        return pairs

    def incoming(self) -> MemoryIncoming:
        return MemoryIncoming()

    async def append_many(self, folder_id: int, messages: Sequence[NewMessage]) -> list[int]:
        kept, modseq = self._of(folder_id), 0
        uids = []
        for message in messages:
            uids.append(await self._keep(kept, replace(message, keywords=tuple(marks.settable(message.keywords)))))
            modseq = modseq or kept.modseq
        # One command, one change.
        kept.modseq = modseq
        for uid in uids:
            kept.rows[uid] = replace(kept.rows[uid], modseq=modseq)
        self._told(folder_id)
        return uids

    async def replace(self, folder_id: int, uid: int, target_id: int, message: NewMessage) -> int:
        source, target = self._of(folder_id), self._of(target_id)
        if uid not in source.rows:
            raise Refused(Reason.NO_SUCH_MESSAGE, "This message is no longer there.")
        new = await self._keep(target, message)
        source.drop([uid])
        self._told(folder_id)
        self._told(target_id)
        return new

    async def _keep(self, kept: Kept, message: NewMessage) -> int:
        data = message.data if isinstance(message.data, bytes) else message.data.data  # type: ignore[attr-defined]
        content_id = len(self.contents).to_bytes(16, "big")
        self.contents[content_id] = bytes(data)
        return kept.add(content_id, len(data), message.flags, message.keywords, message.internaldate or NOW)

    async def rows(self, folder_id: int, uids: Sequence[int]) -> list[Row]:
        return [self._of(folder_id).rows[uid] for uid in uids if uid in self._of(folder_id).rows]

    async def append(
        self,
        folder_id: int,
        data: bytes,
        flags: int = 0,
        keywords: Sequence[str] = (),
        internaldate: datetime | None = None,
    ) -> int:
        message = NewMessage(data, flags, tuple(keywords), internaldate)
        return (await self.append_many(folder_id, [message]))[0]

    async def summaries(
        self, content_ids: Sequence[bytes], reading: MemoryReading | None = None
    ) -> dict[bytes, Summary]:
        self.calls.append("summaries")
        self._read(reading)
        for one in content_ids:
            if one not in self.summarised:
                self.summarised[one] = summarise(scan(self.contents[one]), self.contents[one], {})
        return {one: self.summarised[one] for one in content_ids if one not in self.broken}

    async def bodies(self, content_ids: Sequence[bytes]) -> dict[bytes, bytes]:
        return {one: self.contents[one] for one in content_ids if one not in self.broken}

    async def words(self, content_id: bytes, summary: Summary, whole: bytes | None = None) -> Words:
        return await open_words(self, content_id, summary, whole)

    async def blocks(
        self, folder_id: int, chunks: Mapping[int, Chunk], parts: Collection[str], make: Collection[int] = ()
    ) -> dict[int, tuple[Block, Chunk]]:
        """Made when they are worth it, and kept as they are."""
        self.calls.append("blocks")
        found = {}
        for number, chunk in chunks.items():
            key = (folder_id, number, tuple(parts))
            if number in make and key not in self.made:
                contents = chunk.content_ids()
                gists = await shelf.read_gists(self, contents)
                known = chunk.pick([at for at, one in enumerate(contents) if one in gists])
                one = self.made[key] = shelf.Opened(Members.of(bytes(16), known))
                signatures = await shelf.sign(self, one.members, {}) if WORDS in parts else []
                for part in parts:
                    lines = [gists[content_id] for content_id in known.content_ids()]
                    one.put(part, encode_words(signatures) if part == WORDS else encode_lines(lines, part))
            if key in self.made:
                one = self.made[key]
                found[number] = select(one.members.places(chunk), chunk, one.lines, one.words)
        return found

    async def body(
        self, content_id: bytes, start: int = 0, end: int | None = None, reading: MemoryReading | None = None
    ) -> bytes:
        self.calls.append("body")
        self._read(reading)
        await asyncio.sleep(0)
        if content_id in self.broken:
            raise Refused(Reason.CONTENT_DAMAGED, "The message does not open.")
        return self.contents[content_id][start:end]

    def reading(self, actor: str, content_ids: Sequence[bytes], purpose: str) -> MemoryReading:
        return MemoryReading(purpose, len(content_ids))

    def _read(self, reading: MemoryReading | None) -> None:
        if reading is not None and not reading.told:
            reading.told = True
            self.reads.append((reading.purpose, reading.count))

    # --- the feed ---------------------------------------------------------------------------------------------
    def watch(self, owner_id: int, folder_id: int, callback: Callable[[], None]) -> Callable[[], None]:
        self.watchers.setdefault(folder_id, set()).add(callback)
        return lambda: self.watchers[folder_id].discard(callback)


class MemoryAccounts:
    """One account; the token "good" proves its holder, for whom SHARED is open to be read, "brief" for no time."""

    def mechanisms(self, shown: Sequence[bytes] = ()) -> tuple[str, ...]:
        return ("PLAIN", "XOAUTH2", "OAUTHBEARER")

    async def sign_in(self, given: sasl.Given, network: str, shown: Sequence[bytes] = ()) -> Principal:
        if given == sasl.Bearer(SHARED, "good"):
            return Principal(1, SHARED, "ORG", "token", Delegate(1, ADDRESS, Rights.READ))
        if given == sasl.Bearer(ADDRESS, "brief"):
            return Principal(1, ADDRESS, "PER", "token", until=datetime.min.replace(tzinfo=UTC))
        if given not in (sasl.AppPassword("", ADDRESS, PASSWORD), sasl.Bearer(ADDRESS, "good")):
            raise Refused(Reason.BAD_CREDENTIALS, "Address or password not accepted.")
        return Principal(1, ADDRESS, "PER", "app-password")


class Log:
    """Keeps what would be logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **facts: Any) -> None:
        self.lines.append((event, facts))

    error = warning = info


class Backend:
    """What the sessions of one worker share."""

    def __init__(self, mailbox: MemoryMailbox | None = None, message_bytes: int = 100_000, budget: int = 500_000):
        self.mailbox = mailbox or MemoryMailbox()
        self.log = Log()
        self.services = Services(
            accounts=MemoryAccounts(),
            store=self,  # type: ignore[arg-type]
            views=Views(self.mailbox),
            budget=Budget(budget),
            now=lambda: NOW,
            log=self.log,
            max_message_bytes=message_bytes,
        )

    async def open(self, owner_id: int) -> MemoryMailbox:
        return self.mailbox

    async def find(self, address: str) -> MemoryMailbox:
        if address != ADDRESS:
            raise Refused(Reason.UNKNOWN_RECIPIENT, "There is no such mailbox.")
        return self.mailbox


class Wire:
    """One client's connection."""

    def __init__(self, backend: Backend, secure: bool = True, pieces: int = 0) -> None:
        """`pieces`: the octets handed over at a time, 0 for all at once."""
        self.backend = backend
        self._pieces = pieces
        self._out = bytearray()
        self._woken = False
        self._compressed = False
        self._deflates = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        self._inflates = zlib.decompressobj(-zlib.MAX_WBITS)
        self.session = Session(backend.services, self, "192.0.2.1", secure)
        self.session.wake = self._wake
        self.dialogue = Dialogue(self.session)
        self.dialogue.greet()

    def write(self, data: bytes) -> None:
        if self._compressed:
            data = self._inflates.decompress(deflated(data))
        self._out += data

    def flush(self) -> None:
        """All that is written can be taken."""

    def deflate(self) -> None:
        """From here on a stream under deflate lies between client and server; tests see what is in it."""
        self._compressed = True

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def _wake(self) -> None:
        self._woken = True

    async def send(self, data: bytes) -> None:
        """Hand octets over as a socket would, and let the dialogue answer."""
        if self._compressed:
            data = self._deflates.compress(data) + self._deflates.flush(zlib.Z_SYNC_FLUSH)
        step = self._pieces or max(len(data), 1)
        for start in range(0, len(data), step):
            self.dialogue.feed(data[start : start + step])
            while await self.dialogue.step():
                continue

    async def settle(self) -> None:
        """Let an idling client hear its news."""
        while self._woken:
            self._woken = False
            await self.dialogue.push()

    def take(self) -> bytes:
        told = bytes(self._out)
        self._out.clear()
        return told

    async def ask(self, line: bytes) -> bytes:
        """Send a line, take the answer."""
        await self.send(line + b"\r\n")
        return self.take()


async def signed_in(backend: Backend, **options: Any) -> Wire:
    wire = Wire(backend, **options)
    wire.take()
    answer = await wire.ask(f"login LOGIN {ADDRESS} {PASSWORD}".encode())
    assert answer.startswith(b"login OK"), answer
    return wire
