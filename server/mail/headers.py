"""Header blocks: where each field stands, its unfolded value, and its text (RFC 5322 §2.2, RFC 2047).

A field is told by its offsets, never copied: who needs the value slices the bytes. Broken lines are kept and counted,
since a signature or a forger may rest on them. Every pattern here is possessive, so each block is read in linear time.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from server.base.limits import MESSAGE_ID_CHARACTERS, MIME_HEADER_COUNT

# RFC 5322 §2.2: printable ASCII but the colon. Space before the colon is obsolete syntax (§4.5) that all still read.
_FIELD = re.compile(rb"(?:([!-9;-~]++)[ \t]*+:)?+[^\n]*+(?:\n[ \t][^\n]*+)*+\n?+")
_FOLD = re.compile(r"\r?\n(?=[ \t])")
# RFC 2047 §2; RFC 2231 §5 adds the language. Charset and encoding cannot hold "?", so nothing is tried twice.
_WORD = re.compile(r"=\?([^?\s*]++)(?:\*[^?\s]*+)?\?([BbQq])\?([^?\s]*+)\?=")
# RFC 2047 §6.2: white space between two encoded words is not text.
_BETWEEN = re.compile(r"(?<=\?=)\s++(?==\?)")
_QUOTED = re.compile(rb"=([0-9A-Fa-f]{2})")

_CHARSETS = {"ansi_x3.110-1983": "latin-1", "iso-8859-8-i": "iso-8859-8", "x-unknown": "utf-8", "unknown-8bit": "utf-8"}
# Python counts codecs as charsets that are none (hex, zip, rot13 …); these families are all that mail uses, less
# UTF-7, in which lone surrogates and hidden markup can be written.
_CHARSET = re.compile(
    r"(?:us-ascii|ascii|utf-?(?:8|16|32)(?:-?[bl]e)?|(?:iso|latin|windows|cp|ibm|koi8|mac|big5|gb|euc|shift|sjis|ks|tis)"
    r"[a-z0-9_.:-]{0,24}|l[1-9])"
)


class Field(NamedTuple):
    """A field of a header: lower-case name, offset of its first octet, offset past its last (line ending included)."""

    name: str
    start: int
    end: int


class Block(NamedTuple):
    """What stands in a header block: its fields; `broken`: a line that is no field; `more`: fields past the limit."""

    fields: list[Field]
    broken: bool
    more: bool


def read(block: bytes, base: int = 0) -> Block:
    """The fields of a header block that starts at offset `base`. Stops at the empty line, or at 1,000 fields."""
    fields: list[Field] = []
    broken = False
    for match in _FIELD.finditer(block):
        start, end = match.span()
        name = match[1]
        if name is not None:
            if len(fields) == MIME_HEADER_COUNT:
                return Block(fields, broken, True)
            fields.append(Field(name.decode("ascii").lower(), base + start, base + end))
        elif block[start:end] in (b"", b"\n", b"\r\n"):
            break
        else:
            broken = True
    return Block(fields, broken, False)


def raw(block: bytes, field: Field, base: int = 0) -> str:
    """The unfolded value of a field, octets as latin-1 characters (RFC 5322 §2.2.3), without outer white space."""
    value = block[field.start - base : field.end - base].partition(b":")[2].decode("latin-1")
    if "\n" in value:
        value = _FOLD.sub("", value)
    return value.strip(" \t\r\n")


def first(block: bytes, name: str, fields: list[Field] | None = None) -> str | None:
    """The unfolded value of the first field called `name` (lower case), octets as latin-1; None where there is none."""
    for field in read(block).fields if fields is None else fields:
        if field.name == name:
            return raw(block, field)
    return None


def every(block: bytes, name: str) -> list[str]:
    """The unfolded values of all fields called `name` (lower case), in order."""
    return [raw(block, field) for field in read(block).fields if field.name == name]


def utf8(value: str) -> str:
    """Octets as latin-1 → text: UTF-8 (RFC 6532 §3.1) where they are, else as latin-1, as old software meant them."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def decode(value: str) -> str:
    """The text of an unstructured value or a phrase: encoded words read, one line, no control character."""
    value = utf8(value)
    if "=?" in value:
        value = _WORD.sub(_decoded, _BETWEEN.sub("", value))
    return printable(value)


def bare_id(value: str) -> str:
    """A Message-ID as it is compared: the first between < and >, else all there is; without white space."""
    _, opened, rest = value.partition("<")
    identifier = rest.partition(">")[0] if opened else value
    return "".join(printable(utf8(identifier)).split())[:MESSAGE_ID_CHARACTERS]


def printable(text: str) -> str:
    """Text on one line: controls and line ends become spaces, so that nothing forged shows as a line of its own."""
    if text.isprintable():
        return text.strip()
    return "".join(character if character.isprintable() else " " for character in text).strip()


def charset(name: str) -> str | None:
    """The Python codec for a MIME charset, None where it is unknown or no charset."""
    name = name.strip().lower()
    name = _CHARSETS.get(name, name)
    return name if _CHARSET.fullmatch(name) else None


def text(data: bytes, label: str) -> str:
    """Octets in the charset `label`; what does not fit is shown as U+FFFD, never an error.

    Of an unknown charset, or no ASCII where ASCII was said: UTF-8 if it is, else latin-1.
    """
    codec = charset(label)
    if codec is None or codec in ("us-ascii", "ascii"):
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode("latin-1")
    try:
        return data.decode(codec, "replace")
    except (LookupError, UnicodeError):
        return data.decode("latin-1")


def _decoded(match: re.Match[str]) -> str:
    label, encoding, content = match.groups()
    octets = content.encode("utf-8")
    if encoding in "Bb":
        try:
            octets = base64.b64decode(octets + b"=" * (-len(octets) % 4), validate=True)
        except binascii.Error:
            return match[0]
    else:
        # RFC 2047 §4.2: "_" is a space, "=" and two hexadecimal digits an octet.
        octets = _QUOTED.sub(lambda found: bytes.fromhex(found[1].decode()), octets.replace(b"_", b" "))
    return text(octets, label)
