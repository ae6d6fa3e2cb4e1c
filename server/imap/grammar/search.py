"""What SEARCH asks: return options, charset, keys as a tree (RFC 9051 §6.4.4; RFC 3501 keys; WITHIN RFC 5032)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from server.base.limits import IMAP_SEARCH_KEYS, IMAP_SEARCH_OCTETS
from server.imap.grammar import dates, flags
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.partial import Partial, partial
from server.imap.grammar.sequence import SequenceSet, sequence_set

# Charsets of search strings with Python's name for each; older French software sends the last three.
CHARSETS = {
    "US-ASCII": "ascii",
    "UTF-8": "utf-8",
    "ISO-8859-1": "iso-8859-1",
    "ISO-8859-15": "iso-8859-15",
    "WINDOWS-1252": "cp1252",
}


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class And:
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Or:
    first: Key
    second: Key


@dataclass(frozen=True, slots=True)
class Not:
    key: Key


@dataclass(frozen=True, slots=True)
class HasFlag:
    mask: int
    wanted: bool


@dataclass(frozen=True, slots=True)
class HasKeyword:
    keyword: str  # lower case
    wanted: bool


@dataclass(frozen=True, slots=True)
class Numbers:
    """Sequence numbers, or UIDs with `by_uid`."""

    numbers: SequenceSet
    by_uid: bool


@dataclass(frozen=True, slots=True)
class Dated:
    """`field` "internal", "sent" or "saved"; `relation` "<" BEFORE, "=" ON, ">=" SINCE."""

    field: str
    relation: str
    day: date


@dataclass(frozen=True, slots=True)
class Sized:
    relation: str  # ">" LARGER, "<" SMALLER
    octets: int


@dataclass(frozen=True, slots=True)
class Aged:
    """OLDER and YOUNGER (RFC 5032): seconds before now."""

    relation: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Modified:
    """MODSEQ (RFC 7162 §3.1.5): at least this mod-sequence."""

    modseq: int


@dataclass(frozen=True, slots=True)
class Field:
    """HEADER and its short forms. An empty `needle` asks only that the field is there."""

    name: str  # lower case
    needle: bytes


@dataclass(frozen=True, slots=True)
class Words:
    """BODY, or TEXT with `header`: also in the header."""

    needle: bytes
    header: bool


@dataclass(frozen=True, slots=True)
class Identified:
    """EMAILID, or THREADID with `thread` (RFC 8474 §6)."""

    object_id: str
    thread: bool


Key = (
    All | And | Or | Not | HasFlag | HasKeyword | Numbers | Dated | Sized | Aged | Modified | Field | Words | Identified
)


@dataclass(frozen=True, slots=True)
class Returns:
    """What is to be returned: names of options (RFC 4731, RFC 5182, RFC 5267), and the range of PARTIAL (RFC 9394)."""

    options: frozenset[str]
    partial: Partial | None = None

    def __contains__(self, option: str) -> bool:
        return option in self.options


@dataclass(frozen=True, slots=True)
class Search:
    """`returns` None: the answer of RFC 3501. `modseq`: MODSEQ was asked about."""

    key: Key
    charset: str = "UTF-8"
    charset_named: bool = False  # by CHARSET
    returns: Returns | None = None
    modseq: bool = False


def search(cursor: Cursor) -> Search:
    """search-program, after the command's name: [search-return-opts] SP [CHARSET charset SP] search-key *(SP …)"""
    returns = return_options(cursor)
    cursor.sp()
    charset = "UTF-8"
    start = cursor.at
    named = next_word(cursor) == "CHARSET"
    if named:
        cursor.sp()
        charset = charset_name(cursor)
        cursor.sp()
    else:
        cursor.at = start
    return program(cursor, charset, returns, named)


def charset_name(cursor: Cursor) -> str:
    return cursor.astring("a charset").decode("ascii", "replace").upper()


