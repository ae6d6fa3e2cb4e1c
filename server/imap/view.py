"""THE SEQUENCE-NUMBER RULE, and the view of a folder that all sessions of a worker share.

Invariants (RFC 9051 §2.3.1.2, §5.5, §7.5.1; RFC 3501 §7.4.1):
1. A session's numbering changes only by what it was told: number n is `uids[n-1]` of the session's own `Selected`, and
   `uids` changes nowhere but in `Selected.updates`, which returns exactly the EXPUNGE and EXISTS that explain it.
2. EXPUNGE is never told while FETCH, STORE or SEARCH (by number) is answered, nor when no command is running but IDLE:
   then the message keeps its number, and asking for it finds nothing. A client that asked for it by NOTIFY (SELECTED)
   gave up numbers in its commands and is told at once (RFC 5465 §5.3).
3. EXPUNGEs are told from the highest number down, so that each number is right when it is read, and before EXISTS.
4. A shared view goes forward only along the modseq: it holds all changes up to `modseq` and nothing it was not told by
   the store. It holds flags and sizes, no content and no key.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Protocol

from server.base.limits import IMAP_JOURNAL, IMAP_VIEW_ROWS, IMAP_VIEWS
from server.imap.grammar.flags import RECENT
from server.imap.grammar.sequence import SequenceSet
from server.imap.responses import Illegal
from server.mailbox.model import Changes, Flag, Folder, FolderState, Row, StoreResult, View
from server.mailbox.table import Table

if TYPE_CHECKING:
    from server.imap.contexts import Context
    from server.mailbox.store import Mailbox


class Watches(Protocol):
    """What `server.mailbox.feed.Feed` offers: call back when a folder may have changed."""

    def watch(self, owner_id: int, folder_id: int, callback: Callable[[], None]) -> Callable[[], None]: ...


class SharedView:
    """One folder as this worker knows it. `uids` is replaced, never changed, so that sessions may hold it."""

    def __init__(self, view: View) -> None:
        self.folder = view.folder
        self.state = view.state
        self.table = view.rows if isinstance(view.rows, Table) else Table(view.rows)
        self.modseq = view.state.highestmodseq
        self.keywords: dict[str, str] = {}
        self.stale = False  # the feed, or a session's own write, says that the store knows more
        self.users = 0
        self.listeners: set[Callable[[], None]] = set()
        self.unwatch: Callable[[], None] | None = None
        self._lock = asyncio.Lock()
        self._changed: deque[tuple[int, int]] = deque(maxlen=IMAP_JOURNAL)  # (modseq, uid)
        self._vanished: deque[tuple[int, int]] = deque(maxlen=IMAP_JOURNAL)  # (generation, uid)
        self._changed_from = self.modseq  # the journal holds all changes after this modseq …
        self._vanished_from = 0  # … and all that vanished after this generation
        self.generation = 0
        self.recent_from = view.state.recent_from  # of messages from this uid on no session was told, as far as known
        self._learn_keywords(self.table.keywords.values())

    @property
    def uids(self) -> array[int]:
        return self.table.uids

    async def refresh(self, mailbox: Mailbox, force: bool = False) -> None:
        """Bring the view up to the store's present. Raises Refused(NO_SUCH_FOLDER) when the folder is gone."""
        # Who comes while another session asks waits for the answer: it is news for both.
        if not (force or self.stale or self._lock.locked()):
            return
        async with self._lock:
            if not (force or self.stale):
                return
            self.stale = False
            try:
                changes = await mailbox.changes(self.folder.folder_id, self.modseq)
            except BaseException:
                self.stale = True
                raise
            self._apply(changes)

    def written(self, result: StoreResult) -> None:
        """What this worker's own STORE did. Without a gap in the modseq nothing is left to ask."""
        if result.modseq <= self.modseq:
            return
        if result.since is None or self.modseq < result.since:
            self.touch()
            return
        self.modseq = result.modseq
        self._put(result.rows)
        self.announce()

    def touch(self) -> None:
        """Something changed: ask before the next answer, and wake those who idle."""
        self.stale = True
        self.announce()

    def announce(self) -> None:
        for listener in tuple(self.listeners):
            listener()

    def changed_since(self, modseq: int) -> Iterator[Row]:
        """Rows with a later modseq, in order of uid."""
        if modseq < self._changed_from:
            yield from self.table.changed_since(modseq)
            return
        for uid in sorted({uid for _, uid in takewhile(lambda entry: entry[0] > modseq, reversed(self._changed))}):
            row = self.table.get(uid)
            if row is not None and row.modseq > modseq:
                yield row

    def vanished_since(self, generation: int, known: array[int]) -> list[int]:
        """Those of `known` (a session's uids at `generation`) that are gone."""
        if generation >= self._vanished_from:
            return [uid for at, uid in self._vanished if at > generation and _holds(known, uid)]
        left = frozenset(self.uids)
        return [uid for uid in known if uid not in left]

    def _apply(self, changes: Changes) -> None:
        gone: list[int] = []
        for low, high in changes.vanished:
            gone += self.uids[bisect_left(self.uids, low) : bisect_right(self.uids, high)]
        if changes.state.highestmodseq >= self.modseq:
            self.state = changes.state
            self.modseq = changes.state.highestmodseq
        self.recent_from = max(self.recent_from, changes.state.recent_from)
        self._put(changes.changed)
        if gone:
            self.generation += 1
            self._vanish(gone)

    def _put(self, rows: Sequence[Row]) -> None:
        """To be called when `modseq` is that of the rows, or past it: the journal is in its order."""
        fresh = self.table.put(rows)
        if len(fresh) > IMAP_JOURNAL:
            self._changed.clear()
            self._changed_from = self.modseq
            fresh = []
        for uid in fresh:
            if len(self._changed) == IMAP_JOURNAL:
                self._changed_from = max(self._changed_from, self._changed[0][0])
            self._changed.append((self.modseq, uid))
        named = rows.keywords.values() if isinstance(rows, Table) else [row.keywords for row in rows]
        self._learn_keywords(named)

    def _vanish(self, gone: list[int]) -> None:
        self.table.remove(gone)
        for uid in gone:
            if len(self._vanished) == IMAP_JOURNAL:
                self._vanished_from = self._vanished[0][0]
            self._vanished.append((self.generation, uid))

    def _learn_keywords(self, named: Iterable[tuple[str, ...]]) -> None:
        for keyword in chain.from_iterable(named):
            self.keywords.setdefault(keyword.lower(), keyword)


