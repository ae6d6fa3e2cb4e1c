"""The top header as policy reads it, once: who says they wrote it, whom it answers, what it asks of a conversation.

One rule on authors: what cannot be read whole is refused, since a reader who reads further would see another author
(39C3 2025: valid signatures under forged senders). The one pass over the whole message comes in accept.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.base.errors import Reason, Refused
from server.base.limits import MIME_ADDRESSES, MIME_HEADER_BYTES
from server.mail import addresses, headers
from server.mail.parameters import content_type

# RFC 5322 §3.6.2, §3.6.6: whoever sends again speaks as much as whoever wrote.
_AUTHORS = frozenset({"from", "sender", "resent-from", "resent-sender"})
# RFC 8551 §3.2, §3.5: the whole body is signed, or may be.
_SIGNED = frozenset({"multipart/signed", "application/pkcs7-mime", "application/x-pkcs7-mime"})
_REPORT = "multipart/report"  # RFC 6522: notifications and receipts
_FIN = "FIN"  # référentiel MSSanté #2 §3.4.2.3 (ECO.2.2.8): three capitals
_FIN_SUBJECT = "[FIN]"  # ENS v1.3 §7: the whole subject, case-sensitive


@dataclass(frozen=True, slots=True)
class Heading:
    """What a message says of itself. Addresses stand as written; Message-IDs with their brackets.

    `authors` are all addresses of From, Sender, Resent-From and Resent-Sender; `writer` is the first of From and
    `reply_to` the first of Reply-To ("" for none); `answers` is the message that this one answers ("" for none).
    `is_signed`: the content type is one of a signature, which may be good or not.
    """

    authors: tuple[str, ...]
    writer: str
    reply_to: str
    message_id: str
    answers: str
    is_report: bool
    is_signed: bool
    ends_conversation: bool
    takes_no_answer: bool


def read(data: bytes) -> Heading:
    """The heading of a message (RFC 5322 bytes, CRLF).

    Raises Refused(MALFORMED): no end of the header within its limit, too many fields, or a field of authors that is no
    list of addresses.
    """
    block = _block(data)
    found = headers.read(block)
    if found.more:
        raise Refused(Reason.MALFORMED, "The header has too many fields.")
    authors: list[str] = []
    first: dict[str, str] = {}
    for field in found.fields:
        if field.name in _AUTHORS:
            named = _addresses(headers.raw(block, field))
            authors += named
            if field.name == "from" and named:
                first.setdefault("from", named[0])
        elif field.name in _READ and field.name not in first:
            first[field.name] = headers.raw(block, field)
    content_type_ = content_type(first.get("content-type", "")).value
    reply_to = addresses.parse(first.get("reply-to", ""))
    answered = _identifiers(first.get("in-reply-to", "")) or _identifiers(first.get("references", ""))[-1:]
    return Heading(
        authors=tuple(authors),
        writer=first.get("from", ""),
        reply_to=reply_to[0].address if reply_to else "",
        message_id=next(iter(_identifiers(first.get("message-id", ""))), ""),
        answers=answered[0] if answered else "",
        is_report=content_type_ == _REPORT,
        is_signed=content_type_ in _SIGNED,
        ends_conversation=headers.decode(first.get("subject", "")) == _FIN_SUBJECT,
        takes_no_answer=first.get("x-mss-mes", "") == _FIN,
    )


def takes_no_answer(header: bytes) -> bool:
    """Whether the sender of the message with this header wants no answer to it (ECO.2.2.8)."""
    return headers.first(header, "x-mss-mes") == _FIN


_READ = frozenset({"reply-to", "message-id", "in-reply-to", "references", "content-type", "subject", "x-mss-mes"})


def _block(data: bytes) -> bytes:
    if data.startswith(b"\r\n"):
        return b""
    empty_line = data.find(b"\r\n\r\n", 0, MIME_HEADER_BYTES)
    if empty_line >= 0:
        return data[: empty_line + 2]
    if len(data) <= MIME_HEADER_BYTES:
        return data  # RFC 5322 §3.5: the body may be missing, and the empty line with it
    raise Refused(Reason.MALFORMED, "The header is too large.")


def _addresses(value: str) -> list[str]:
    entries = addresses.entries(value)
    # A group's ends have no local part (domain None); an empty domain is a word that is no address.
    if len(entries) >= MIME_ADDRESSES or any(entry.domain == "" for entry in entries):
        raise Refused(Reason.MALFORMED, "From or Sender is not a list of addresses.")
    return [mailbox.address for mailbox in addresses.mailboxes(entries)]


def _identifiers(value: str) -> list[str]:
    """The Message-IDs of a field, without the white space that folding puts into some."""
    pieces = value.split("<")[1:]
    return [f"<{headers.utf8(''.join(piece.partition('>')[0].split()))}>" for piece in pieces if ">" in piece]
