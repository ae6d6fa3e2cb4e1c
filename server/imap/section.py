"""Sections as FETCH names them: which octets BODY[1.2.HEADER]<0.100> asks for, how they are read, and how labelled.

`Content` reads them a piece at a time, each opened when the last has left, so that memory does not follow the size.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.base.errors import Reason, Refused
from server.base.limits import IMAP_FETCH_BYTES
from server.imap.grammar import write
from server.imap.grammar.fetch import Attribute, Section
from server.imap.responses import Declined
from server.mail import sections
from server.mail.content import DECODERS
from server.mail.entity import IDENTITY
from server.mail.sections import PartRow
from server.mail.summary import Summary, section
from server.mailbox.model import Row

if TYPE_CHECKING:
    from server.mailbox.reading import Reading
    from server.mailbox.store import Mailbox

Partial = tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Extent:
    """Octets [start, end) of the message; with `fields`, only those fields of the header that stands there."""

    start: int
    end: int
    fields: tuple[bytes, ...] = ()
    exclude: bool = False

    def part(self, partial: Partial) -> Extent:
        """RFC 9051 §6.4.5: a partial that starts past the end is empty, one that reaches past it is cut."""
        if partial is None:
            return self
        start = min(self.start + partial[0], self.end)
        return Extent(start, min(start + partial[1], self.end))

    def chosen(self, header: bytes) -> bytes:
        return sections.header_fields(header, self.fields, exclude=self.exclude)


@dataclass(frozen=True, slots=True)
class Octets:
    """A section that was found: how many octets it has, and they, once."""

    size: int
    pieces: AsyncIterator[bytes]


class Content:
    """One message. `summary` may be None when only the whole of it is asked for; `reading` is told of in the trail."""

    def __init__(self, mailbox: Mailbox, row: Row, summary: Summary | None, reading: Reading | None = None) -> None:
        self._mailbox = mailbox
        self._row = row
        self._summary = summary
        self._reading = reading

    async def section(self, asked: Section, partial: Partial = None) -> Octets | None:
        """The octets as they stand; None when the message has no such section. Raises Refused(CONTENT_DAMAGED)."""
        extent = Extent(0, self._row.size) if self._summary is None else locate(asked, self._summary)
        if extent is None:
            return None
        if extent.fields:
            header = extent.chosen(await self._octets(extent.start, extent.end))
            chosen = Extent(0, len(header)).part(partial)
            return Octets(chosen.end - chosen.start, _once(header[chosen.start : chosen.end]))
        extent = extent.part(partial)
        return Octets(extent.end - extent.start, self._pieces(extent))

    async def decoded(self, asked: Section, partial: Partial = None) -> Octets | None:
        """The octets of a part without its transfer encoding (RFC 3516 §4.3).

        Raises Declined(UNKNOWN-CTE), Refused(CONTENT_DAMAGED).
        """
        part = self._summary.part(asked.part) if self._summary is not None else None
        # RFC 2045 §6.4: what holds other parts is never encoded itself.
        if part is None or part.type == "multipart" or part.text_start >= 0 or part.encoding in IDENTITY:
            return await self.section(asked, partial)
        if part.encoding not in DECODERS:
            raise Declined(b"UNKNOWN-CTE", "The part has a transfer encoding that is not known here")
        # How much it is, is known at its end only: a first pass counts.
        size = 0
        async for piece in self._decoding(part):
            size += len(piece)
        wanted = Extent(0, size).part(partial)
        return Octets(wanted.end - wanted.start, _cut(self._decoding(part), wanted))

    async def _decoding(self, part: PartRow) -> AsyncIterator[bytes]:
        decoder = DECODERS[part.encoding]()
        async for piece in self._pieces(Extent(part.body_start, part.body_end)):
            yield decoder.update(piece)
        yield decoder.finish()

    async def _pieces(self, extent: Extent) -> AsyncIterator[bytes]:
        at = extent.start
        while at < extent.end:
            piece = await self._octets(at, min(extent.end, at + IMAP_FETCH_BYTES))
            yield piece
            at += len(piece)

    async def _octets(self, start: int, end: int) -> bytes:
        """Exactly [start, end) of the message; the header is in the summary, which is open already."""
        summary = self._summary
        if summary is not None and end <= len(summary.header):
            return summary.header[start:end]
        octets = await self._mailbox.body(self._row.content_id, start, end, self._reading)
        if len(octets) != end - start:
            raise Refused(Reason.CONTENT_DAMAGED, "The message is shorter than its summary says")
        return octets


def locate(asked: Section, summary: Summary) -> Extent | None:
    """Where a section stands, None when the message has no such part."""
    text, exclude = asked.text, asked.text == "HEADER.FIELDS.NOT"
    if asked.fields:
        text = "HEADER"
    place = section(summary, ".".join(name for name in (asked.part, text) if name))
    return None if place is None else Extent(*place, asked.fields, exclude)


def label(attribute: Attribute) -> bytes:
    """How the answer names what was asked; the origin of a partial is told, its length is not."""
    asked = attribute.section
    if asked is None or attribute.name.startswith("RFC822"):
        return attribute.name.encode()
    text = ".".join(name for name in (asked.part, asked.text) if name).encode()
    if asked.fields:
        text += b" (%s)" % b" ".join(write.astring(name) for name in asked.fields)
    origin = b"<%d>" % attribute.partial[0] if attribute.partial is not None else b""
    return b"%s[%s]%s" % (attribute.name.encode(), text, origin)


async def _once(octets: bytes) -> AsyncIterator[bytes]:
    yield octets


async def _cut(pieces: AsyncIterator[bytes], wanted: Extent) -> AsyncIterator[bytes]:
    at = 0
    async for piece in pieces:
        yield piece[max(wanted.start - at, 0) : max(wanted.end - at, 0)]
        at += len(piece)
        if at >= wanted.end:
            return
