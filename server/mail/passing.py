"""A message that is never there whole: its structure, and the octets of it that are asked for after it has passed.

    feed* finish → Message, as `scan` gives it of the whole; `kept` answers slices, `passed` what was signed

Kept are: the top header, headers of messages inside, the beginning of each text, and signatures; what is signed is
digested, within an opaque signature too. Memory: what a Scanner keeps, `KEPT` octets, and an OpaqueReader.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from crypto.smime.digested import Digested
from crypto.smime.opaque import OpaqueReader
from server.base.limits import MIB, MIME_HEADER_BYTES, PREVIEW_OCTETS
from server.mail import content, signed
from server.mail.entity import IDENTITY
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


class _Opening:
    """An opaque signature that passes, in its transfer encoding."""

    def __init__(self, encoding: str) -> None:
        self._decoder = content.Base64() if encoding == "base64" else None
        self._reader = OpaqueReader()

    def take(self, _: int, octets: memoryview) -> bool:
        self._reader.update(octets if self._decoder is None else self._decoder.update(bytes(octets)))
        return True

    def finish(self) -> tuple[bytes, Digested | None] | None:
        """None: there was too much of it."""
        if self._decoder is not None:
            self._reader.update(self._decoder.finish())
        return None if self._reader.too_large else self._reader.finish()


class _Area(Enum):
    """Octets of a part."""

    HEADER = auto()
    BODY = auto()
    WHOLE = auto()


class _Want(NamedTuple):
    """Who takes octets of a part, at most `most`: a function of where they begin and of the next of them, which says
    whether to go on."""

    part: Part
    area: _Area
    most: int
    take: Callable[[int, memoryview], bool]

    @property
    def place(self) -> tuple[int, int]:
        """Where they begin and end, as far as that is known."""
        part = self.part
        start = part.body_start if self.area is _Area.BODY else part.header_start
        end = part.body_start if self.area is _Area.HEADER else part.body_end
        return start, min(end or _NOWHERE, start + self.most)


class PassingScanner(Scanner):
    """A Scanner that looks at the octets once more when nothing about them can change."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept()
        self._digests: dict[int, Digested] = {}
        self._digested: Part | None = None  # the part whose digest was begun last
        self._opening: tuple[Part, _Opening] | None = None
        self._wants = [_Want(self._root, _Area.HEADER, KEPT, self.kept.add)]

    @property
    def header_size(self) -> int:
        """Octets of the top header with its empty line, 0 while its end has not come."""
        return self._root.body_start

    def finish(self) -> Message:
        message = super().finish()
        self._pass(len(self._data))
        message.findings = tuple(sorted(self._findings))
        return message

    def passed(self) -> signed.Passed:
        """What was signed; after `finish`."""
        opaque = {}
        if self._opening is not None:
            part, opening = self._opening
            if (found := opening.finish()) is not None:
                opaque[part.body_start] = found
        return signed.Passed(self._digests, opaque)

    def _start(self, part: Part) -> None:
        super()._start(part)
        holder = self._open[-2]
        if holder.message is part:
            self._wants.append(_Want(part, _Area.HEADER, MIME_HEADER_BYTES, self._keep_header))
        # RFC 1847 §2.1: the first part is what is signed.
        elif holder.subtype == "signed" and holder.children[0] is part and not (self._is_inside or self._is_digesting):
            self._digested = part
            digested = self._digests[part.header_start] = Digested()
            self._wants.append(_Want(part, _Area.WHOLE, _NOWHERE, digested.take))

    @property
    def _is_inside(self) -> bool:
        """Whether we are in a message inside: its texts are no preview, its signatures are its own."""
        return any(part.message is not None for part in self._open)

    @property
    def _is_digesting(self) -> bool:
        """One at a time: the outermost is the one that is judged."""
        return self._digested is not None and not self._digested.body_end

    def _describe(self, part: Part, block: bytes) -> None:
        super()._describe(part, block)
        if self._is_inside:
            return
        # A multipart that turns out to have no parts is a text.
        if part.type in ("text", "multipart"):
            self._wants.append(_Want(part, _Area.BODY, PREVIEW_OCTETS, self.kept.add))
        elif most := signed.needed(part):
            self._wants.append(_Want(part, _Area.BODY, most, self.kept.add))
            openable = signed.may_be_opaque(part) and part.encoding in (*IDENTITY, "base64")
            if openable and self._opening is None:
                self._opening = part, _Opening(part.encoding)
                self._wants.append(_Want(part, _Area.BODY, _NOWHERE, self._opening[1].take))

    def _keep_header(self, start: int, octets: memoryview) -> bool:
        kept = self.kept.add(start, octets)
        if not kept:
            self._findings.add(Finding.HEADER_TOO_LARGE)
        return kept

    def _pass(self, octets: int) -> None:
        base, end = self._base, self._base + octets
        waiting = []
        with memoryview(self._data) as view:
            for want in self._wants:
                start, stop = want.place
                here = view[max(start, base) - base : max(0, min(stop, end) - base)]
                if (not here or want.take(start, here)) and stop > end:
                    waiting.append(want)
        self._wants = waiting