def _holds(uids: array[int], uid: int) -> bool:
    at = bisect_left(uids, uid)
    return at < len(uids) and uids[at] == uid


@dataclass(slots=True)
class Updates:
    """What to tell a session, in this order."""

    expunged: list[int] = field(default_factory=list)  # numbers, highest first …
    vanished: list[int] = field(default_factory=list)  # … and the uids of the same messages, lowest first
    exists: int | None = None
    arrived: list[int] = field(default_factory=list)  # the uids that EXISTS counts and did not
    keywords: bool = False  # FLAGS grew
    changed: list[Row] = field(default_factory=list)


class Selected:
    """A session's own sight of a shared view: its numbering and what it was told."""

    def __init__(self, shared: SharedView, read_only: bool) -> None:
        self.shared = shared
        self.read_only = read_only
        self.uidonly = False  # the session gave up numbers (RFC 9586)
        self.uids = shared.uids
        self._lost: set[int] = set()  # gone, but the session was not told
        self._generation = shared.generation
        self._modseq = shared.modseq
        self._told: dict[int, int] = {}  # uid → modseq of flags told, or asked not to be told, ahead of `updates`
        self._keywords = len(shared.keywords)
        self.saved: array[int] = array("I")  # the result of SEARCH RETURN (SAVE), "$" (RFC 5182)
        self.contexts: dict[bytes, Context] = {}  # searches kept up to date, by tag (RFC 5267)
        self.recent: list[tuple[int, int]] = []  # uids that are \Recent to this session, in order (RFC 3501 §2.3.2)

    @property
    def folder(self) -> Folder:
        return self.shared.folder

    @property
    def state(self) -> FolderState:
        return self.shared.state

    @property
    def highest(self) -> bytes:
        """The code of the highest modseq up to which the session was told everything (RFC 7162 §3.1.2.1)."""
        return b"HIGHESTMODSEQ %d" % max(self._modseq, 1)

    @property
    def current(self) -> bool:
        """Whether the session was told everything that the view holds, and numbers messages as it does."""
        return self.uids is self.shared.uids and self._modseq == self.shared.modseq and not self._told

    def catch_up(self) -> None:
        """The session knows all that made the view go on from where it was `current`."""
        self._modseq = self.shared.modseq

    def number(self, uid: int) -> int:
        """The sequence number of a uid of this session's, 0 when it has none."""
        at = bisect_left(self.uids, uid)
        return at + 1 if at < len(self.uids) and self.uids[at] == uid else 0

    def resolve(self, numbers: SequenceSet, by_uid: bool) -> list[int]:
        """The uids meant, in order. By number, one that is not in use raises Illegal (RFC 9051 §9, seq-number)."""
        if numbers.saved:
            return [uid for uid in self.saved if self.number(uid)]
        if by_uid:
            largest = self.uids[-1] if self.uids else 0
            found: list[int] = []
            for low, high in numbers.resolve(largest):
                found += self.uids[bisect_left(self.uids, low) : bisect_right(self.uids, min(high, 2**32 - 1))]
            return found
        if self.uidonly:
            raise Illegal("There are no message numbers after UIDONLY", b"UIDREQUIRED")
        count = len(self.uids)
        # "1:*" in an empty mailbox is what many clients send first: it names nothing, and harms nobody.
        if not count and numbers.has_star:
            return []
        ranges = numbers.resolve(count)
        if any(high > count for _, high in ranges):
            raise Illegal("No message has that sequence number")
        return [uid for low, high in ranges for uid in self.uids[low - 1 : high]]

    def spans(self, numbers: SequenceSet, by_uid: bool) -> tuple[Sequence[int], Sequence[int]]:
        """The first and the last uids of the ranges meant, in order. Here a number that is not in use names nothing:
        SEARCH is asked for windows of a mailbox that may be smaller (RFC 7377 §2)."""
        if numbers.saved:
            return self.saved, self.saved
        if numbers.recent:
            ranges = self.recent
        elif by_uid:
            ranges = numbers.resolve(self.uids[-1] if self.uids else 0)
        elif self.uidonly:
            raise Illegal("There are no message numbers after UIDONLY", b"UIDREQUIRED")
        else:
            count = len(self.uids)
            ranges = [
                (self.uids[low - 1], self.uids[min(high, count) - 1])
                for low, high in numbers.resolve(count)
                if 0 < low <= count
            ]
        return [low for low, _ in ranges], [high for _, high in ranges]

    async def claim_recent(self, mailbox: Mailbox) -> None:
        """What no session was told of is \\Recent to this one, and where it may change the mailbox to no other."""
        shared, folder_id = self.shared, self.folder.folder_id
        while shared.uids and shared.uids[-1] >= shared.recent_from:
            end = shared.uids[-1] + 1
            if self.read_only:
                first = max(shared.recent_from, self.recent[-1][1] + 1 if self.recent else 0)
                if first < end:
                    self.recent.append((first, end - 1))
                return
            claimed = await mailbox.claim_recent(folder_id, end)
            shared.recent_from = max(shared.recent_from, end)
            if claimed is not None:
                self.recent.append((claimed, end - 1))

    def recents(self) -> int:
        """How many messages are \\Recent to this session."""
        return sum(bisect_right(self.uids, high) - bisect_left(self.uids, low) for low, high in self.recent)

    def shown(self, uid: int, mask: int) -> int:
        """The flags of a message as this session sees them."""
        at = bisect_left(self.recent, (uid + 1,)) - 1
        return mask | RECENT if at >= 0 and uid <= self.recent[at][1] else mask

    def row(self, uid: int) -> Row | None:
        """The message as it stands, None when it is gone."""
        return self.shared.table.get(uid)

    def deleted(self) -> list[int]:
        """The uids that carry \\Deleted."""
        return [uid for uid in self.uids if (row := self.row(uid)) is not None and row.flags & Flag.DELETED]

    def told(self, row: Row) -> None:
        """The session knows these flags of this message: `updates` will not repeat them."""
        if row.modseq > self._modseq:
            self._told[row.uid] = row.modseq

    def knows(self, row: Row) -> bool:
        """Whether the session was told of the message as it stands in `row`."""
        return row.modseq <= self._modseq or self._told.get(row.uid) == row.modseq

    def updates(self, expunge: bool, flags: bool = True) -> Updates:
        """What the shared view holds and the session does not know; `expunge` as rule 2 allows, `flags` for another
        time where False."""
        shared, news = self.shared, Updates()
        if shared.generation != self._generation:
            self._lost.update(shared.vanished_since(self._generation, self.uids))
            self._generation = shared.generation
        if self._lost and expunge:
            news.vanished = sorted(self._lost)
            news.expunged = [self.number(uid) for uid in reversed(news.vanished)]
            self._lost.clear()
            last = self.uids[-1]
            kept = shared.uids[: bisect_right(shared.uids, last)]
            self.uids = shared.uids if len(kept) == len(shared.uids) else kept
        newest = self.uids[-1] if self.uids else 0
        arrived = shared.uids[bisect_right(shared.uids, newest) :]
        if arrived:
            self.uids = self.uids + arrived if self._lost else shared.uids
            news.exists = len(self.uids)
            news.arrived = list(arrived)
            if not flags:
                self._told |= {uid: shared.table.modseqs[shared.table.find(uid)] for uid in arrived}
        if len(shared.keywords) != self._keywords:
            self._keywords = len(shared.keywords)
            news.keywords = True
        if flags and shared.modseq > self._modseq:
            for row in shared.changed_since(self._modseq):
                if row.uid <= newest and self._told.get(row.uid) != row.modseq and self.number(row.uid):
                    news.changed.append(row)
            self._modseq = shared.modseq
            self._told = {uid: modseq for uid, modseq in self._told.items() if modseq > shared.modseq}
        return news


