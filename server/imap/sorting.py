"""The order that SORT asks for (RFC 5256, RFC 5957). Ties are broken by the order in the mailbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.imap.finding import Finder
from server.imap.grammar.sort import Criterion
from server.mailbox.table import SECONDS_TO_EPOCH

# Which line of a message's gist a criterion compares; a view holds the two others.
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

    async def sorted(self, finder: Finder, uids: Sequence[int]) -> list[tuple[Any, int]]:
        """The messages (given in order of uid) in this order, each with its key."""
        return sorted(zip(await self.keys(finder, uids), uids, strict=True))

    async def keys(self, finder: Finder, uids: Sequence[int]) -> list[tuple[Any, ...]]:
        """What the messages are compared by."""
        lines = await finder.lines(uids, self._lines) if self._lines else {}
        facts = finder.facts(uids)
        names = {name: at for at, name in enumerate(self._lines)}

        def column(criterion: Criterion) -> list[Any]:
            key = criterion.key
            if key in ("ARRIVAL", "SIZE", "DATE"):
                sign = -1 if criterion.reverse else 1
                if key == "DATE":
                    return [sign * sent(facts[uid][0], lines[uid][names["moment"]]) for uid in uids]
                return [sign * facts[uid][key == "SIZE"] for uid in uids]
            at = names[_LINES[key]]
            # The mark of a reply stands before a base subject.
            texts = [lines[uid][at][1:] if key == "SUBJECT" else lines[uid][at] for uid in uids]
            return [Reversed(text) for text in texts] if criterion.reverse else texts

        return list(zip(*map(column, self._criteria), strict=True))


def sent(internal: int, moment: str) -> int:
    """RFC 5256 §2.2: the sent date (seconds since 1970), INTERNALDATE (as a view holds it) where there is none."""
    return int(moment) if moment else internal // 1_000_000 + SECONDS_TO_EPOCH
