"""Bytes of one SMTP connection in; command lines, message contents and chunks out. No socket, no clock, no asyncio.

Three outcomes, always: a value, None (more bytes are needed), or a CaduceeError. After an error the offending line or
content has been consumed, so that what follows is read as what it is: an error never moves the border between commands
and content. That border is CR LF "." CR LF and nothing else, and only CR LF ends a line: each looser reading of it was
an attack on a peer (SMTP smuggling: CVE-2023-51764, -51765, -51766, CVE-2024-27305).

Memory: `buffered` is the truth; a command line holds at most `line_limit` octets. A content is given whole where it
is small and in parts where it is not, so that at most `WHOLE` octets of it and what came at once wait here; what is
past its limit is dropped as it comes.
"""

from __future__ import annotations

from server.base.errors import CaduceeError, ProtocolViolation, Reason, Refused
from server.base.limits import KIB, MIB

WHOLE = MIB  # octets up to which a content is given in one part
PART = 256 * KIB  # and in parts of so many, once it is larger
_CRLF = b"\r\n"
_END = b"\r\n.\r\n"


class Reader:
    """`feed` bytes, then ask for a `line`, or after `start_content` for the `content`."""

    def __init__(self, line_limit: int) -> None:
        self._line_limit = line_limit
        self._buffer = bytearray()
        self._searched = 0  # no end of line or content begins before this offset
        self._overlong = False  # inside a command line past its limit
        self._content_limit: int | None = None  # set while the bytes are content
        self._whole = WHOLE
        self._given = 0  # octets of the present content that were given or dropped
        self._lead = 0  # octets at the head of the buffer that were given before: the CR LF before a line, or none
        self._fault: CaduceeError | None = None  # why the content being read will not be taken
        self._bare = False  # a bare CR or LF was in it
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        self._buffer += data

    @property
    def buffered(self) -> int:
        """Octets held now."""
        return len(self._buffer)

    @property
    def dropped(self) -> int:
        """Octets of the present content that were thrown away after it was doomed."""
        return self._dropped

    def clear(self) -> None:
        """Forget every byte (RFC 3207 §4.2: nothing said before TLS counts after it)."""
        self._buffer.clear()
        self._searched = 0
        self._overlong = False
        self._content_limit = None
        self._fault = None
        self._bare = False

    def line(self, starting: bytes = b"") -> bytes | None:
        """The next command line without its CR LF; with `starting` (upper case) only a line that begins so.

        Raises ProtocolViolation for a line with a bare CR, a bare LF or a NUL, or longer than the limit.
        """
        buffer = self._buffer
        if starting and (self._overlong or bytes(buffer[: len(starting)]).upper() != starting):
            return None
        end = buffer.find(b"\n", self._searched)
        if end < 0:
            if len(buffer) > self._line_limit:
                self._overlong = True
                del buffer[:-1]  # the last octet may be the CR of the line's end
            self._searched = len(buffer)
            return None
        line = bytes(buffer[: end + 1])
        del buffer[: end + 1]
        self._searched = 0
        # RFC 5321 §2.3.8: CR and LF stand together as the end of a line and nowhere else.
        overlong, self._overlong = self._overlong or end > self._line_limit, False
        if not line.endswith(_CRLF):
            raise ProtocolViolation(Reason.BARE_LINE_ENDING, "bare LF; lines end with CR LF")
        if overlong:
            raise ProtocolViolation(Reason.MALFORMED, "command line too long")
        line = line[:-2]
        if b"\r" in line:
            raise ProtocolViolation(Reason.BARE_LINE_ENDING, "bare CR in a command")
        if b"\0" in line:
            raise ProtocolViolation(Reason.MALFORMED, "NUL in a command")
        return line

    def take(self, most: int) -> bytes:
        """Up to `most` octets of what has come, whatever they are: a chunk of BDAT (RFC 3030 §2) is only counted."""
        taken = bytes(self._buffer[:most])
        del self._buffer[:most]
        self._searched = 0
        return taken

    @property
    def in_content(self) -> bool:
        """Whether what comes next is content: its end is still to be given, or raised."""
        return self._content_limit is not None

    def start_content(self, limit: int, whole: int = WHOLE) -> None:
        """What comes now is the content of a message, of at most `limit` octets, given in one part up to `whole`."""
        # The content begins at the start of a line: the CR LF of the DATA command makes every rule below uniform.
        self._buffer[:0] = _CRLF
        self._lead = len(_CRLF)
        self._searched = 0
        self._content_limit = limit
        self._whole = whole
        self._fault = None
        self._bare = False
        self._dropped = self._given = 0

    def doom(self, fault: CaduceeError) -> None:
        """Do not keep the content being read: its end raises `fault`."""
        if self._fault is None:
            self._fault = fault

    def content(self) -> bytes | None:
        """The content with dots unstuffed, when its end is there; of a larger one the part that is there. It was the
        last part when we are no longer `in_content`.

        Raises, always after the end was consumed: Refused TOO_LARGE, ProtocolViolation BARE_LINE_ENDING, or what
        `doom` was given.
        """
        if self._content_limit is None:
            raise RuntimeError("content() outside of a content")
        buffer = self._buffer
        end = buffer.find(_END, self._searched)
        here = end + len(_CRLF) if end >= 0 else len(buffer) - len(_END)
        if self._given + here - self._lead > self._content_limit:
            self.doom(Refused(Reason.TOO_LARGE, "message larger than this server takes"))
        if end < 0:
            return self._part()
        lines = b"" if self._doomed else self._lines(here)
        del buffer[: end + len(_END)]
        fault, self._fault = self._fault, None
        self._content_limit, self._searched = None, 0
        if fault is not None:
            raise fault
        if self._bare:
            raise ProtocolViolation(Reason.BARE_LINE_ENDING, "bare CR or LF in the message; lines end with CR LF")
        return lines

    @property
    def _doomed(self) -> bool:
        return self._bare or self._fault is not None

    def _part(self) -> bytes | None:
        """Of a content whose end is not there: what can be given now, or dropped."""
        buffer = self._buffer
        kept = len(_END) - 1  # the end may have begun
        self._searched = max(0, len(buffer) - kept)
        if not self._doomed and len(buffer) <= self._whole:
            return None
        lines = None
        cut, lead = self._searched, 0
        if not self._doomed:
            line = buffer.rfind(_CRLF, self._lead)
            if line >= 0:
                # What is left begins with the CR LF before a line, as in the beginning.
                cut, lead = line, len(_CRLF)
            lines = self._lines(cut + lead)
        if self._doomed:
            cut, lead = self._searched, 0
            self._dropped += cut
            lines = None
        self._whole = min(self._whole, PART)
        self._given += cut + lead - self._lead
        self._lead = lead
        del buffer[:cut]
        self._searched = max(0, len(buffer) - kept)
        return lines

    def _lines(self, end: int) -> bytes:
        """What stands before `end` in the buffer and was not given, unstuffed; bare line endings doom the content."""
        with memoryview(self._buffer) as view:
            lines = bytes(view[:end])
        pairs = lines.count(_CRLF)
        # RFC 5321 §4.1.1.4: a lone CR or LF is never content; three counts cost less than one regular expression.
        if lines.count(b"\n") != pairs or lines.count(b"\r") != pairs:
            self._bare = True
        # RFC 5321 §4.5.2: the first dot of a line is taken away.
        if b"\r\n." in lines:
            lines = lines.replace(b"\r\n.", _CRLF)
        return lines[self._lead :]