def program(cursor: Cursor, charset: str, returns: Returns | None, charset_named: bool = False) -> Search:
    """search-key *(SP search-key), with strings in `charset`."""
    # A quoted string in another charset is octets; those of UTF-8 are judged where they are read.
    cursor.octets = charset not in ("UTF-8", "US-ASCII")
    parser = _Keys(cursor)
    keys = parser.several()
    return Search(keys, charset, charset_named, returns, parser.modseq)


def next_word(cursor: Cursor) -> str:
    """The word that comes, "" where something else does."""
    return cursor.word() if not cursor.peek(b"(") and not cursor.peek(b"*") else ""


_OPTIONS = frozenset({"MIN", "MAX", "ALL", "COUNT", "SAVE", "UPDATE", "CONTEXT", "PARTIAL"})


def return_options(cursor: Cursor) -> Returns | None:
    # search-return-opts = SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")" (RFC 4731, RFC 9051)
    start = cursor.at
    if not cursor.take(b" ") or next_word(cursor) != "RETURN":
        cursor.at = start
        return None
    cursor.sp()
    cursor.open()
    options: set[str] = set()
    asked: Partial | None = None
    while not cursor.peek(b")"):
        if options:
            cursor.sp()
        option = cursor.word("a return option")
        if option not in _OPTIONS:
            raise BadSyntax("Unknown return option")
        if option == "PARTIAL":
            if asked is not None:
                raise BadSyntax("PARTIAL only once")
            cursor.sp()
            asked = partial(cursor)
        options.add(option)
    cursor.close()
    # RFC 9394 §3.1
    if asked is not None and "ALL" in options:
        raise BadSyntax("PARTIAL or ALL, not both")
    # RFC 4731 §3.1: an empty list means ALL.
    return Returns(frozenset(options or {"ALL"}), asked)


