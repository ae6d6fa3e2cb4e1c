"""One pass over the bytes of a message: where each header, part and delimiter stands (RFC 2045, RFC 2046, RFC 5322).

Invariants:
1. Nothing raises on any input, and the bytes are never changed: what cannot be understood is kept and told (`Finding`).
2. Whole, in pieces or byte by byte, the same bytes give the same message: each decision rests on offsets alone, is
   taken in their order, and waits until the bytes that it needs are there.
3. Memory is bounded: from what was fed, the header being read (at most 256 KiB) and the length of a line are kept.
4. Time is linear: an octet is searched once for each multipart open around it, of which there are at most 32.

A delimiter is a whole line: "--", the boundary, "--" when it closes, white space (RFC 2046 §5.1.1, the grammar). A line
that only begins so is text to us and may be a delimiter to others, so it is told as DELIMITER_LIKE. Of two boundaries
that fit, the innermost wins.
"""

from __future__ import annotations

import re
from enum import Enum, auto

from server.base.limits import MIME_DEPTH, MIME_HEADER_BYTES, MIME_PARTS
from server.mail import entity
from server.mail.headers import Field
from server.mail.structure import Finding, Message, Part

__all__ = ["Finding", "Message", "Part", "Scanner", "scan"]

_NOWHERE = 1 << 62
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_LINE = 1_000  # a longer line is no delimiter, whatever white space it ends with (RFC 5322 §2.1.1: 998)
_KEPT = 4_096  # octets that may stay in the buffer unneeded, so that it is not cut for each octet fed
_CR = 13


def scan(data: bytes) -> Message:
    """The structure of a message that is all there; it is not copied."""
    scanner = Scanner(data)
    return scanner.finish()


class _State(Enum):
    HEADER = auto()  # of the innermost open part
    BODY = auto()  # up to the next delimiter


class _Delimiter:
    """The boundary of an open multipart, and how far it was looked for."""

    __slots__ = ("closed", "depth", "hit", "line", "needle", "part", "searched")

    def __init__(self, boundary: bytes, part: Part, depth: int, start: int) -> None:
        self.line = b"--" + boundary
        self.needle = b"\n--" + boundary
        self.part = part
        self.depth = depth  # place of its part among the open ones
        self.searched = start
        self.hit = -1
        self.closed = False


