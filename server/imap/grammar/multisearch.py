"""What ESEARCH asks: where to search, and for what (RFC 7377 §4; mailbox specifiers of RFC 5465 §8)."""

from __future__ import annotations

from dataclasses import dataclass

from server.base.limits import IMAP_SEARCH_SOURCES
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.notify import mailboxes
from server.imap.grammar.search import Search, next_word, search

_ALONE = frozenset({"SELECTED", "INBOXES", "PERSONAL", "SUBSCRIBED"})
_NAMED = frozenset({"SUBTREE", "SUBTREE-ONE", "MAILBOXES"})


@dataclass(frozen=True, slots=True)
class Source:
    """Mailboxes to search: all of a kind, or those named, or what is below them."""

    where: str
    names: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class MultiSearch:
    sources: tuple[Source, ...]
    search: Search


def multisearch(cursor: Cursor) -> MultiSearch:
    """esearch = "ESEARCH" [SP "IN" SP "(" source-mbox ")"] [SP search-return-opts] SP search-program"""
    start = cursor.at
    if not (cursor.take(b" ") and next_word(cursor) == "IN" and cursor.take(b" ")):
        cursor.at = start
        return MultiSearch((Source("SELECTED"),), search(cursor))
    cursor.open()
    sources = [_source(cursor)]
    while cursor.take(b" "):
        sources.append(_source(cursor))
    cursor.close()
    if sum(1 + len(source.names) for source in sources) > IMAP_SEARCH_SOURCES:
        raise BadSyntax("Too many mailboxes to search")
    return MultiSearch(tuple(sources), search(cursor))


def _source(cursor: Cursor) -> Source:
    # Scope options may follow in parentheses; none is defined yet.
    where = cursor.word("a mailbox specifier")
    if where in _ALONE:
        return Source(where)
    if where not in _NAMED:
        raise BadSyntax("Unknown mailbox specifier")
    cursor.sp()
    return Source(where, mailboxes(cursor))
