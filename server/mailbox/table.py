"""The messages of a folder in columns, in order of uid: 50 octets each, where objects of Python take 500.

A mailbox of 100,000 is read from the database as eight strings of octets and is ready in some milliseconds; a `Row` is
made when somebody asks for one. Invariant: all columns have the same length, and `uids` is sorted and never changed in
place, so that sessions may hold it.
"""

from __future__ import annotations

import re
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import lt
from typing import overload

from server.mailbox.model import Flag, Row

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL counts microseconds from here
SECONDS_TO_EPOCH = int(_EPOCH.timestamp())  # from 1970
_MICROSECOND = timedelta(microseconds=1)
_ID = 16  # octets of a content id
_NO_WORDS: tuple[str, ...] = ()
_UNSEEN = re.compile(b"[%s]" % b"".join(b"\\x%02x" % flags for flags in range(256) if not flags & Flag.SEEN))


def microseconds(moment: datetime) -> int:
    """A moment as the columns hold it."""
    return (moment - _EPOCH) // _MICROSECOND


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some messages of a table in order of uid, copied out column by column; `internal` and `saved` in microseconds."""

    uids: array[int]
    contents: bytes
    flags: bytes
    internal: array[int]
    saved: array[int]
    modseqs: array[int]
    sizes: array[int]
    keywords: Mapping[int, tuple[str, ...]]  # by uid, those of other messages too

    def __len__(self) -> int:
        return len(self.uids)

    def content_ids(self) -> list[bytes]:
        return [self.contents[at : at + _ID] for at in range(0, len(self.contents), _ID)]

    def pick(self, positions: Sequence[int]) -> Chunk:
        """Those of the messages that stand there, in order."""
        if len(positions) == len(self):
            return self
        return Chunk(
            _chosen(self.uids, positions),
            b"".join([self.contents[at * _ID : at * _ID + _ID] for at in positions]),
            bytes([self.flags[at] for at in positions]),
            _chosen(self.internal, positions),
            _chosen(self.saved, positions),
            _chosen(self.modseqs, positions),
            _chosen(self.sizes, positions),
            self.keywords,
        )


class Table(Sequence[Row]):
    """Rows by position and by uid. Of the columns only `uids` is for sessions; the others change in place."""

    __slots__ = ("_contents", "_internal", "_saved", "_sizes", "flags", "keywords", "modseqs", "uids")

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        """`rows` in order of uid."""
        rows = list(rows)
        self.uids = array("I", [row.uid for row in rows])
        self.flags = bytearray([row.flags for row in rows])
        self.modseqs = array("q", [row.modseq for row in rows])
        self.keywords = {row.uid: row.keywords for row in rows if row.keywords}  # by uid, of the few that have any
        self._contents = bytearray(b"".join([row.content_id for row in rows]))
        self._internal = array("q", [microseconds(row.internaldate) for row in rows])
        self._saved = array("q", [microseconds(row.savedate) for row in rows])
        self._sizes = array("I", [row.size for row in rows])

    @classmethod
    def packed(
        cls,
        uids: bytes,
        contents: bytes,
        flags: bytes,
        internaldates: bytes,
        savedates: bytes,
        modseqs: bytes,
        sizes: bytes,
        keywords: Iterable[tuple[int, str]],
    ) -> Table:
        """From columns as PostgreSQL sends values (big-endian; `flags` of two octets); keywords joined by spaces."""
        table = cls()
        table.uids, table._sizes = _column("I", uids), _column("I", sizes)
        table.modseqs = _column("q", modseqs)
        table._internal, table._saved = _column("q", internaldates), _column("q", savedates)
        table.flags = bytearray(flags[1::2])
        table._contents = bytearray(contents)
        table.keywords = {uid: tuple(words.split(" ")) for uid, words in keywords}
        return table

    def __len__(self) -> int:
        return len(self.uids)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...
    def __getitem__(self, at: int | slice) -> Row | list[Row]:
        if isinstance(at, slice):
            return [self._row(position) for position in range(*at.indices(len(self)))]
        return self._row(range(len(self))[at])

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def find(self, uid: int) -> int:
        """The position of a uid, -1 when it has none."""
        at = bisect_left(self.uids, uid)
        return at if at < len(self.uids) and self.uids[at] == uid else -1

    def get(self, uid: int) -> Row | None:
        """The message of a uid."""
        at = self.find(uid)
        return self._row(at) if at >= 0 else None

    def chunk(self, start: int = 0, end: int | None = None) -> Chunk:
        """The messages at these positions."""
        stop = len(self) if end is None else end
        return Chunk(
            self.uids[start:stop],
            bytes(self._contents[start * _ID : stop * _ID]),
            bytes(self.flags[start:stop]),
            self._internal[start:stop],
            self._saved[start:stop],
            self.modseqs[start:stop],
            self._sizes[start:stop],
            self.keywords,
        )

    def changed_since(self, modseq: int) -> list[Row]:
        """Rows with a later modseq, in order of uid."""
        return [self._row(at) for at, own in enumerate(self.modseqs) if own > modseq]

    def first_unseen(self) -> int:
        """The number of the first message without \\Seen, 0 when all have it."""
        found = _UNSEEN.search(self.flags)
        return found.end() if found else 0

    def put(self, rows: Sequence[Row]) -> list[int]:
        """Take newer states of messages, and new messages, in order of uid; returns the uids of what was not known, in
        this or a newer state."""
        newer = rows if isinstance(rows, Table) else Table(rows)
        if not newer:
            return []
        first = bisect_left(self.uids, newer.uids[0])
        last = first + len(newer)
        if self.uids[first:last] == newer.uids and all(map(lt, self.modseqs[first:last], newer.modseqs)):
            self.flags[first:last] = newer.flags
            self.modseqs[first:last] = newer.modseqs
            if self.keywords or newer.keywords:
                for uid in newer.uids:
                    self._name(uid, newer.keywords.get(uid))
            return list(newer.uids)
        fresh, new = [], []
        for position, uid in enumerate(newer.uids):
            at = self.find(uid)
            if at < 0:
                new.append(position)
            elif self.modseqs[at] < newer.modseqs[position]:
                self.flags[at], self.modseqs[at] = newer.flags[position], newer.modseqs[position]
                self._name(uid, newer.keywords.get(uid))
                fresh.append(uid)
        if new:
            self._insert(newer if len(new) == len(newer) else newer._chosen(new))
        return fresh + [newer.uids[position] for position in new]

    def remove(self, uids: Iterable[int]) -> None:
        """Take messages out, those that are there."""
        gone = {at for uid in uids if (at := self.find(uid)) >= 0}
        if not gone:
            return
        self._take(self._chosen([at for at in range(len(self)) if at not in gone]))

    def _chosen(self, positions: Sequence[int]) -> Table:
        """The messages at these positions, in their order."""
        chunk, chosen = self.chunk().pick(positions), Table()
        chosen.uids, chosen.modseqs, chosen.flags = chunk.uids, chunk.modseqs, bytearray(chunk.flags)
        chosen._contents, chosen._sizes = bytearray(chunk.contents), chunk.sizes
        chosen._internal, chosen._saved = chunk.internal, chunk.saved
        if self.keywords:
            chosen.keywords = {uid: self.keywords[uid] for uid in chosen.uids if uid in self.keywords}
        return chosen

    def _insert(self, new: Table) -> None:
        """Messages that are not there yet."""
        ordered = not self.uids or new.uids[0] > self.uids[-1]
        self.uids = self.uids + new.uids
        self.flags += new.flags
        self.modseqs += new.modseqs
        self._contents += new._contents
        self._internal += new._internal
        self._saved += new._saved
        self._sizes += new._sizes
        self.keywords |= new.keywords
        if not ordered:
            self._take(Table(sorted(self, key=lambda row: row.uid)))

    def _take(self, other: Table) -> None:
        for column in Table.__slots__:
            setattr(self, column, getattr(other, column))

    def _name(self, uid: int, keywords: tuple[str, ...] | None) -> None:
        if keywords:
            self.keywords[uid] = keywords
        else:
            self.keywords.pop(uid, None)

    def _row(self, at: int) -> Row:
        uid = self.uids[at]
        return Row(
            uid,
            bytes(self._contents[at * _ID : at * _ID + _ID]),
            self.flags[at],
            self.keywords.get(uid, _NO_WORDS),
            _EPOCH + timedelta(microseconds=self._internal[at]),
            _EPOCH + timedelta(microseconds=self._saved[at]),
            self.modseqs[at],
            self._sizes[at],
        )


def _column(kind: str, packed: bytes) -> array[int]:
    column = array(kind)
    column.frombytes(packed)
    if sys.byteorder == "little":
        column.byteswap()
    return column


def _chosen(column: array[int], positions: Sequence[int]) -> array[int]:
    return array(column.typecode, [column[at] for at in positions])
