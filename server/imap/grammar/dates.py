"""Dates of SEARCH and date-times of INTERNALDATE. Always aware; the zone a client wrote is kept until the store."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone

from server.imap.grammar.cursor import BadSyntax, Cursor

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = {name.lower(): number for number, name in enumerate(MONTHS, 1)}
# date-text = date-day "-" date-month "-" date-year ; date = date-text / DQUOTE date-text DQUOTE
_DATE = re.compile(rb'("?)([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})\1')
# date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
_DATE_TIME = re.compile(
    rb'"([ 0-9][0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"'
)


def search_date(cursor: Cursor) -> date:
    found = _DATE.match(cursor.text, cursor.at)
    if found is None:
        raise BadSyntax("Expected a date like 1-Feb-1994")
    cursor.at = found.end()
    try:
        return date(int(found[4]), _month(found[3]), int(found[2]))
    except ValueError:
        raise BadSyntax("No such date") from None


def date_time(cursor: Cursor) -> datetime:
    found = _DATE_TIME.match(cursor.text, cursor.at)
    if found is None:
        raise BadSyntax('Expected a date and time like "17-Jul-1996 02:44:25 -0700"')
    cursor.at = found.end()
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
    try:
        zone = timezone(-offset if sign == b"-" else offset)
        # A leap second is the last second of its minute to us: datetime knows none.
        moment = datetime(int(year), _month(month), int(day), int(hour), int(minute), min(int(second), 59), tzinfo=zone)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadSyntax("No such date and time") from None


def _month(name: bytes) -> int:
    number = _MONTH.get(name.decode("ascii").lower())
    if number is None:
        raise BadSyntax("No such month")
    return number


def render(moment: datetime) -> bytes:
    """A moment as date-time, with its quotes. UTC: the store keeps moments, not zones."""
    utc = moment.astimezone(UTC)
    text = f'"{utc.day:2d}-{MONTHS[utc.month - 1]}-{utc.year:04d} {utc:%H:%M:%S} +0000"'
    return text.encode("ascii")
