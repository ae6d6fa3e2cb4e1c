"""Bytes → whole commands, with their literals; every size is judged before the bytes are read.

Contract: `next_frame` returns a `Frame`, a `Prompt` (a synchronising literal was admitted: say "+"), a `Refused…`
event, or None for "need more". It never raises on input and never holds more than one command and what was pipelined
behind it. Feeding byte by byte gives the same events as feeding the whole.

A refused literal that comes anyway (non-synchronising) is thrown away as it comes, with the rest of its command, when
it is no larger than `passes_over`; a larger one is fatal.

Inside `Frame.text` a literal stands as one NUL octet (NUL is legal nowhere else in a command, RFC 9051 §4.3.1); its
bytes are in `Frame.literals`, in order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto

from server.base.limits import IMAP_LINE_BEFORE_LOGIN, IMAP_LITERALS

# RFC 9051 §9: literal = "{" number64 ["+"] "}" CRLF *CHAR8 ; literal8 = "~{" number64 ["+"] "}" CRLF *OCTET
_LITERAL = re.compile(rb"\{([0-9]{1,19})(\+?)\}\Z")
# What no line may hold. A bare CR or LF is refused, never read as an end of line by one side only.
_FORBIDDEN = re.compile(rb"[\x00\r]")
NUMBER64 = 2**63 - 1


class Admission(Enum):
    """What to do with an announced literal."""

    ACCEPT = auto()
    HAND_ON = auto()  # accept, and hand on while it comes: it is too large to wait here
    TOO_BIG = auto()
    NOT_NOW = auto()  # the worker's memory is taken
    SENSELESS = auto()  # the command could not succeed whatever the literal holds


@dataclass(frozen=True, slots=True)
class Passed:
    """Stands for a literal that was handed on: the `number`-th such of its command, from 0."""

    number: int
    size: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole command; `fault` says why it cannot be parsed."""

    text: bytes
    literals: tuple[bytes | Passed, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """The next octets of a literal that is handed on, the `number`-th such of its command."""

    number: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Prompt:
    """The client waits for "+" before it sends its literal."""


@dataclass(frozen=True, slots=True)
class LiteralRefused:
    """`fatal`: the octets come anyway and are too many to pass over: only closing keeps both sides in step."""

    text: bytes
    admission: Admission
    fatal: bool


@dataclass(frozen=True, slots=True)
class LineTooLong:
    """The line has no end within the longest allowed: nothing after it can be trusted to be a command."""

    text: bytes


Event = Frame | Piece | Prompt | LiteralRefused | LineTooLong
# Judges a literal from the command so far: (text, octets of literals already taken, octets announced, non-sync).
Admit = Callable[[bytes, int, int, bool], Admission]


class Reader:
    """The push reader of one connection."""

    def __init__(self, admit: Admit) -> None:
        self._admit = admit
        self._buffer = bytearray()
        self._searched = 0
        self._text = bytearray()
        self._literals: list[bytes | Passed] = []
        self._need: int | None = None  # octets of the literal being read, that are still to be taken
        self._passing: Passed | None = None  # it is handed on
        self._fault = ""
        self.longest_line = IMAP_LINE_BEFORE_LOGIN
        self.passes_over = 0  # octets of a refused literal that are worth waiting for
        self._refused: LiteralRefused | None = None  # to be told when the rest of its command has passed
        self._skip = 0

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def clear(self) -> None:
        """Forget everything received: what came before TLS is not part of what comes after (CVE-2011-0411)."""
        self._buffer.clear()
        self._searched = self._skip = 0
        self._refused = None
        self._restart()

    def take_rest(self) -> bytes:
        """What came behind the last command, taken away: it is not text yet."""
        rest = bytes(self._buffer)
        self.clear()
        return rest

    @property
    def buffered(self) -> int:
        return len(self._buffer)

    @property
    def missing(self) -> int:
        """Octets of an admitted literal that have not come, while nothing can be done without them."""
        return 0 if self._passing is not None else self.wanted

    @property
    def wanted(self) -> int:
        """Octets of an admitted literal that have not come."""
        return max((self._need or 0) - len(self._buffer), 0)

    @property
    def in_command(self) -> bool:
        return bool(self._text or self._literals)

    def next_line(self) -> bytes | LineTooLong | None:
        """A raw line without its end, for SASL answers and DONE; None for "need more"."""
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            return LineTooLong(bytes(self._text)) if len(self._buffer) > self.longest_line else None
        if end > self.longest_line:
            return LineTooLong(bytes(self._text))
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line[:-1] if line.endswith(b"\r") else line + b"\n"

    def next_frame(self) -> Event | None:
        if self._refused is not None:
            return self._pass_over(self._refused)
        while True:
            if self._passing is not None and self._need:
                return self._piece(self._passing.number, min(len(self._buffer), self._need))
            if self._need is not None:
                if len(self._buffer) < self._need:
                    return None
                self._literals.append(self._passing or bytes(self._buffer[: self._need]))
                del self._buffer[: self._need]
                self._need = self._passing = None
                self._text.append(0)
            line = self.next_line()
            if line is None or isinstance(line, LineTooLong):
                return line
            if line.endswith(b"\n"):
                line, self._fault = _FORBIDDEN.sub(b"?", line[:-1]), "A line must end with CR and LF"
            elif _FORBIDDEN.search(line):
                line, self._fault = _FORBIDDEN.sub(b"?", line), "NUL or bare CR in a command"
            if len(self._text) + len(line) > self.longest_line:
                return LineTooLong(bytes(self._text))
            announced = _LITERAL.search(line)
            if announced is None:
                self._text += line
                frame = Frame(bytes(self._text), tuple(self._literals), self._fault)
                self._restart()
                return frame
            self._text += line[: announced.start()]
            event = self._literal(int(announced[1]), bool(announced[2]))
            if event is not None:
                return event

    def _piece(self, number: int, octets: int) -> Piece | None:
        if not octets:
            return None
        piece = Piece(number, bytes(self._buffer[:octets]))
        del self._buffer[:octets]
        self._need = (self._need or 0) - octets
        return piece

    def _literal(self, size: int, nonsync: bool) -> Event | None:
        text = bytes(self._text)
        if size > NUMBER64 or len(self._literals) >= IMAP_LITERALS:
            admission = Admission.TOO_BIG
        elif self._fault:
            admission = Admission.SENSELESS
        else:
            taken = sum(len(literal) for literal in self._literals if isinstance(literal, bytes))
            admission = self._admit(text, taken, size, nonsync)
        if admission is Admission.HAND_ON:
            self._passing = Passed(sum(isinstance(literal, Passed) for literal in self._literals), size)
        elif admission is not Admission.ACCEPT:
            self._restart()
            refused = LiteralRefused(text, admission, nonsync and size > self.passes_over)
            if not nonsync or refused.fatal:
                return refused
            self._refused, self._skip = refused, size
            return self._pass_over(refused)
        self._need = size
        return None if nonsync else Prompt()

    def _pass_over(self, refused: LiteralRefused) -> Event | None:
        """Throw away a literal and what follows it to the end of its command, then tell of it."""
        while True:
            gone = min(self._skip, len(self._buffer))
            del self._buffer[:gone]
            self._skip -= gone
            line = None if self._skip else self.next_line()
            if line is None or isinstance(line, LineTooLong):
                return line
            announced = _LITERAL.search(line)
            if announced is None or not announced[2]:
                self._refused = None
                return refused
            self._skip = int(announced[1])
            if self._skip > self.passes_over:
                return replace(refused, fatal=True)

    def _restart(self) -> None:
        self._text.clear()
        self._literals = []
        self._need = self._passing = None
        self._fault = ""
