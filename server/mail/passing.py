"""A message that is never there whole: its structure, and the octets of it that are asked for after it has passed.

    feed* finish → Message, as `scan` gives it of the whole; `kept` answers slices, `digests` what is signed

Kept are: the top header, headers of messages inside, the beginning of each text, signatures, and the head of what may
be an opaque signature. Memory: what a Scanner keeps, and `KEPT` octets.
"""

from __future__ import annotations

from typing import NamedTuple

from crypto.smime.digested import Digested
from server.base.limits import MIB, MIME_HEADER_BYTES, PREVIEW_OCTETS
from server.mail import signed
from server.mail.scan import Scanner
from server.mail.structure import Finding, Message, Octets, Part

# Past it a header is unreadable, a text has no preview, a signature is not judged. Clinical mail keeps some 20 KiB.
KEPT = 4 * MIB
_NOWHERE = 1 << 62


class Kept:
    """Pieces of a message. A slice gives what is there of the piece that begins where it does."""

    def __init__(self) -> None:
        self._pieces: dict[int, bytearray] = {}
        self._octets = 0

    def __getitem__(self, place: slice, /) -> bytes:
        start = place.start or 0
        return bytes(self._pieces.get(start, b"")[: place.stop - start])

    def add(self, start: int, data: memoryview) -> bool:
        """Keep more of the piece that begins at `start`; False, and nothing kept, when it does not fit."""
        if self._octets + len(data) > KEPT:
            return False
        self._pieces.setdefault(start, bytearray()).extend(data)
        self._octets += len(data)
        return True


class Shifted:
    """The octets of a message under another top header, `delta` octets longer. A slice lies in one of the two."""

    def __init__(self, data: Octets, delta: int, header: bytes) -> None:
        self._data, self._delta, self._header = data, delta, header

    def __getitem__(self, place: slice, /) -> bytes:
        start = place.start or 0
        if start < len(self._header):
            return self._header[place]
        return self._data[start - self._delta : place.stop - self._delta]


class _Want(NamedTuple):
    """Octets to be kept: at most `most` of the header of a part, or of its body."""

    part: Part
    header: bool
    most: int

    @property
    def area(self) -> tuple[int, int]:
        """Where they begin and end, as far as that is known."""
        part = self.part
        start, end = (part.header_start, part.body_start) if self.header else (part.body_start, part.body_end)
        return start, min(end or _NOWHERE, start + self.most)


class PassingScanner(Scanner):
    """A Scanner that looks at the octets once more when nothing about them can change."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept()
        self.digests: dict[int, Digested] = {}  # of what a multipart/signed covers, by where it begins
        self._digested: Part | None = None  # the part whose digest is being made
        self._wants = [_Want(self._root, True, KEPT)]

    @property
    def header_size(self) -> int:
        """Octets of the top header with its empty line, 0 while its end has not come."""
        return self._root.body_start

    def finish(self) -> Message:
        message = super().finish()
        self._pass(len(self._data))
        message.findings = tuple(sorted(self._findings))
        return message

    def _start(self, part: Part) -> None:
        super()._start(part)
        holder = self._open[-2]
        if holder.message is part:
            self._wants.append(_Want(part, True, MIME_HEADER_BYTES))
        # RFC 1847 §2.1: the first part is what is signed. One at a time: the outermost is the one that is judged.
        elif holder.subtype == "signed" and holder.children[0] is part and self._digested is None:
            self._digested = part
            self.digests[part.header_start] = Digested()

    def _describe(self, part: Part, block: bytes) -> None:
        super()._describe(part, block)
        # A multipart that turns out to have no parts is a text.
        if part.type in ("text", "multipart"):
            self._wants.append(_Want(part, False, PREVIEW_OCTETS))
        elif most := signed.needed(part):
            self._wants.append(_Want(part, False, most))

    def _pass(self, octets: int) -> None:
        base, end = self._base, self._base + octets
        with memoryview(self._data) as view:
            if self._digested is not None:
                start, stop = self._digested.header_start, self._digested.body_end or _NOWHERE
                self.digests[start].update(view[max(start, base) - base : max(0, min(stop, end) - base)])
                if stop <= end:
                    self._digested = None
            waiting = []
            for want in self._wants:
                start, stop = want.area
                here = view[max(start, base) - base : max(0, min(stop, end) - base)]
                if here and not self.kept.add(start, here):
                    if want.header:
                        self._findings.add(Finding.HEADER_TOO_LARGE)
                elif stop > end:
                    waiting.append(want)
            self._wants = waiting
