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
        """Those of the messages that stand there."""
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
        self._empty()
        self._extend(list(rows))

    def _empty(self) -> None:
        self.uids = array("I")
        self.flags = bytearray()
        self.modseqs = array("q")
        self.keywords: dict[int, tuple[str, ...]] = {}  # by uid, of the few that have any
        self._contents = bytearray()
        self._internal, self._saved = array("q"), array("q")
        self._sizes = array("I")

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

    def put(self, rows: Sequence[Row]) -> list[Row]:
        """Take newer states of messages, and new messages; returns what was not known, in this or a newer state."""
        fresh: list[Row] = []
        new: list[Row] = []
        for row in rows:
            at = self.find(row.uid)
            if at < 0:
                new.append(row)
            elif self.modseqs[at] < row.modseq:
                self.modseqs[at] = row.modseq
                self.flags[at] = row.flags
                self._name(row)
                fresh.append(row)
        if new:
            joined = sorted(new, key=lambda row: row.uid)
            if self.uids and joined[0].uid < self.uids[-1]:
                joined = sorted([*self, *new], key=lambda row: row.uid)
                self._empty()
            self._extend(joined)
        return fresh + new

    def remove(self, uids: Iterable[int]) -> None:
        """Take messages out, those that are there."""
        gone = {at for uid in uids if (at := self.find(uid)) >= 0}
        if not gone:
            return
        for at in gone:
            self.keywords.pop(self.uids[at], None)
        kept = [at for at in range(len(self)) if at not in gone]
        self._contents = bytearray().join([self._contents[at * _ID : at * _ID + _ID] for at in kept])
        self.flags = bytearray([self.flags[at] for at in kept])
        self.modseqs, self._sizes = _chosen(self.modseqs, kept), _chosen(self._sizes, kept)
        self._internal, self._saved = _chosen(self._internal, kept), _chosen(self._saved, kept)
        self.uids = _chosen(self.uids, kept)

    def _extend(self, rows: list[Row]) -> None:
        self.uids = self.uids + array("I", [row.uid for row in rows])
        self.flags += bytes([row.flags for row in rows])
        self.modseqs.extend([row.modseq for row in rows])
        self._contents += b"".join([row.content_id for row in rows])
        self._internal.extend([microseconds(row.internaldate) for row in rows])
        self._saved.extend([microseconds(row.savedate) for row in rows])
        self._sizes.extend([row.size for row in rows])
        for row in rows:
            self._name(row)

    def _name(self, row: Row) -> None:
        if row.keywords:
            self.keywords[row.uid] = row.keywords
        else:
            self.keywords.pop(row.uid, None)

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
