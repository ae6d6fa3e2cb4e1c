"""Where a section of a message stands: FETCH BODY[section] (RFC 3501 §6.4.5, RFC 9051 §6.4.5.1).

    section-spec = section-msgtext / (section-part ["." section-text])
    section-msgtext = "HEADER" / "TEXT"            section-text = section-msgtext / "MIME"

HEADER.FIELDS is cut out of HEADER by `header_fields`. A section is found from the parts table of a summary alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from server.mail import headers
from server.mail.structure import Message, Part

_TEXTS = ("HEADER", "TEXT", "MIME")


class PartRow(NamedTuple):
    """A numbered part in a summary: offsets into the message, and what is needed to show it.

    `text_start` is where the text of the message inside a message/rfc822 begins (its header begins at `body_start`),
    -1 for every other type. Texts are decoded; `lines` as in BODYSTRUCTURE.
    """

    path: str
    header_start: int
    body_start: int
    body_end: int
    type: str
    subtype: str
    encoding: str
    charset: str
    filename: str | None
    disposition: str
    content_id: str | None
    text_start: int

    @property
    def content_type(self) -> str:
        return f"{self.type}/{self.subtype}"

    @property
    def size(self) -> int:
        """Octets of the body, in its transfer encoding."""
        return self.body_end - self.body_start


def rows(message: Message) -> list[PartRow]:
    """The numbered parts in document order; a multipart that is the root of a message has no number."""
    return [
        row(part, part.path or "1")
        for part in message.parts()
        if not (part.multipart and (not part.path or part.path.endswith("TEXT")))
    ]


def row(part: Part, path: str) -> PartRow:
    return PartRow(
        path,
        part.header_start,
        part.body_start,
        part.body_end,
        part.type,
        part.subtype,
        part.encoding,
        part.charset,
        part.filename,
        part.disposition,
        part.content_id,
        -1 if part.message is None else part.message.body_start,
    )


def locate(parts: Iterable[PartRow], header_end: int, size: int, spec: str) -> tuple[int, int] | None:
    """Offsets [start, end) of section `spec` ("", "1.2", "1.2.MIME", "HEADER", "1.TEXT"); None: there is none such.

    `header_end` is where the body of the whole message begins, `size` its end.
    """
    if not spec:
        return 0, size
    path, _, text = spec.upper().rpartition(".")
    if text not in _TEXTS:
        path, text = spec, ""
    if not path:
        return {"HEADER": (0, header_end), "TEXT": (header_end, size)}.get(text)
    part = next((row for row in parts if row.path == path), None)
    if part is None:
        return None
    if not text:
        return part.body_start, part.body_end
    if text == "MIME":
        return part.header_start, part.body_start
    # RFC 9051 §6.4.5.1: HEADER and TEXT of a part are those of the message inside a message/rfc822, and of no other.
    if part.text_start < 0:
        return None
    return (part.body_start, part.text_start) if text == "HEADER" else (part.text_start, part.body_end)


def header_fields(header: bytes, names: Iterable[bytes], *, exclude: bool = False) -> bytes:
    """HEADER.FIELDS (or .NOT) of a header: the fields with these names in order, as they stand, and the empty line."""
    wanted = {name.decode("latin-1").lower() for name in names}
    kept = b"".join(
        header[field.start : field.end] for field in headers.read(header).fields if (field.name in wanted) != exclude
    )
    # RFC 9051 §6.4.5.1: "subsetting does not exclude the [CRLF] delimiting blank line".
    return (kept if not kept or kept.endswith(b"\n") else kept + b"\r\n") + b"\r\n"
