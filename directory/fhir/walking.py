"""Walks a plan a page at a time and keeps the place: a link leads to the same resources, whatever came between.

A page never costs more than SCANNED rows looked at. Where a parameter that cannot lead leaves little of what is walked,
a page is shorter than asked for and its `next` goes on from there (FHIR R4 §3.1.1.5.2 allows it).

A place is opaque to clients and not signed: it says after which row to go on, and all rows are public. It is bound to
the question by a digest, so that a place of one search is refused by another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from directory.fhir import queries
from directory.fhir.conditions import EVERYTHING, Branch
from directory.fhir.outcome import invalid
from directory.fhir.parameters import Question
from directory.fhir.queries import Walk
from directory.queries import Connection

SCANNED = 2_000  # rows of a walk looked at for one page: some 10 ms
STEP = 500


Plan = Sequence[Branch]  # walked one after the other


@dataclass(frozen=True, slots=True)
class Place:
    """After (or, `back`, before) which row of which branch to go on; no values: from its beginning (or end)."""

    branch: int
    after: tuple[Any, ...] = ()
    back: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """A resource that was found. `gone_at`: it left then."""

    key: Any
    gone_at: datetime | None


@dataclass(frozen=True, slots=True)
class Found:
    """A page of hits, and the places of the pages beside it (None: there is none)."""

    hits: tuple[Hit, ...]
    next: Place | None
    previous: Place | None


async def walk(connection: Connection, plan: Plan, place: Place, count: int) -> Found:
    """The page at a place."""
    rows, more = await _rows(connection, plan, place, count)
    ahead = Place(*more, back=place.back) if more else None
    beginning = place == Place(0)
    if place.back:
        rows.reverse()
    # The way back to where one came from: from the last row on that side, else from the place itself.
    first = Place(*rows[0][:2], back=True) if rows else Place(place.branch, place.after, back=True)
    last = Place(*rows[-1][:2]) if rows else Place(place.branch, place.after)
    hits = tuple(hit for _, _, hit in rows)
    if place.back:
        return Found(hits, last, ahead)
    return Found(hits, ahead, None if beginning else first)


_Row = tuple[int, tuple[Any, ...], Hit]


async def _rows(
    connection: Connection, plan: Plan, place: Place, count: int
) -> tuple[list[_Row], tuple[int, tuple[Any, ...]] | None]:
    """The fitting rows in walking order, and after which row there are more (None: there are not)."""
    found: list[_Row] = []
    scanned = 0
    numbers = range(place.branch, -1, -1) if place.back else range(place.branch, len(plan))
    for number in numbers:
        branch = plan[number]
        step = count + 1 if branch.fits is EVERYTHING else STEP
        after = place.after if number == place.branch else ()
        while True:
            sql, values = queries.page(branch.walk, branch.where, branch.fits, after, step, backward=place.back)
            rows = await connection.fetch(sql, *values)
            for row in rows:
                if row["fits"]:
                    if len(found) == count:
                        return found, found[-1][:2] if found else (number, after)
                    found.append((number, _order(row, branch.walk), _hit(row, branch.walk)))
            if len(rows) < step:
                break
            after = _order(rows[-1], branch.walk)
            scanned += len(rows)
            if scanned >= SCANNED:
                return found, (number, after)
    return found, None


def _order(row: Any, walk: Walk) -> tuple[Any, ...]:
    return tuple(row[f"o{number}"] for number in range(len(walk.order)))


def _hit(row: Any, walk: Walk) -> Hit:
    return Hit(row["key"], row["o0"] if walk.order[0] == "g.gone_at" else None)


async def total(connection: Connection, plan: Plan, limit: int) -> int | None:
    """How many resources a plan finds; None: more than `limit`, or only looking at each would tell."""
    if any(branch.fits is not EVERYTHING for branch in plan):
        return None
    counted = 0
    for branch in plan:
        sql, values = queries.count(branch.walk, branch.where, limit + 1 - counted)
        counted += int(await connection.fetchval(sql, *values))
        if counted > limit:
            return None
    return counted


def written(place: Place, question: Question) -> str:
    """A place as a link carries it."""
    values = [value.isoformat() if isinstance(value, datetime) else value for value in place.after]
    octets = json.dumps([_digest(question), place.branch, place.back, *values], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def read(text: str, question: Question, plan: Plan) -> Place:
    """The place of a link. Raises Refusal: it is none of this search."""
    if not text:
        return Place(0)
    try:
        octets = base64.b64decode(text.translate(_STANDARD) + "=" * (-len(text) % 4), validate=True)
        digest, branch, back, *values = json.loads(octets)
        if digest != _digest(question) or not isinstance(back, bool) or type(branch) is not int or branch < 0:
            raise ValueError("of another search")
        order = plan[branch].walk.order
        if len(values) not in {0, len(order)}:
            raise ValueError("of another walk")
        after = tuple(_value(value, column) for value, column in zip(values, order, strict=False))
    except (binascii.Error, UnicodeError, ValueError, TypeError, IndexError, RecursionError):
        raise invalid("This is no page of this search.") from None
    return Place(branch, after, back)


_STANDARD = str.maketrans("-_", "+/", "+/")


def _value(value: Any, column: str) -> Any:
    if column.endswith(("changed_at", "gone_at")):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("without a zone")
        return moment
    if column == "a.activity_id":
        if type(value) is not int or abs(value) >= 2**63:
            raise ValueError("no number")
    elif not isinstance(value, str) or "\0" in value or not value.isprintable():
        raise ValueError("no text")
    return value


def _digest(question: Question) -> str:
    asked = repr((question.type, sorted(set(question.criteria), key=repr)))
    return hashlib.sha256(asked.encode()).hexdigest()[:12]
