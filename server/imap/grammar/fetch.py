"""What FETCH asks: attributes, sections, partials, modifiers (RFC 9051 §6.4.5; RFC 7162 §3.1.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from server.base.limits import IMAP_FETCH_ITEMS, MIME_DEPTH
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.partial import Partial, partial

_WORD = re.compile(rb"[A-Za-z0-9.]+")
_PART = re.compile(rb"[0-9]{1,6}(?:\.[0-9]{1,6})*")
_TEXT = re.compile(rb"[A-Za-z.]+")
_LAZY = b" (LAZY)"

# fetch-att without arguments.
_PLAIN = frozenset(
    {"FLAGS", "UID", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE", "BODY", "MODSEQ", "SAVEDATE"}
) | {"EMAILID", "THREADID"}
_RFC822 = frozenset({"RFC822", "RFC822.HEADER", "RFC822.TEXT"})
# RFC 9051 §6.4.5: macros stand alone.
_MACROS = {
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}


@dataclass(frozen=True, slots=True)
class Section:
    """`part` is "1.2" or ""; `text` is "", HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or MIME."""

    part: str = ""
    text: str = ""
    fields: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Attribute:
    """One fetch-att. `section` only for BODY[…], BINARY[…] and RFC822…; `partial` is (first octet, octets)."""

    name: str
    section: Section | None = None
    peek: bool = True
    partial: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class FetchItems:
    attributes: tuple[Attribute, ...]
    changed_since: int | None = None
    vanished: bool = False
    range: Partial | None = None


def fetch_items(cursor: Cursor) -> FetchItems:
    """("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")") [fetch-modifiers]"""
    if cursor.peek(b"("):
        attributes = list(fetch_attributes(cursor))
    else:
        start = cursor.at
        macro = _MACROS.get(cursor.match(_WORD, "a fetch attribute").decode().upper())
        if macro is not None:
            attributes = [Attribute(name) for name in macro]
        else:
            cursor.at = start
            attributes = [_attribute(cursor)]
    unique = tuple(dict.fromkeys(attributes))
    return _modifiers(cursor, unique)


def fetch_attributes(cursor: Cursor) -> tuple[Attribute, ...]:
    """ "(" fetch-att *(SP fetch-att) ")" """
    cursor.open()
    attributes = [_attribute(cursor)]
    while cursor.take(b" "):
        attributes.append(_attribute(cursor))
        if len(attributes) > IMAP_FETCH_ITEMS:
            raise BadSyntax("Too many fetch attributes")
    cursor.close()
    return tuple(dict.fromkeys(attributes))


def _modifiers(cursor: Cursor, attributes: tuple[Attribute, ...]) -> FetchItems:
    # fetch-modifiers = SP "(" fetch-modifier *(SP fetch-modifier) ")" (RFC 4466)
    # fetch-modifier = "CHANGEDSINCE" SP mod-sequence-value / "VANISHED" / "PARTIAL" SP partial-range
    # (RFC 7162 §7, RFC 9394 §4)
    if not cursor.take(b" "):
        return FetchItems(attributes)
    cursor.open()
    since, vanished, wanted = None, False, None
    while True:
        name = cursor.word("a fetch modifier")
        if name == "CHANGEDSINCE" and since is None:
            cursor.sp()
            since = cursor.number64()
        elif name == "VANISHED" and not vanished:
            vanished = True
        elif name == "PARTIAL" and wanted is None:
            cursor.sp()
            wanted = partial(cursor)
        else:
            raise BadSyntax("Unknown fetch modifier, or one given twice")
        if not cursor.take(b" "):
            break
    cursor.close()
    if vanished and since is None:
        # RFC 7162 §3.2.6
        raise BadSyntax("VANISHED needs CHANGEDSINCE")
    return FetchItems(attributes, since, vanished, wanted)


def _attribute(cursor: Cursor) -> Attribute:
    name = cursor.match(_WORD, "a fetch attribute").decode().upper()
    if name in ("BODY", "BODY.PEEK") and cursor.peek(b"["):
        return Attribute("BODY", section(cursor), name == "BODY.PEEK", _partial(cursor))
    # RFC 3516 §4: "BINARY" [".PEEK"] section-binary [partial] / "BINARY.SIZE" section-binary
    if name in ("BINARY", "BINARY.PEEK", "BINARY.SIZE"):
        asked = section(cursor)
        if asked.text:
            raise BadSyntax("BINARY takes the number of a part")
        if name == "BINARY.SIZE":
            return Attribute(name, asked)
        return Attribute("BINARY", asked, name == "BINARY.PEEK", _partial(cursor))
    # RFC 8970 §3.1: "PREVIEW" [SP "(" preview-mod *(SP preview-mod) ")"]; it is there at once, LAZY or not.
    if name == "PREVIEW":
        if cursor.text[cursor.at : cursor.at + len(_LAZY)].upper() == _LAZY:
            cursor.at += len(_LAZY)
        return Attribute(name)
    if name in _PLAIN:
        return Attribute(name)
    if name in _RFC822:
        text = name.partition(".")[2]
        # RFC 3501 §6.4.5: RFC822 is BODY[], RFC822.HEADER is BODY.PEEK[HEADER], RFC822.TEXT is BODY[TEXT].
        return Attribute(name, Section(text=text), peek=text == "HEADER")
    raise BadSyntax("Unknown fetch attribute")


def section(cursor: Cursor) -> Section:
    """section = "[" [section-spec] "]" ; section-part = nz-number *("." nz-number)"""
    cursor.expect(b"[", "a section")
    part = text = ""
    fields: tuple[bytes, ...] = ()
    found = _PART.match(cursor.text, cursor.at)
    if found is not None:
        cursor.at = found.end()
        part = found[0].decode()
        numbers = part.split(".")
        if any(int(number) == 0 for number in numbers) or len(numbers) > 2 * MIME_DEPTH:
            raise BadSyntax("Bad part number")
        part = ".".join(str(int(number)) for number in numbers)
    if cursor.take(b".") if part else not cursor.peek(b"]"):
        text, fields = _section_text(cursor, nested=bool(part))
    cursor.expect(b"]", "the end of the section")
    return Section(part, text, fields)


def _section_text(cursor: Cursor, nested: bool) -> tuple[str, tuple[bytes, ...]]:
    # section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT" ; section-text adds "MIME"
    text = cursor.match(_TEXT, "a section text").decode().upper()
    if text in ("HEADER", "TEXT") or (text == "MIME" and nested):
        return text, ()
    if text not in ("HEADER.FIELDS", "HEADER.FIELDS.NOT"):
        raise BadSyntax("Unknown section")
    cursor.sp()
    cursor.open()
    names = [cursor.astring("a header name")]
    while cursor.take(b" "):
        names.append(cursor.astring("a header name"))
        if len(names) > IMAP_FETCH_ITEMS:
            raise BadSyntax("Too many header names")
    cursor.close()
    return text, tuple(names)


def _partial(cursor: Cursor) -> tuple[int, int] | None:
    """partial = "<" number64 "." nz-number64 ">" """
    if not cursor.take(b"<"):
        return None
    first = cursor.number64()
    cursor.expect(b".", "a dot in the partial")
    count = cursor.nz_number(2**63 - 1)
    cursor.expect(b">", "the end of the partial")
    return first, count
