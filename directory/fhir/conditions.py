"""What a value of a parameter comes to: walks that find, and conditions that a row must fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from directory.fhir.dates import moments
from directory.fhir.queries import Condition, Walk
from directory.folding import fold

_WORD = re.compile("[a-z0-9]+")
_LAST_SIGN = "\U0010ffff"  # sorts after whatever continues a text
NEVER = Condition("FALSE")
EVERYTHING = Condition("TRUE")


@dataclass(frozen=True, slots=True)
class Branch:
    """One walk, the bounds of what is looked at in it, and what each row must fit beside."""

    walk: Walk
    where: tuple[Condition, ...]
    fits: Condition = EVERYTHING


@dataclass(frozen=True, slots=True)
class Meaning:
    """Of one value: the resources found by walking (empty: it cannot lead), and what one must fit.

    The smaller `rank`, the fewer resources a walk is expected to see. `covers`: what the walk sees fits by that alone.
    `inside` decides as `fits` does, of the column `column` alone: in a walk ordered by that column too, the index
    itself leaves out what does not fit, whatever the number.
    """

    fits: Condition
    branches: tuple[Branch, ...] = ()
    rank: int = 9
    covers: bool = True
    column: str = ""
    inside: Condition = EVERYTHING


Means = Callable[[str, str], Meaning]  # of a value and its modifier


def any_of(conditions: Sequence[Condition]) -> Condition:
    return _joined(" OR ", conditions)


def all_of(conditions: Sequence[Condition]) -> Condition:
    return _joined(" AND ", conditions)


def none_of(conditions: Sequence[Condition]) -> Condition:
    one = any_of(conditions)
    return Condition(f"NOT ({one.sql})", one.values)


def _joined(word: str, conditions: Sequence[Condition]) -> Condition:
    return Condition(
        word.join(f"({one.sql})" for one in conditions), tuple(value for one in conditions for value in one.values)
    )


def changed(column: str, value: str) -> Condition:
    """The rows whose `column` is in the range of a date."""
    span = moments(value)
    bounds: list[Condition] = []
    if span.start:
        bounds.append(Condition(f"{column} >= ?", (span.start,)))
    if span.end:
        bounds.append(Condition(f"{column} < ?", (span.end,)))
    return all_of(bounds)


def folded(text: str) -> str:
    """Folded words parted by one space, as `directory.folded` (migration 033) makes them of a column."""
    return " ".join(_WORD.findall(fold(text)))


def begins(column: str, start: str) -> Condition:
    return Condition(f"{column} >= ? AND {column} < ?", (start, start + _LAST_SIGN)) if start else NEVER


def text_is(column: str, raw: str, value: str, modifier: str) -> Condition:
    """A text that begins with the value, is it (raw column, sign by sign), or holds it."""
    start = folded(value)
    if modifier == "exact":
        return all_of([Condition(f"{column} = ?", (start,)), Condition(f"{raw} = ?", (value,))])
    if modifier == "contains":
        return Condition(f"position(? IN {column}) > 0", (start,)) if start else NEVER
    return begins(column, start)


def by_ways(ways: dict[tuple[Condition, ...], Walk], modifier: str, rank: int) -> Meaning:
    """A branch for each way, without what those before it find."""
    fits = any_of([all_of(way) for way in ways])
    if modifier == "contains":
        return Meaning(fits)
    branches: list[Branch] = []
    before: list[Condition] = []
    for way, walk in ways.items():
        branches.append(Branch(walk, (*way, none_of(before)) if before else way))
        before.append(all_of(way))
    return Meaning(fits, tuple(branches), rank)
