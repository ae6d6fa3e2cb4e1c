"""What SORT and THREAD ask (RFC 5256 §5, RFC 5957 §5, RFC 5267 §3)."""

from __future__ import annotations

from dataclasses import dataclass

from server.base.limits import IMAP_SORT_CRITERIA
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.search import Search, charset_name, program, return_options

_KEYS = frozenset({"ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO"})
_ALGORITHMS = frozenset({"ORDEREDSUBJECT", "REFERENCES"})


@dataclass(frozen=True, slots=True)
class Criterion:
    key: str
    reverse: bool


@dataclass(frozen=True, slots=True)
class Sort:
    criteria: tuple[Criterion, ...]
    search: Search


@dataclass(frozen=True, slots=True)
class Thread:
    algorithm: str
    search: Search


def sort(cursor: Cursor) -> Sort:
    """sort = "SORT" [search-return-opts] SP "(" sort-criterion *(SP sort-criterion) ")" SP charset 1*(SP search-key)"""
    returns = return_options(cursor)
    cursor.sp()
    cursor.open()
    criteria = [_criterion(cursor)]
    while cursor.take(b" "):
        criteria.append(_criterion(cursor))
        if len(criteria) > IMAP_SORT_CRITERIA:
            raise BadSyntax("Too many sort criteria")
    cursor.close()
    cursor.sp()
    charset = charset_name(cursor)
    cursor.sp()
    return Sort(tuple(criteria), program(cursor, charset, returns))


def _criterion(cursor: Cursor) -> Criterion:
    word = cursor.word("a sort key")
    reverse = word == "REVERSE"
    if reverse:
        cursor.sp()
        word = cursor.word("a sort key")
    if word not in _KEYS:
        raise BadSyntax("Unknown sort key")
    return Criterion(word, reverse)


def thread(cursor: Cursor) -> Thread:
    """thread = "THREAD" SP thread-alg SP charset 1*(SP search-key)"""
    cursor.sp()
    algorithm = cursor.word("a threading algorithm")
    if algorithm not in _ALGORITHMS:
        raise BadSyntax("Unknown threading algorithm")
    cursor.sp()
    charset = charset_name(cursor)
    cursor.sp()
    return Thread(algorithm, program(cursor, charset, None))
