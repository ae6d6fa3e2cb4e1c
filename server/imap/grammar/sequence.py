"""Sequence sets: parsed once into ranges, resolved against a view later (`view.py`), written compactly."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from server.imap.grammar.cursor import NUMBER32, BadSyntax, Cursor
from server.imap.grammar.reader import NUMBER64

Ranges = list[tuple[int, int]]  # both ends belong to a range; sorted and apart
STAR = 0  # "*" as a bound: the largest number in use


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """Ranges as they were written; a bound of STAR stands for "*". `saved` is "$", the saved search result.

    `recent`: the messages that are \\Recent to the session, which no client can write.
    """

    ranges: tuple[tuple[int, int], ...]
    saved: bool = False
    recent: bool = False

    @property
    def has_star(self) -> bool:
        return any(STAR in pair for pair in self.ranges)

    def resolve(self, largest: int) -> Ranges:
        """Ranges (low, high), sorted, merged, with "*" = `largest` (RFC 9051 §9: "*:4" and "4:*" are the same)."""
        bounds = []
        for first, last in self.ranges:
            low, high = first or largest, last or largest
            bounds.append((low, high) if low <= high else (high, low))
        bounds.sort()
        merged: Ranges = []
        for low, high in bounds:
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], high))
            else:
                merged.append((low, high))
        return merged


def sequence_set(cursor: Cursor) -> SequenceSet:
    """sequence-set = (seq-number / seq-range) ["," sequence-set] / seq-last-command"""
    text = cursor.sequence_text()
    if text == b"$":
        return SequenceSet((), saved=True)
    return SequenceSet(tuple(_range(piece) for piece in text.split(b",")))


def known_set(cursor: Cursor) -> SequenceSet:
    """known-uids = sequence-set, which stands for itself: neither "*" nor "$" (RFC 7162 §7)"""
    found = sequence_set(cursor)
    if found.saved or found.has_star:
        raise BadSyntax("Only numbers may stand here")
    return found


def intersect(these: Ranges, those: Ranges) -> Ranges:
    """What lies in both."""
    both: Ranges = []
    i = j = 0
    while i < len(these) and j < len(those):
        low, high = max(these[i][0], those[j][0]), min(these[i][1], those[j][1])
        if low <= high:
            both.append((low, high))
        if these[i][1] < those[j][1]:
            i += 1
        else:
            j += 1
    return both


def without(ranges: Ranges, uids: Sequence[int]) -> Ranges:
    """The ranges but for the numbers of a sorted sequence."""
    left: Ranges = []
    for low, high in ranges:
        for uid in uids[bisect_left(uids, low) : bisect_right(uids, high)]:
            if uid > low:
                left.append((low, uid - 1))
            low = uid + 1
        if low <= high:
            left.append((low, high))
    return left


def holds(ranges: Ranges, number: int) -> bool:
    at = bisect_right(ranges, (number, NUMBER64))
    return at > 0 and ranges[at - 1][1] >= number


def _range(piece: bytes) -> tuple[int, int]:
    # seq-range = seq-number ":" seq-number
    first, colon, last = piece.partition(b":")
    low = _number(first)
    return (low, _number(last)) if colon else (low, low)


def _number(text: bytes) -> int:
    # seq-number = nz-number / "*"
    if text == b"*":
        return STAR
    if not text.isdigit() or len(text) > 10:
        raise BadSyntax("Bad sequence set")
    value = int(text)
    if not 0 < value <= NUMBER32:
        raise BadSyntax("Bad number in a sequence set")
    return value


def compact(numbers: Iterable[int]) -> bytes:
    """Sorted numbers as a sequence set: [1, 2, 3, 7] → 1:3,7. Empty for none."""
    ranges: Ranges = []
    first = last = 0
    for number in numbers:
        if last and number == last + 1:
            last = number
            continue
        if last:
            ranges.append((first, last))
        first = last = number
    if last:
        ranges.append((first, last))
    return written(ranges)


def written(ranges: Ranges) -> bytes:
    return b",".join(b"%d" % low if low == high else b"%d:%d" % (low, high) for low, high in ranges)
