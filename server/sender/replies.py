"""Replies of another operator's server (RFC 5321 §4.2), sans-IO: bytes in, whole replies out.

Nothing that the peer says is trusted further than its three digits: the text is kept for a person to read, filtered.
Memory: a line holds at most LINE octets, a reply at most LINES lines, so much may wait to be read, and more is a
violation that ends the connection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from server.base.errors import ProtocolViolation, Reason

LINE = 1_000  # RFC 5321 §4.5.3.1.5 says 512; servers with long texts go past it
LINES = 100  # EHLO of the largest servers has some 25
TEXT = 300  # characters kept of a reply
READ = 4 * TEXT  # characters of it that are looked at: the patterns below take time with the square of the length

_LINE = re.compile(rb"([2-5][0-9]{2})([ -]?)(.*)", re.DOTALL)
_STATUS = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |\Z)")
# What may name a person: an address, and numbers as long as an RPPS or an INS.
_ADDRESS = re.compile(r"[^\s<>()]+@[^\s<>()]+")
_NUMBER = re.compile(r"[0-9][0-9AB ._-]{8,}[0-9]")  # 2A and 2B stand in the INS of who was born in Corsica
_UNSEEN = re.compile(r"[^\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: its code, and its lines without code."""

    code: int
    lines: tuple[str, ...]

    @property
    def positive(self) -> bool:
        """Done as asked. 354 is not: it asks for more, and only DATA is answered so."""
        return 200 <= self.code < 300

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    @property
    def status(self) -> str:
        """The enhanced status (RFC 3463) the peer gave when its class fits the code, else the code's own class."""
        found = _STATUS.match(self.lines[0])
        kind = str(self.code // 100) if self.code // 100 in (2, 5) else "4"
        return found[1] if found is not None and found[1][0] == kind else f"{kind}.0.0"

    @property
    def text(self) -> str:
        """What the peer said, fit to be kept and shown: printable ASCII, short, without address or long number."""
        said = f"{self.code} {' '.join(self.lines)}"[:READ]
        for pattern, instead in ((_UNSEEN, " "), (_ADDRESS, "<…>"), (_NUMBER, "…")):
            said = pattern.sub(instead, said)
        return said[:TEXT].replace("…", "...")


class Replies:
    """`feed` bytes, then ask for the `next` reply."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lines: list[str] = []
        self._code = b""

    def feed(self, data: bytes) -> None:
        """Raises ProtocolViolation MALFORMED: more lies here than any reply has."""
        self._buffer += data
        if len(self._buffer) > LINE * LINES:
            raise ProtocolViolation(Reason.MALFORMED, "The peer talks on and on.")

    @property
    def empty(self) -> bool:
        """Whether nothing is left of what came (RFC 3207 §6: nothing said in clear may outlive STARTTLS)."""
        return not self._buffer and not self._lines

    def next(self) -> Reply | None:
        """The next whole reply, None when more bytes are needed. Raises ProtocolViolation MALFORMED."""
        while True:
            end = self._buffer.find(b"\n", 0, LINE)
            if end < 0:
                if len(self._buffer) >= LINE:
                    raise ProtocolViolation(Reason.MALFORMED, "The peer's reply is too long.")
                return None
            line = bytes(self._buffer[:end]).rstrip(b"\r")
            del self._buffer[: end + 1]
            found = _LINE.fullmatch(line)
            if found is None or (self._code and found[1] != self._code) or len(self._lines) >= LINES:
                raise ProtocolViolation(Reason.MALFORMED, "The peer's reply is none.")
            self._code = found[1]
            self._lines.append(found[3].decode("ascii", "replace"))
            if found[2] != b"-":
                reply = Reply(int(self._code), tuple(self._lines))
                self._code, self._lines = b"", []
                return reply
