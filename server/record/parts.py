"""Which parts of a message are documents, and their octets."""

from __future__ import annotations

from typing import Final

from server.base.errors import Reason, Refused
from server.base.limits import DOCUMENT_BYTES
from server.mail.content import octets
from server.mail.sections import PartRow
from server.mailbox.store import Mailbox

PDF: Final = "application/pdf"
_PDF_MARK: Final = b"%PDF-"
_PDF_MARK_WITHIN: Final = 1024  # ISO 32000-1, Annex H, note 13: readers accept the header within the first 1,024 bytes
_BASE64_GROWTH: Final = 3  # an encoded body is never longer than three times its octets (quoted-printable)


def looks_like_pdf(part: PartRow) -> bool:
    """Whether a part says it is a PDF, by type or by name (practice software often says octet-stream)."""
    if part.content_type == PDF:
        return True
    return part.content_type == "application/octet-stream" and (part.filename or "").lower().endswith(".pdf")


def is_pdf(data: bytes) -> bool:
    """Whether the bytes are a PDF, whatever their label says."""
    return data.find(_PDF_MARK, 0, _PDF_MARK_WITHIN) >= 0


async def part_bytes(mailbox: Mailbox, content_id: bytes, part: PartRow) -> bytes:
    """A part as its sender saw it, transfer encoding undone. Raises Refused(TOO_LARGE) and as `Mailbox.body`."""
    if part.size > _BASE64_GROWTH * DOCUMENT_BYTES:
        raise Refused(Reason.TOO_LARGE, "The attachment is too large to be opened here.")
    return octets(await mailbox.body(content_id, part.body_start, part.body_end), part.encoding)
