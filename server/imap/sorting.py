"""The order that SORT asks for (RFC 5256, RFC 5957). Ties are broken by the order in the mailbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.imap.finding import Finder
from server.imap.grammar.sort import Criterion
from server.mailbox.model import Row

# Which line of a message's gist a criterion compares; the two others are in its row.
_LINES = {
    "CC": "by_cc",
    "FROM": "by_from",
    "TO": "by_to",
    "DISPLAYFROM": "shown_from",
    "DISPLAYTO": "shown_to",
    "SUBJECT": "base",
    "DATE": "moment",
}


class Reversed:
    """A text that comes before those it comes behind."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __lt__(self, other: Reversed) -> bool:
        return other.value < self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reversed) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)


class Order:
    def __init__(self, criteria: Sequence[Criterion]) -> None:
        self._criteria = criteria
        self._lines = list(dict.fromkeys(_LINES[one.key] for one in criteria if one.key in _LINES))

    async def sorted(self, finder: Finder, rows: Sequence[Row]) -> list[tuple[Any, Row]]:
        """The rows (given in order of uid) in this order, each with its key."""
        keyed = list(zip(await self.keys(finder, rows), rows, strict=True))
        keyed.sort(key=lambda pair: (pair[0], pair[1].uid))
        return keyed

    async def keys(self, finder: Finder, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
        """What the rows are compared by."""
        lines = await finder.lines(rows, self._lines) if self._lines else {}
        names = {name: at for at, name in enumerate(self._lines)}

        def column(criterion: Criterion) -> list[Any]:
            key = criterion.key
            if key in ("ARRIVAL", "SIZE", "DATE"):
                sign = -1 if criterion.reverse else 1
                if key == "ARRIVAL":
                    return [sign * row.internaldate.timestamp() for row in rows]
                if key == "SIZE":
                    return [sign * row.size for row in rows]
                return [sign * sent(row, lines[row.uid][names["moment"]]) for row in rows]
            at = names[_LINES[key]]
            # The mark of a reply stands before a base subject.
            texts = [lines[row.uid][at][1:] if key == "SUBJECT" else lines[row.uid][at] for row in rows]
            return [Reversed(text) for text in texts] if criterion.reverse else texts

        return list(zip(*map(column, self._criteria), strict=True))


def sent(row: Row, moment: str) -> int:
    """RFC 5256 §2.2: the sent date (seconds since 1970), INTERNALDATE where there is none."""
    return int(moment) if moment else int(row.internaldate.timestamp())