class Scanner:
    """A push parser: `feed` bytes as they come, `finish` gives the message."""

    def __init__(self, whole: bytes | None = None) -> None:
        """`whole`: a message that is all there, and will not be fed."""
        self._data: bytes | bytearray = bytearray() if whole is None else whole
        self._base = 0  # offset of the first octet still kept
        self._root = Part("", 0)
        self._open = [self._root]
        self._delimiters: list[_Delimiter] = []
        self._state = _State.HEADER
        self._sought = 0  # the empty line was looked for up to here
        self._block: bytes | None = None  # a header too large, cut
        self._parts = 1
        self._strays = 0
        self._findings: set[Finding] = {Finding.NUL} if whole is not None and b"\0" in whole else set()
        self._headers: list[Field] = []
        self._counting = 0  # open parts whose lines count
        self._counted = 0
        self._lines = 0

    def feed(self, data: bytes) -> None:
        """The next bytes of the message, as many as there are."""
        if b"\0" in data:
            self._findings.add(Finding.NUL)
        self._data += data
        self._run(final=False)
        self._forget()

    def finish(self) -> Message:
        """The end of the message. The scanner cannot be used again."""
        self._run(final=True)
        size = self._base + len(self._data)
        if any(not delimiter.closed for delimiter in self._delimiters):
            self._findings.add(Finding.UNTERMINATED)
        self._close(0, size)
        return Message(size, self._root, self._headers, tuple(sorted(self._findings)))

    def _forget(self) -> None:
        """Drop what no decision can need any more."""
        keep = self._base + len(self._data)
        if self._state is _State.HEADER:
            keep = min(keep, self._sought if self._block is not None else self._open[-1].header_start - 1)
        for delimiter in self._delimiters:
            keep = min(keep, delimiter.hit if delimiter.hit >= 0 else delimiter.searched)
        cut = keep - 1 - self._base  # the CR before a delimiter's LF
        if cut > _KEPT:
            cut -= self._data[cut - 1] == _CR  # a CR LF is never counted in two halves
            self._count_to(self._base + cut)
            self._pass(cut)
            self._data = self._data[cut:]
            self._base += cut

    def _pass(self, octets: int) -> None:
        """So many octets from the base are about to be dropped; each part that begins or ends in them is known."""

    # the two states

    def _run(self, *, final: bool) -> None:
        going = True
        while going:
            going = self._read_header(final) if self._state is _State.HEADER else self._next_delimiter(final)

    def _read_header(self, final: bool) -> bool:
        """Read the header of the innermost part; False: bytes are missing, or there are no more."""
        part = self._open[-1]
        data, base = self._data, self._base
        start, end = part.header_start, base + len(data)
        at = start - base
        if at >= 0 and (data[at : at + 1] == b"\n" or data[at : at + 2] == b"\r\n"):
            self._end_header(part, b"", start + (2 if data[at] == _CR else 1))
            return True
        if end - start < 2 and not final:
            return False
        match = _EMPTY_LINE.search(data, max(start, self._sought) - base)
        if match is not None:
            block_end, body_start = base + match.start() + 1, base + match.end()
        else:
            block_end = body_start = end
            self._sought = max(start, end - 2)
        hit = self._candidate()
        # A delimiter ends a header that has no empty line.
        if hit < block_end:
            return self._delimiter_at(hit, final)
        if match is not None:
            self._end_header(part, self._header_block(start, block_end), body_start)
            return True
        if final:
            self._findings.add(Finding.UNENDED_HEADER)
            self._end_header(part, self._header_block(start, end), end)
            return True
        if self._block is None and end - start > MIME_HEADER_BYTES:
            self._block = bytes(data[at : at + MIME_HEADER_BYTES])
        return False

    def _next_delimiter(self, final: bool) -> bool:
        hit = self._candidate()
        return hit != _NOWHERE and self._delimiter_at(hit, final)

    # delimiters

    def _candidate(self) -> int:
        """The next line that begins like a delimiter: offset of the LF before it, or _NOWHERE as far as bytes go."""
        data, base = self._data, self._base
        end = len(data)
        nearest = _NOWHERE
        for delimiter in self._delimiters:
            if delimiter.hit < 0:
                # Behind the delimiter of an outer part there is nothing for an inner one: each octet is searched once
                # per level, however many multiparts there are.
                length = len(delimiter.needle)
                stop = min(end, nearest - base + length - 1)
                found = data.find(delimiter.needle, delimiter.searched - base, stop)
                if found < 0:
                    delimiter.searched = max(delimiter.searched, base + stop - length + 1)
                else:
                    delimiter.hit = base + found
            if 0 <= delimiter.hit < nearest:
                nearest = delimiter.hit
        return nearest

    def _delimiter_at(self, hit: int, final: bool) -> bool:
        """Judge the line after the LF at `hit`; False: its end is not there yet."""
        data, start = self._data, hit + 1 - self._base
        line_end = data.find(b"\n", start, start + _LINE)
        if line_end < 0:
            if len(data) - start < _LINE:
                if not final:
                    return False
                line_end = len(data)
            else:
                line_end = start
        line = bytes(data[start:line_end]).rstrip(b" \t\r")
        after = min(line_end + 1, len(data)) + self._base
        for delimiter in self._delimiters:
            if delimiter.hit <= hit:
                delimiter.hit = -1
                delimiter.searched = max(delimiter.searched, hit + 1)
        was_closed = False
        for delimiter in reversed(self._delimiters):
            if line == delimiter.line or line == delimiter.line + b"--":
                if delimiter.closed:
                    was_closed = True
                    continue
                self._delimit(delimiter, hit, after, closing=line != delimiter.line)
                return True
        self._findings.add(Finding.AFTER_CLOSE if was_closed else Finding.DELIMITER_LIKE)
        self._strays += 1
        if self._strays > MIME_PARTS:
            self._give_up()
        return True

    def _delimit(self, delimiter: _Delimiter, hit: int, after: int, *, closing: bool) -> None:
        # RFC 2046 §5.1.1: the line ending before a delimiter belongs to it.
        at = hit - self._base
        end = hit - 1 if at > 0 and self._data[at - 1] == _CR else hit
        line_end = self._data[after - 2 - self._base : after - self._base]
        if end == hit or (line_end[1:] == b"\n" and line_end[:1] != b"\r"):
            self._findings.add(Finding.BARE_LF)
        if self._state is _State.HEADER:
            part = self._open[-1]
            end = max(end, part.header_start)
            self._findings.add(Finding.UNENDED_HEADER)
            self._describe(part, self._header_block(part.header_start, end))
            part.body_start = end
            if part.type in ("multipart", "message"):
                self._keep_whole(part, "application/octet-stream")
            elif part.type == "text":
                self._count_start(part)
        self._close(delimiter.depth + 1, end)
        while self._delimiters[-1] is not delimiter:
            if not self._delimiters.pop().closed:
                self._findings.add(Finding.UNTERMINATED)
        parent = delimiter.part
        if not parent.children:
            self._count_end(parent, end)
            parent.lines = 0
        if closing:
            delimiter.closed = True
            self._state = _State.BODY
            if parent.children:
                return
            # Closed before it was opened: an empty part, so that there is one (RFC 2046 §5.1.1).
            self._findings.add(Finding.NO_PARTS)
            place = max(parent.body_start, end)
            parent.children.append(Part(_child_path(parent), place, place, place))
            return
        child = Part(_child_path(parent), after)
        if parent.subtype == "digest":
            # RFC 2046 §5.1.5
            child.type, child.subtype = "message", "rfc822"
        parent.children.append(child)
        self._start(child)

    def _start(self, part: Part) -> None:
        """Open a part whose header comes next."""
        holder = self._open[-1]
        if holder.message is part:
            part.path = f"{holder.path or '1'}.1"
        self._open.append(part)
        self._parts += 1
        if self._parts > MIME_PARTS:
            part.body_start = part.header_start
            self._keep_whole(part, "application/octet-stream")
            self._give_up()
            return
        self._state = _State.HEADER
        self._sought = part.header_start
        self._block = None

    def _give_up(self) -> None:
        """Too much: the part that is open takes all the rest."""
        self._findings.add(Finding.TOO_MANY_PARTS)
        self._delimiters.clear()
        self._state = _State.BODY

    # parts

    def _header_block(self, start: int, end: int) -> bytes:
        if end - start > MIME_HEADER_BYTES:
            self._findings.add(Finding.HEADER_TOO_LARGE)
            end = start + MIME_HEADER_BYTES
        if self._block is not None:
            return self._block[: end - start]
        return bytes(self._data[start - self._base : end - self._base])

    def _end_header(self, part: Part, block: bytes, body_start: int) -> None:
        """The header of `part` is complete: what it holds is a leaf, parts, or a message."""
        self._state = _State.BODY
        part.body_start = body_start
        self._describe(part, block)
        if part.type == "multipart":
            self._enter_multipart(part)
        elif part.type == "message" and part.subtype in ("rfc822", "global"):
            self._enter_message(part)
        elif part.type == "text":
            self._count_start(part)

    def _enter_multipart(self, part: Part) -> None:
        if part.encoding not in entity.IDENTITY:
            # RFC 2045 §6.4: the encoding of a container is none; some readers would decode it all the same.
            self._findings.add(Finding.ENCODED_CONTAINER)
        if len(self._open) > MIME_DEPTH:
            self._findings.add(Finding.TOO_DEEP)
            self._keep_whole(part, "application/octet-stream")
            return
        self._count_start(part)  # until it is seen to have parts
        boundary = entity.boundary(part, self._findings)
        if boundary is None:
            self._keep_whole(part, "text/plain")
            return
        if len(self._open) > 1 and self._open[-2].message is part:
            part.path = part.path[: -len("1")] + "TEXT"
        for other in self._delimiters:
            if other.closed:
                continue
            if other.line == b"--" + boundary:
                self._findings.add(Finding.DUPLICATE_BOUNDARY)
            elif other.line.startswith(b"--" + boundary) or boundary.startswith(other.line[2:]):
                self._findings.add(Finding.PREFIX_BOUNDARY)
        self._delimiters.append(_Delimiter(boundary, part, len(self._open) - 1, part.body_start - 1))

    def _enter_message(self, part: Part) -> None:
        encoded = part.encoding not in entity.IDENTITY
        if encoded or len(self._open) > MIME_DEPTH:
            # RFC 2046 §5.2.1: never base64 or quoted-printable. Offsets into what is encoded mean nothing.
            self._findings.add(Finding.ENCODED_CONTAINER if encoded else Finding.TOO_DEEP)
            self._keep_whole(part, "application/octet-stream")
            return
        self._count_start(part)
        part.message = Part("", part.body_start)
        self._start(part.message)

    def _keep_whole(self, part: Part, shown_as: str) -> None:
        part.opaque = True
        part.type, _, part.subtype = shown_as.partition("/")
        if part.type == "text":
            part.params = ()

    def _close(self, depth: int, end: int) -> None:
        """Close the open parts from `depth` on, innermost first."""
        while len(self._open) > depth:
            part = self._open.pop()
            # Two delimiters may share a line ending; no part ends before what it holds.
            part.body_end = end = max(part.body_start, end)
            if part.type == "multipart" and not part.children:
                self._findings.add(Finding.NO_PARTS)
                self._keep_whole(part, "text/plain")
                if part.path.endswith("TEXT"):
                    part.path = part.path[: -len("TEXT")] + "1"
                self._count_end(part, part.body_end)
            elif part.message is not None or part.type == "text":
                self._count_end(part, part.body_end)

    def _describe(self, part: Part, block: bytes) -> None:
        read = entity.describe(part, block, self._findings)
        if part is self._root:
            self._headers = read.fields
            entity.check_single(read.fields, self._findings)
            if not read.fields:
                self._findings.add(Finding.NO_HEADER)

    # lines

    def _count_start(self, part: Part) -> None:
        self._count_to(part.body_start)
        self._counting += 1
        part.lines = -self._lines

    def _count_end(self, part: Part, end: int) -> None:
        self._count_to(end)
        self._counting -= 1
        part.lines += self._lines

    def _count_to(self, to: int) -> None:
        """Count the line ends up to the offset `to`, when a part that is open needs them, and look for bare ones."""
        if self._counting and to > self._counted:
            area = self._counted - self._base, to - self._base
            lf = self._data.count(b"\n", *area)
            cr, both = self._data.count(b"\r", *area), self._data.count(b"\r\n", *area)
            entity.check_endings(lf, cr, both, self._findings)
            self._lines += lf
        self._counted = max(self._counted, to)


def _child_path(parent: Part) -> str:
    holder = parent.path.removesuffix("TEXT").removesuffix(".")
    number = len(parent.children) + 1
    return f"{holder}.{number}" if holder else str(number)