class _Keys:
    """Reads keys; counts them and their depth, so that a search cannot be a bomb."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._count = 0
        self._depth = 0
        self._octets = 0
        self.modseq = False

    def several(self) -> Key:
        keys = [self.one()]
        while self._cursor.take(b" "):
            keys.append(self.one())
        return keys[0] if len(keys) == 1 else And(tuple(keys))

    def one(self) -> Key:
        cursor = self._cursor
        self._count += 1
        if self._count > IMAP_SEARCH_KEYS:
            raise BadSyntax("Too many search keys")
        if cursor.peek(b"("):
            cursor.open()
            key = self.several()
            cursor.close()
            return key
        head = cursor.text[cursor.at : cursor.at + 1]
        if head.isdigit() or head in (b"*", b"$"):
            return Numbers(sequence_set(cursor), by_uid=False)
        name = cursor.word("a search key")
        if name in _SIMPLE:
            return _SIMPLE[name]
        # NOT and OR nest without parentheses: they count as depth all the same.
        if name in ("NOT", "OR"):
            return self._nested(name)
        if name == "MODSEQ":
            self.modseq = True
            return _modseq(cursor)
        reader = _WITH_ARGUMENT.get(name)
        if reader is None:
            raise BadSyntax("Unknown search key")
        cursor.sp()
        key = reader(cursor)
        if isinstance(key, (Field, Words)):
            self._octets += len(key.needle)
            if self._octets > IMAP_SEARCH_OCTETS:
                raise BadSyntax("Too much to search for")
        return key

    def _nested(self, name: str) -> Key:
        self._depth += 1
        if self._depth > _OPERATOR_NESTING:
            raise BadSyntax("Too many nested search keys")
        self._cursor.sp()
        first = self.one()
        key: Key
        if name == "NOT":
            key = Not(first)
        else:
            self._cursor.sp()
            key = Or(first, self.one())
        self._depth -= 1
        return key


# Clients write "OR a OR b OR c …" for a list of words: deeper than parentheses are, far from Python's recursion limit.
_OPERATOR_NESTING = 100

_RECENT = Numbers(SequenceSet((), recent=True), by_uid=True)
_SIMPLE: dict[str, Key] = {
    "ALL": All(),
    "ANSWERED": HasFlag(flags.ANSWERED, True),
    "UNANSWERED": HasFlag(flags.ANSWERED, False),
    "DELETED": HasFlag(flags.DELETED, True),
    "UNDELETED": HasFlag(flags.DELETED, False),
    "DRAFT": HasFlag(flags.DRAFT, True),
    "UNDRAFT": HasFlag(flags.DRAFT, False),
    "FLAGGED": HasFlag(flags.FLAGGED, True),
    "UNFLAGGED": HasFlag(flags.FLAGGED, False),
    "SEEN": HasFlag(flags.SEEN, True),
    "UNSEEN": HasFlag(flags.SEEN, False),
    "RECENT": _RECENT,
    "NEW": And((_RECENT, HasFlag(flags.SEEN, False))),
    "OLD": Not(_RECENT),
    # RFC 8514 §4.3: every message has a save date here.
    "SAVEDATESUPPORTED": All(),
}


def _modseq(cursor: Cursor) -> Key:
    # search-modsequence = "MODSEQ" [SP entry-name SP entry-type-req] SP mod-sequence-valzer (RFC 7162 §3.1.5)
    cursor.sp()
    if cursor.peek(b'"'):
        cursor.string()
        cursor.sp()
        if cursor.word() not in ("PRIV", "SHARED", "ALL"):
            raise BadSyntax("Unknown entry type")
        cursor.sp()
    return Modified(cursor.number64())


def _keyword(wanted: bool) -> Callable[[Cursor], Key]:
    return lambda cursor: HasKeyword(flags.keyword(cursor.atom("a keyword").decode("ascii")).lower(), wanted)


def _dated(field: str, relation: str) -> Callable[[Cursor], Key]:
    return lambda cursor: Dated(field, relation, dates.search_date(cursor))


def _field(name: str) -> Callable[[Cursor], Key]:
    return lambda cursor: Field(name, cursor.astring())


def _header(cursor: Cursor) -> Key:
    name = cursor.astring("a header name")
    cursor.sp()
    return Field(name.decode("ascii", "replace").lower(), cursor.astring())


def _object_id(cursor: Cursor) -> str:
    # objectid = 1*255(ALPHA / DIGIT / "_" / "-") (RFC 8474 §7)
    return cursor.match(_OBJECT_ID, "an object identifier").decode("ascii")


_OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}")

_WITH_ARGUMENT: dict[str, Callable[[Cursor], Key]] = {
    "KEYWORD": _keyword(True),
    "UNKEYWORD": _keyword(False),
    "BEFORE": _dated("internal", "<"),
    "ON": _dated("internal", "="),
    "SINCE": _dated("internal", ">="),
    "SENTBEFORE": _dated("sent", "<"),
    "SENTON": _dated("sent", "="),
    "SENTSINCE": _dated("sent", ">="),
    "SAVEDBEFORE": _dated("saved", "<"),
    "SAVEDON": _dated("saved", "="),
    "SAVEDSINCE": _dated("saved", ">="),
    "BCC": _field("bcc"),
    "CC": _field("cc"),
    "FROM": _field("from"),
    "SUBJECT": _field("subject"),
    "TO": _field("to"),
    "HEADER": _header,
    "BODY": lambda cursor: Words(cursor.astring(), header=False),
    "TEXT": lambda cursor: Words(cursor.astring(), header=True),
    "LARGER": lambda cursor: Sized(">", cursor.number64()),
    "SMALLER": lambda cursor: Sized("<", cursor.number64()),
    "OLDER": lambda cursor: Aged(">=", cursor.nz_number()),
    "YOUNGER": lambda cursor: Aged("<=", cursor.nz_number()),
    "UID": lambda cursor: Numbers(sequence_set(cursor), by_uid=True),
    "EMAILID": lambda cursor: Identified(_object_id(cursor), thread=False),
    "THREADID": lambda cursor: Identified(_object_id(cursor), thread=True),
}
