"""A range of results, from the first or from the last one (RFC 9394 §4)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from server.imap.grammar.cursor import NUMBER32, BadSyntax, Cursor

# partial-range = nz-number ":" nz-number / MINUS nz-number ":" MINUS nz-number
_RANGE = re.compile(rb"(-?)([0-9]{1,10}):\1([0-9]{1,10})")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Partial:
    """`low` to `high` of the results, counted from 1; from the last one backwards with `from_end`."""

    low: int
    high: int
    from_end: bool

    @property
    def text(self) -> bytes:
        """As the answer tells it. "4:2" is "2:4" (RFC 5267 §4.4)."""
        sign = b"-" if self.from_end else b""
        return b"%b%d:%b%d" % (sign, self.low, sign, self.high)

    def cut(self, results: Sequence[_T]) -> Sequence[_T]:
        """Those of the results that are in the range, in their order."""
        if not self.from_end:
            return results[self.low - 1 : self.high]
        count = len(results)
        return results[max(0, count - self.high) : max(0, count - self.low + 1)]


def partial(cursor: Cursor) -> Partial:
    text = cursor.match(_RANGE, "a range of results")
    found = _RANGE.fullmatch(text)
    assert found is not None  # noqa: S101 -- it was matched by the same pattern
    first, last = int(found[2]), int(found[3])
    if not 0 < min(first, last) <= max(first, last) <= NUMBER32:
        raise BadSyntax("Bad number in a range of results")
    return Partial(min(first, last), max(first, last), bool(found[1]))
