"""What another IMAP server answers, read without I/O: LIST and LSUB, NAMESPACE, EXAMINE, SEARCH, FETCH.

Lines come as the client keeps them: without "* " and line end, a literal as the item behind its line. What cannot be
understood is passed over and raises nothing: the caller finds that something is missing, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from server.base.errors import CaduceeError
from server.base.limits import KEYWORDS_PER_MESSAGE
from server.imap.grammar import dates, flags
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.reader import Frame

_LITERAL = re.compile(rb"~?\{[0-9]{1,19}\+?\}\Z")
_ATTRIBUTE = re.compile(rb"\\?[A-Za-z0-9.$_-]{1,64}")
_ITEM = re.compile(rb"[A-Za-z0-9.]{1,40}(?:\[\])?(?:<[0-9]{1,19}>)?")
_NUMBERS = re.compile(rb"[0-9]{1,10}")
_EXISTS = re.compile(rb"([0-9]{1,10}) EXISTS", re.IGNORECASE)
_UIDVALIDITY = re.compile(rb"\[UIDVALIDITY ([0-9]{1,10})\]", re.IGNORECASE)
_SYSTEM_FLAG = re.compile(rb'\\[^\x00-\x20\x7f-\xff(){%"\\\]]+')

Lines = Sequence[bytes | bytearray]


@dataclass(frozen=True, slots=True)
class Listed:
    """A folder as LIST tells it: its name as it goes on the wire, its delimiter, its attributes in lower case."""

    name: bytes
    delimiter: str
    attributes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Opened:
    """A folder as EXAMINE tells it."""

    uidvalidity: int
    exists: int


@dataclass(slots=True)
class Fetched:
    """A message as FETCH tells it; `body` is a piece, None where none was sent."""

    uid: int = 0
    size: int | None = None
    flags: int = 0
    keywords: tuple[str, ...] = ()
    internaldate: datetime | None = None
    body: bytes | None = field(default=None, repr=False)


def frames(lines: Lines, to_literal: bool = False) -> Iterator[Frame]:
    """Whole answers, each literal in its place. `to_literal`: a literal is the end of its answer, as a name is."""
    text, literals, expected = b"", [], False
    for line in lines:
        if expected:
            text, expected = text + b"\0", False
            literals.append(bytes(line))
        else:
            if text and (to_literal or not text.endswith(b"\0")):
                yield Frame(text, tuple(literals))
                text, literals = b"", []
            found = _LITERAL.search(line)
            expected = found is not None
            # A literal stands as one NUL: nowhere else may one be.
            text += bytes(line[: found.start()] if found else line).replace(b"\0", b"")
    if text:
        yield Frame(text, tuple(literals))


def listed(lines: Lines) -> list[Listed]:
    """The folders of LIST or LSUB."""
    found = []
    for frame in frames(lines, to_literal=True):
        cursor = Cursor(frame)
        try:
            attributes = _words(cursor)
            cursor.sp()
            delimiter = cursor.nstring() or b""
            cursor.sp()
            name = cursor.astring()
        except (CaduceeError, StopIteration):
            continue
        found.append(Listed(name, delimiter.decode("latin-1"), frozenset(word.lower() for word in attributes)))
    return found


def _words(cursor: Cursor) -> list[str]:
    found = []
    cursor.open()
    while not cursor.peek(b")"):
        cursor.take(b" ")
        found.append(cursor.match(_ATTRIBUTE, "a word").decode("ascii"))
    cursor.close()
    return found


def namespaces(lines: Lines) -> tuple[bytes, list[bytes]]:
    """NAMESPACE (RFC 2342 §5): the prefix of the holder's own folders, and those of other people's and shared ones."""
    for frame in frames(lines):
        cursor = Cursor(frame)
        try:
            own = _prefixes(cursor)
            cursor.sp()
            others = _prefixes(cursor)
            cursor.sp()
            others += _prefixes(cursor)
        except (CaduceeError, StopIteration):
            continue
        return (own or [b""])[0], [prefix for prefix in others if prefix]
    return b"", []


def _prefixes(cursor: Cursor) -> list[bytes]:
    found: list[bytes] = []
    if not cursor.peek(b"("):
        cursor.nstring()
        return found
    cursor.open()
    while not cursor.peek(b")"):
        cursor.open()
        found.append(cursor.string())
        cursor.sp()
        cursor.nstring()
        cursor.close()
    cursor.close()
    return found


def opened(lines: Lines) -> Opened | None:
    """The answer of EXAMINE; None without a UIDVALIDITY."""
    uidvalidity = exists = 0
    for line in lines:
        if found := _EXISTS.match(line):
            exists = int(found[1])
        elif found := _UIDVALIDITY.search(line):
            uidvalidity = int(found[1])
    return Opened(uidvalidity, exists) if uidvalidity else None


def numbers(lines: Lines) -> list[int]:
    """The uids of SEARCH, in order, each once."""
    found = {int(number) for line in lines[:-1] for number in _NUMBERS.findall(line)}  # the last line ends the command
    return sorted(found - {0})


def fetched(lines: Lines) -> dict[int, Fetched]:
    """Messages by uid; what the server tells unasked, without a uid, is passed over."""
    found: dict[int, Fetched] = {}
    for frame in frames(lines):
        try:
            message = _fetch(Cursor(frame))
        except (CaduceeError, StopIteration):
            continue
        if message.uid:
            found[message.uid] = message
    return found


def _fetch(cursor: Cursor) -> Fetched:
    cursor.number()
    cursor.sp()
    cursor.expect(b"FETCH (", "FETCH")
    message = Fetched()
    while not cursor.take(b")"):
        cursor.take(b" ")
        item = cursor.match(_ITEM, "an item").upper().partition(b"<")[0]
        cursor.sp()
        match item:
            case b"UID":
                message.uid = cursor.nz_number()
            case b"RFC822.SIZE":
                message.size = cursor.number64()
            case b"INTERNALDATE":
                message.internaldate = dates.date_time(cursor)
            case b"FLAGS":
                message.flags, message.keywords = _flags(cursor)
            case b"BODY[]":
                message.body = cursor.nstring() or b""
            case b"MODSEQ":
                cursor.open()
                cursor.number64()
                cursor.close()
            case _:
                raise BadSyntax("Expected what was asked for")
    return message


def _flags(cursor: Cursor) -> tuple[int, tuple[str, ...]]:
    """Bits and keywords. System flags that are not ours mean nothing here, \\Recent for one."""
    mask, keywords = 0, dict[str, str]()
    cursor.open()
    while not cursor.peek(b")"):
        cursor.take(b" ")
        if cursor.peek(b"\\"):
            mask |= flags.BY_LOWER.get(cursor.match(_SYSTEM_FLAG, "a flag").decode("ascii").lower(), 0)
            continue
        keyword = cursor.atom("a keyword").decode("ascii")
        if len(keyword) <= flags.KEYWORD_BYTES:
            keywords.setdefault(keyword.lower(), keyword)
    cursor.close()
    return mask, tuple(keywords.values())[:KEYWORDS_PER_MESSAGE]
