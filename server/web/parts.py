"""Which parts of a message are its text and which are attachments, as a person would say it."""

from __future__ import annotations

from server.mail.sections import PartRow
from server.mail.summary import Summary
from server.web.language import Words
from server.web.plain_text import clean_line

# What proves or carries, and is no document of anybody's.
_SIGNATURES = frozenset({"application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature"})
# RFC 2045 §6.8: a line of 76 characters and its end carries 57 octets.
_BASE64_LINE, _BASE64_OCTETS = 78, 57


def own_parts(summary: Summary) -> list[PartRow]:
    """The leaves of the message itself, in order; what stands inside an attached message belongs to that one."""
    inside = tuple(f"{part.path}." for part in summary.parts if part.content_type == "message/rfc822")
    return [part for part in summary.parts if part.type != "multipart" and not part.path.startswith(inside)]


def bodies(summary: Summary) -> list[PartRow]:
    """The parts that are meant to be read as the message's own text."""
    return [part for part in own_parts(summary) if _is_body(part)]


def attachments(summary: Summary) -> list[PartRow]:
    """All other parts but signatures."""
    return [part for part in own_parts(summary) if not _is_body(part) and part.content_type not in _SIGNATURES]


def name_of(part: PartRow, words: Words) -> str:
    """What the sender called it, fit for a page and for a file system."""
    return clean_line(part.filename or "") or words.say("Document sans nom")


def decoded_size(part: PartRow) -> int:
    """About how many octets the part has without its transfer encoding, from its size alone."""
    return part.size * _BASE64_OCTETS // _BASE64_LINE if part.encoding == "base64" else part.size


def _is_body(part: PartRow) -> bool:
    return part.content_type in ("text/plain", "text/html") and part.disposition != "attachment" and not part.filename
