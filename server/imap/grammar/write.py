"""How values are written: quoted where the grammar lets it, else a literal (RFC 9051 §4.3)."""

from __future__ import annotations

import re

from server.imap.grammar import names

_NEEDS_LITERAL = re.compile(rb"[^\x20-\x7e]")
_ESCAPED = re.compile(rb'(["\\])')
_QUOTABLE = 1_000  # a longer string is a literal: some clients read lines into fixed buffers
_ATOM = re.compile(rb"[A-Za-z0-9!#$&'+,./:;<=>?@^_`|~-]+\Z")


def quoted(value: bytes) -> bytes:
    return b'"' + _ESCAPED.sub(rb"\\\1", value) + b'"'


def string(value: bytes) -> bytes:
    """string = quoted / literal; NUL cannot go on the wire in either and is sent as octet 0x80."""
    if len(value) <= _QUOTABLE and not _NEEDS_LITERAL.search(value):
        return quoted(value)
    return b"{%d}\r\n" % len(value) + without_nul(value)


def without_nul(value: bytes) -> bytes:
    """RFC 9051 §4.3.1 forbids NUL outside literal8; replaced one for one, so that sizes and offsets hold."""
    return value.replace(b"\0", b"\x80") if b"\0" in value else value


def astring(value: bytes) -> bytes:
    if _ATOM.match(value) and value.upper() != b"NIL":
        return value
    return string(value)


def nstring(value: bytes | None) -> bytes:
    return b"NIL" if value is None else string(value)


def mailbox(name: str, utf8: bool = False) -> bytes:
    """A mailbox name; always quoted unless it is a plain atom, as clients expect."""
    raw = names.encode(name, utf8)
    if _ATOM.match(raw) and raw.upper() != b"NIL":
        return raw
    return quoted(raw) if utf8 or not _NEEDS_LITERAL.search(raw) else string(raw)
