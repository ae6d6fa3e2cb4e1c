"""What SEARCH asks: return options, charset, keys as a tree (RFC 9051 §6.4.4; RFC 3501 keys; WITHIN RFC 5032)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from server.base.limits import IMAP_SEARCH_KEYS
from server.imap.grammar import dates, flags
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.sequence import SequenceSet, sequence_set

CHARSETS = ("US-ASCII", "UTF-8")


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


Key = All | And | Or | Not | HasFlag | HasKeyword | Numbers | Dated | Sized | Aged | Modified | Field | Words


@dataclass(frozen=True, slots=True)
class Search:
    key: Key
    charset: str = "UTF-8"
    charset_named: bool = False
    returns: tuple[str, ...] | None = None  # ESEARCH options; None: the answer of RFC 3501
    modseq: bool = False


def search(cursor: Cursor) -> Search:
    """search-program, after the command's name: [search-return-opts] SP [CHARSET charset SP] search-key *(SP …)"""
    returns = _returns(cursor)
    cursor.sp()
    charset = "UTF-8"
    start = cursor.at
    named = _next_word(cursor) == "CHARSET"
    if named:
        cursor.sp()
        charset = cursor.astring("a charset").decode("ascii", "replace").upper()
        cursor.sp()
    else:
        cursor.at = start
    parser = _Keys(cursor)
    keys = parser.several()
    return Search(keys, charset, named, returns, parser.modseq)


def _next_word(cursor: Cursor) -> str:
    return cursor.word() if not cursor.peek(b"(") and not cursor.peek(b"*") else ""


def _returns(cursor: Cursor) -> tuple[str, ...] | None:
    # search-return-opts = SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")" (RFC 4731, RFC 9051)
    start = cursor.at
    if not cursor.take(b" ") or _next_word(cursor) != "RETURN":
        cursor.at = start
        return None
    cursor.sp()
    cursor.open()
    options: list[str] = []
    while not cursor.peek(b")"):
        if options:
            cursor.sp()
        option = cursor.word("a return option")
        if option not in ("MIN", "MAX", "ALL", "COUNT"):
            raise BadSyntax("Unknown return option")
        options.append(option)
    cursor.close()
    # RFC 4731 §3.1: an empty list means ALL.
    return tuple(dict.fromkeys(options)) or ("ALL",)


class _Keys:
    """Reads keys; counts them and their depth, so that a search cannot be a bomb."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._count = 0
        self._depth = 0
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
        return reader(cursor)

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
    # No message is ever \Recent here (as in rev2, which dropped it): RECENT and NEW find none, OLD finds all.
    "RECENT": Not(All()),
    "NEW": Not(All()),
    "OLD": All(),
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
}
