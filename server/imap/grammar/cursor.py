"""A cursor over one command: the tokens of RFC 9051 §9, each with its ABNF above its rule.

Every method consumes what it names or raises `BadSyntax`. Deviations, each named where it stands: UTF-8 is accepted in
a quoted string before UTF8=ACCEPT is enabled (rev2 allows it and rev1 clients send it).
"""

from __future__ import annotations

import re

from server.base.errors import ProtocolViolation, Reason
from server.base.limits import IMAP_NESTING
from server.imap.grammar.reader import NUMBER64, Frame, Passed


class BadSyntax(ProtocolViolation):
    """The command does not follow the grammar; the sentence names the token expected, never what was sent."""

    def __init__(self, sentence: str) -> None:
        super().__init__(Reason.MALFORMED, sentence)


# ATOM-CHAR = <any CHAR except atom-specials>
# atom-specials = "(" / ")" / "{" / SP / CTL / list-wildcards / quoted-specials / resp-specials
_ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
# ASTRING-CHAR = ATOM-CHAR / resp-specials
_ASTRING = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\]+')
# tag = 1*<any ASTRING-CHAR except "+">
_TAG = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\+]+')
# list-char = ATOM-CHAR / list-wildcards / resp-specials
_LIST_CHARS = re.compile(rb'[^\x00-\x20\x7f-\xff(){"\\]+')
# quoted = DQUOTE *QUOTED-CHAR DQUOTE
# QUOTED-CHAR = <any TEXT-CHAR except quoted-specials> / "\" quoted-specials / UTF8-2 / UTF8-3 / UTF8-4
_QUOTED = re.compile(rb'"((?:[^\x00\r\n"\\]|\\["\\])*)"')
_ESCAPE = re.compile(rb'\\(["\\])')
_NUMBER = re.compile(rb"[0-9]{1,20}")
_SEQUENCE_SET = re.compile(rb"[0-9*:,$]+")
NUMBER32 = 2**32 - 1


class Cursor:
    __slots__ = ("_depth", "_literals", "at", "literal8", "octets", "text")

    def __init__(self, frame: Frame) -> None:
        self.text = frame.text
        self.at = 0
        self.literal8 = False
        self.octets = False  # quoted strings hold octets of another charset (SEARCH CHARSET)
        self._literals = iter(frame.literals)
        self._depth = 0

    # --- single characters ------------------------------------------------------------------------------------
    def peek(self, token: bytes) -> bool:
        return self.text.startswith(token, self.at)

    def take(self, token: bytes) -> bool:
        """Consume `token` when it is next."""
        if self.text.startswith(token, self.at):
            self.at += len(token)
            return True
        return False

    def expect(self, token: bytes, what: str) -> None:
        if not self.take(token):
            raise BadSyntax(f"Expected {what}")

    def sp(self) -> None:
        self.expect(b" ", "a space")

    def end(self) -> None:
        if self.at != len(self.text):
            raise BadSyntax("Unexpected characters at the end of the command")

    def open(self) -> None:
        """Consume "("; nesting is bounded (CVE-2026-27857: parentheses before login)."""
        self.expect(b"(", "an opening parenthesis")
        self._depth += 1
        if self._depth > IMAP_NESTING:
            raise BadSyntax("Too many nested parentheses")

    def close(self) -> None:
        self.expect(b")", "a closing parenthesis")
        self._depth -= 1

    # --- tokens -----------------------------------------------------------------------------------------------
    def match(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise BadSyntax(f"Expected {what}")
        self.at = found.end()
        return found[0]

    def tag(self) -> bytes:
        return self.match(_TAG, "a tag")

    def atom(self, what: str = "an atom") -> bytes:
        return self.match(_ATOM, what)

    def word(self, what: str = "a keyword") -> str:
        """An atom of the protocol itself, in upper case."""
        return self.atom(what).decode("ascii").upper()

    def number(self, largest: int = NUMBER32) -> int:
        value = int(self.match(_NUMBER, "a number"))
        if value > largest:
            raise BadSyntax("Number out of range")
        return value

    def nz_number(self, largest: int = NUMBER32) -> int:
        value = self.number(largest)
        if value == 0:
            raise BadSyntax("Expected a number above zero")
        return value

    def number64(self) -> int:
        return self.number(NUMBER64)

    def sequence_text(self) -> bytes:
        return self.match(_SEQUENCE_SET, "a sequence set")

    def literal(self) -> bytes:
        """A literal of an argument; `literal8` tells whether it was of the binary kind."""
        octets = self.large_literal()
        if isinstance(octets, Passed):
            raise BadSyntax("The literal is larger than allowed here")
        return octets

    def large_literal(self) -> bytes | Passed:
        """A literal, or what stands for one that was handed on while it came."""
        self.literal8 = self.take(b"~")
        self.expect(b"\0", "a literal")
        return next(self._literals)

    def string(self) -> bytes:
        """string = quoted / literal"""
        if self.peek(b"\0"):
            return self.literal()
        found = _QUOTED.match(self.text, self.at)
        if found is None:
            raise BadSyntax("Expected a string")
        self.at = found.end()
        value = found[1]
        if not self.octets and not value.isascii():
            _check_utf8(value)
        return _ESCAPE.sub(rb"\1", value) if b"\\" in value else value

    def astring(self, what: str = "a string") -> bytes:
        """astring = 1*ASTRING-CHAR / string"""
        found = _ASTRING.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
            return found[0]
        if self.peek(b'"') or self.peek(b"\0"):
            return self.string()
        raise BadSyntax(f"Expected {what}")

    def nstring(self) -> bytes | None:
        """nstring = string / nil"""
        if self.text[self.at : self.at + 3].upper() == b"NIL":
            self.at += 3
            return None
        return self.string()

    def list_mailbox(self) -> bytes:
        """list-mailbox = 1*list-char / string"""
        found = _LIST_CHARS.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
            return found[0]
        return self.string()


def _check_utf8(value: bytes) -> None:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        raise BadSyntax("A quoted string that is not UTF-8") from None
