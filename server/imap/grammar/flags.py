"""Flags: the five system flags as the store's bits, everything else a keyword."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from server.base.limits import KEYWORDS_PER_MESSAGE
from server.imap.grammar.cursor import BadSyntax, Cursor

SEEN, ANSWERED, FLAGGED, DELETED, DRAFT = 1, 2, 4, 8, 16
SYSTEM: dict[str, int] = {"\\Seen": SEEN, "\\Answered": ANSWERED, "\\Flagged": FLAGGED, "\\Deleted": DELETED}
SYSTEM["\\Draft"] = DRAFT
ALL_SYSTEM = b"\\Answered \\Flagged \\Deleted \\Seen \\Draft"
BY_LOWER = {name.lower(): bit for name, bit in SYSTEM.items()}
# \Recent is no flag of a message but of a session's sight of it (RFC 3501 §2.3.2), so no bit of the store's.
RECENT = 32
# Rendered once for each of the 64 combinations: the hot path of FETCH FLAGS.
_RENDERED = [
    b" ".join(name.encode() for name, bit in (*SYSTEM.items(), ("\\Recent", RECENT)) if mask & bit)
    for mask in range(64)
]
KEYWORD_BYTES = 64
_FLAG = re.compile(rb'\\?[^\x00-\x20\x7f-\xff(){%*"\\\]]+')


@dataclass(frozen=True, slots=True)
class FlagSet:
    mask: int = 0
    keywords: tuple[str, ...] = ()


def flag(cursor: Cursor) -> tuple[int, str]:
    r"""flag = "\Answered" / … / flag-keyword / flag-extension → (bit, "") or (0, keyword). \Recent sets nothing."""
    name = cursor.match(_FLAG, "a flag").decode("ascii")
    if name.startswith("\\"):
        bit = BY_LOWER.get(name.lower())
        if bit is not None:
            return bit, ""
        # RFC 3501 §7.2.6 lets the server own \Recent; APPEND with it is legal and changes nothing.
        if name.lower() == "\\recent":
            return 0, ""
        raise BadSyntax("Unknown system flag")
    return 0, keyword(name)


def keyword(name: str) -> str:
    if len(name) > KEYWORD_BYTES:
        raise BadSyntax("Keyword too long")
    return name


def flag_list(cursor: Cursor) -> FlagSet:
    """flag-list = "(" [flag *(SP flag)] ")" """
    cursor.open()
    found: list[tuple[int, str]] = []
    while not cursor.peek(b")"):
        if found:
            cursor.sp()
        found.append(flag(cursor))
    cursor.close()
    return _gather(found)


def store_flags(cursor: Cursor) -> FlagSet:
    """store-att-flags takes a flag-list or (flag *(SP flag))."""
    if cursor.peek(b"("):
        return flag_list(cursor)
    found = [flag(cursor)]
    while cursor.take(b" "):
        found.append(flag(cursor))
    return _gather(found)


def _gather(found: Iterable[tuple[int, str]]) -> FlagSet:
    mask = 0
    keywords: dict[str, str] = {}
    for bit, name in found:
        mask |= bit
        # RFC 9051 §2.3.2: keywords are not case-sensitive.
        if name:
            keywords.setdefault(name.lower(), name)
    if len(keywords) > KEYWORDS_PER_MESSAGE:
        raise BadSyntax("Too many keywords")
    return FlagSet(mask, tuple(keywords.values()))


def render(mask: int, keywords: Sequence[str]) -> bytes:
    """The flags of a message, without the parentheses."""
    system = _RENDERED[mask]
    if not keywords:
        return system
    named = b" ".join(name.encode("ascii", "replace") for name in keywords)
    return b" ".join(part for part in (system, named) if part)
