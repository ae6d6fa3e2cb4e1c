"""Sequence sets: parsed once into ranges, resolved against a view later (`view.py`), written compactly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from server.imap.grammar.cursor import NUMBER32, BadSyntax, Cursor

STAR = 0  # "*" as a bound: the largest number in use


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """Ranges as they were written; a bound of STAR stands for "*". `saved` is "$", the saved search result."""

    ranges: tuple[tuple[int, int], ...]
    saved: bool = False

    @property
    def has_star(self) -> bool:
        return any(STAR in pair for pair in self.ranges)

    def resolve(self, largest: int) -> list[tuple[int, int]]:
        """Ranges (low, high), sorted, merged, with "*" = `largest` (RFC 9051 §9: "*:4" and "4:*" are the same)."""
        bounds = []
        for first, last in self.ranges:
            low, high = first or largest, last or largest
            bounds.append((low, high) if low <= high else (high, low))
        bounds.sort()
        merged: list[tuple[int, int]] = []
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
    pieces: list[bytes] = []
    first = last = 0
    for number in numbers:
        if last and number == last + 1:
            last = number
            continue
        if last:
            pieces.append(_piece(first, last))
        first = last = number
    if last:
        pieces.append(_piece(first, last))
    return b",".join(pieces)


def _piece(first: int, last: int) -> bytes:
    return b"%d" % first if first == last else b"%d:%d" % (first, last)