class Views:
    """The shared views of a worker. One that nobody has selected stays warm: practice software polls again soon."""

    def __init__(self, feed: Watches) -> None:
        self.feed = feed
        self._views: dict[tuple[int, int], SharedView] = {}
        self._unused: OrderedDict[tuple[int, int], int] = OrderedDict()  # oldest first → messages in it
        self._unused_rows = 0
        self._opening: dict[tuple[int, int], asyncio.Lock] = {}

    async def open(self, mailbox: Mailbox, folder: Folder, state: FolderState) -> SharedView:
        """The view, as new as `state` at least, held until `close`. Raises Refused(NO_SUCH_FOLDER)."""
        key = (mailbox.owner_id, folder.folder_id)
        lock = self._opening.setdefault(key, asyncio.Lock())
        async with lock:
            shared = await self._warm(key, mailbox, folder, state)
        if self._opening.get(key) is lock and not lock.locked():
            del self._opening[key]
        shared.users += 1
        self._unused_rows -= self._unused.pop(key, 0)
        if shared.unwatch is None:
            shared.unwatch = self.feed.watch(*key, shared.touch)
        return shared

    async def _warm(self, key: tuple[int, int], mailbox: Mailbox, folder: Folder, state: FolderState) -> SharedView:
        shared = self._views.get(key)
        if shared is not None and shared.folder.uidvalidity == folder.uidvalidity:
            await shared.refresh(mailbox, force=state.highestmodseq > shared.modseq)
            if state.highestmodseq == shared.modseq:
                shared.state = state
            shared.recent_from = max(shared.recent_from, state.recent_from)
            shared.folder = folder
            return shared
        shared = self._views[key] = SharedView(await mailbox.view(folder.folder_id))
        return shared

    def close(self, mailbox: Mailbox, shared: SharedView) -> None:
        shared.users -= 1
        if shared.users:
            return
        if shared.unwatch is not None:
            shared.unwatch()
            shared.unwatch = None
        key = (mailbox.owner_id, shared.folder.folder_id)
        if self._views.get(key) is not shared:
            return
        self._unused[key] = len(shared.table)
        self._unused_rows += len(shared.table)
        # The views unused for the longest time go until the rest fits.
        while len(self._unused) > IMAP_VIEWS or self._unused_rows > IMAP_VIEW_ROWS:
            oldest, rows = self._unused.popitem(last=False)
            self._unused_rows -= rows
            del self._views[oldest]

    def wrote(self, owner_id: int, folder_id: int) -> None:
        """A session of this worker changed a folder: whoever has it open asks for the changes at once."""
        shared = self._views.get((owner_id, folder_id))
        if shared is not None:
            shared.touch()
