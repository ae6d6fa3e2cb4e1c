"""Dates of a search (FHIR R4 §3.1.1.4.6): a prefix and a date of any precision make a range of moments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from directory.fhir.outcome import invalid, not_supported

_DATE = re.compile(
    r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6})\d*)?)?"
    r"(Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Range:
    """Moments from `start` on and before `end`; None where it is open."""

    start: datetime | None
    end: datetime | None


def moments(value: str) -> Range:
    """The moments that a value asks for. A time without a zone is of UTC. Raises Refusal."""
    match = _DATE.fullmatch(value)
    if match is None:
        raise invalid("A date is written 2026-11-26 or 2026-11-26T08:00:00Z, with eq, gt, ge, lt or le before it.")
    prefix = match[1] or "eq"
    if prefix in {"ap", "ne"}:
        raise not_supported("A date is not served with this prefix.")
    start, end = _span(match)
    if prefix in {"gt", "sa"}:
        return Range(end, None)
    if prefix == "ge":
        return Range(start, None)
    if prefix in {"lt", "eb"}:
        return Range(None, start)
    return Range(None if prefix == "le" else start, end)


def _span(match: re.Match[str]) -> tuple[datetime, datetime]:
    year, month, day, hour, minute, second = (int(part) if part else None for part in match.groups()[1:7])
    fraction = match[8]
    try:
        parts = (year or 0, month or 1, day or 1, hour or 0, minute or 0, second or 0)
        start = datetime(*parts, int((fraction or "0").ljust(6, "0")), tzinfo=_zone(match[9]))
        if month is None:
            return start, start.replace(year=start.year + 1)
        if day is None:
            return start, (start + timedelta(days=31)).replace(day=1)
        width = timedelta(days=1) if hour is None else timedelta(minutes=1) if second is None else timedelta(seconds=1)
        if fraction:
            width = timedelta(microseconds=10 ** (6 - len(fraction)))
        return start.astimezone(UTC), (start + width).astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid("There is no such date.") from None


def _zone(text: str | None) -> timezone:
    if text is None or text == "Z":
        return UTC
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[4:6])))
