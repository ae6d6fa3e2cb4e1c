"""Sections as FETCH names them: which octets BODY[1.2.HEADER]<0.100> asks for, and how the answer is labelled."""

from __future__ import annotations

from dataclasses import dataclass

from server.imap.grammar import write
from server.imap.grammar.fetch import Attribute, Section
from server.mail import sections
from server.mail.summary import Summary, section


@dataclass(frozen=True, slots=True)
class Extent:
    """Octets [start, end) of the message; with `fields`, only those fields of the header that stands there."""

    start: int
    end: int
    fields: tuple[bytes, ...] = ()
    exclude: bool = False

    def part(self, partial: tuple[int, int] | None) -> Extent:
        """RFC 9051 §6.4.5: a partial that starts past the end is empty, one that reaches past it is cut."""
        if partial is None:
            return self
        start = min(self.start + partial[0], self.end)
        return Extent(start, min(start + partial[1], self.end))

    def chosen(self, header: bytes) -> bytes:
        return sections.header_fields(header, self.fields, exclude=self.exclude)


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
    if asked is None or attribute.name != "BODY":
        return attribute.name.encode()
    text = ".".join(name for name in (asked.part, asked.text) if name).encode()
    if asked.fields:
        text += b" (%s)" % b" ".join(write.astring(name) for name in asked.fields)
    origin = b"<%d>" % attribute.partial[0] if attribute.partial is not None else b""
    return b"BODY[%s]%s" % (text, origin)
