"""Does a message match a search key? Keys become tests of three levels: row, header (summary), body.

Strings are compared as RFC 9051 §6.4.4 asks, ignoring case, after decoding: both sides in compatibility form, folded,
so that "é" matches however it was typed, and runs of blanks count as one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from email.utils import parsedate_tz
from enum import IntEnum
from typing import TYPE_CHECKING

from server.imap.grammar import search as keys
from server.imap.grammar.search import Key, Search
from server.imap.view import Selected
from server.mail import headers
from server.mailbox.model import Row

if TYPE_CHECKING:
    from server.mail.summary import Summary

_DATE_CHARACTERS = 200  # a date with its comment; more is no date
_BLANKS = re.compile(r"\s+")


class Level(IntEnum):
    """What a test must have been given."""

    ROW = 0
    HEADER = 1
    BODY = 2


@dataclass(frozen=True, slots=True)
class Words:
    """The readable text of a message, folded."""

    header: str
    body: str


@dataclass(slots=True)
class Message:
    row: Row
    summary: Summary | None = None
    words: Words | None = None


Test = Callable[[Message], bool]


@dataclass(frozen=True, slots=True)
class Matcher:
    level: Level
    test: Test


def header_values(summary: Summary, name: str) -> list[str]:
    """The decoded values of all fields of the message's own header with this name (lower case)."""
    return [headers.decode(value) for value in headers.every(summary.header, name)]


def sent_on(summary: Summary) -> date | None:
    """The day of the Date field as it was written there, without regard to its zone (RFC 9051 §6.4.4, SENTON)."""
    value = headers.first(summary.header, "date")
    if value is None or len(value) > _DATE_CHARACTERS:
        return None
    try:
        moment = parsedate_tz(value)
        return date(*moment[:3]) if moment is not None else None
    except (ValueError, TypeError, IndexError, OverflowError):
        # The library does not promise to take any text; a date that is none matches nothing.
        return None


def fold(text: str) -> str:
    return _BLANKS.sub(" ", unicodedata.normalize("NFKC", text).casefold())


def split(command: Search, selected: Selected, now: datetime) -> list[Matcher]:
    """The tests that must all hold. Raises UnicodeDecodeError: a string is not in the charset; Illegal: bad numbers."""
    compiler = _Compiler("ascii" if command.charset == "US-ASCII" else "utf-8", selected, now)
    key = command.key
    return [compiler.matcher(part) for part in (key.keys if isinstance(key, keys.And) else (key,))]


class _Compiler:
    def __init__(self, charset: str, selected: Selected, now: datetime) -> None:
        self._charset = charset
        self._selected = selected
        self._now = now

    def matcher(self, key: Key) -> Matcher:
        match key:
            case keys.All():
                return Matcher(Level.ROW, lambda message: True)
            case keys.And():
                parts = sorted((self.matcher(part) for part in key.keys), key=lambda part: part.level)
                tests = [part.test for part in parts]
                return Matcher(parts[-1].level, lambda message: all(test(message) for test in tests))
            case keys.Or():
                either = sorted((self.matcher(key.first), self.matcher(key.second)), key=lambda part: part.level)
                one, other = either[0].test, either[1].test
                return Matcher(either[1].level, lambda message: one(message) or other(message))
            case keys.Not():
                inner = self.matcher(key.key)
                test = inner.test
                return Matcher(inner.level, lambda message: not test(message))
            case keys.Field():
                return self._field(key)
            case keys.Words():
                return self._words(key)
            case keys.Dated() if key.field == "sent":
                return Matcher(Level.HEADER, _sent(key))
            case _:
                return Matcher(Level.ROW, self._row_test(key))

    def _row_test(self, key: Key) -> Test:
        match key:
            case keys.HasFlag(mask, wanted):
                return lambda message: bool(message.row.flags & mask) is wanted
            case keys.HasKeyword(keyword, wanted):
                return lambda message: any(name.lower() == keyword for name in message.row.keywords) is wanted
            case keys.Numbers(numbers, by_uid):
                uids = frozenset(self._selected.resolve(numbers, by_uid, lenient=True))
                return lambda message: message.row.uid in uids
            case keys.Sized(">", octets):
                return lambda message: message.row.size > octets
            case keys.Sized(_, octets):
                return lambda message: message.row.size < octets
            case keys.Modified(modseq):
                return lambda message: message.row.modseq >= modseq
            case keys.Aged("<=", seconds):
                edge = self._now - timedelta(seconds=seconds)
                return lambda message: message.row.internaldate >= edge
            case keys.Aged(_, seconds):
                edge = self._now - timedelta(seconds=seconds)
                return lambda message: message.row.internaldate <= edge
            case keys.Dated("saved", relation, day):
                return lambda message: _compare(message.row.savedate.date(), relation, day)
            case keys.Dated(_, relation, day):
                return lambda message: _compare(message.row.internaldate.date(), relation, day)
        raise TypeError(f"no test for {type(key).__name__}")

    def _text(self, needle: bytes) -> str:
        return fold(needle.decode(self._charset))

    def _field(self, key: keys.Field) -> Matcher:
        name, needle = key.name, self._text(key.needle)

        def test(message: Message) -> bool:
            assert message.summary is not None  # noqa: S101 -- Level.HEADER
            return any(needle in fold(value) for value in header_values(message.summary, name))

        return Matcher(Level.HEADER, test)

    def _words(self, key: keys.Words) -> Matcher:
        needle, header = self._text(key.needle), key.header

        def test(message: Message) -> bool:
            assert message.words is not None  # noqa: S101 -- Level.BODY
            return needle in message.words.body or (header and needle in message.words.header)

        return Matcher(Level.BODY, test)


def _sent(key: keys.Dated) -> Test:
    def test(message: Message) -> bool:
        assert message.summary is not None  # noqa: S101 -- Level.HEADER
        day = sent_on(message.summary)
        return day is not None and _compare(day, key.relation, key.day)

    return test


def _compare(day: date, relation: str, other: date) -> bool:
    if relation == "=":
        return day == other
    return day < other if relation == "<" else day >= other
