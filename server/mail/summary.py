"""What readers need of a message without its body, computed once when it is accepted and stored encrypted beside it.

IMAP answers ENVELOPE, BODY, BODYSTRUCTURE, header sections and PREVIEW from it and finds each part by its offsets;
pages list messages from it. The stored form is one JSON array, so that reading it costs microseconds.
"""

from __future__ import annotations

import email.utils
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from server.base.limits import MIME_HEADER_BYTES, PREVIEW_CHARACTERS, PREVIEW_OCTETS, SUMMARY_HEADER_BYTES
from server.mail import addresses, content, envelope, headers, sections
from server.mail.addresses import Entry, Mailbox
from server.mail.bodystructure import body_and_bodystructure
from server.mail.scan import Message, Part
from server.mail.sections import PartRow
from server.mail.structure import UNREADABLE, Octets

_VERSION = 1
_REFERENCES = 100  # RFC 5322 §3.6.4 sets no limit; threads are shorter
_SIGNATURES = frozenset({"pkcs7-signature", "x-pkcs7-signature", "pgp-signature"})


@dataclass(slots=True)
class Summary:
    """A message without its body. Offsets are octets of the message as stored; texts are decoded.

    `header` is the top header with its empty line, cut at 64 KiB (then it is shorter than `header_size`, and is read
    from the body). `envelope`, `body` and `bodystructure` are rendered for IMAP. `findings` are names of `Finding`;
    `verdict` is the plain form of the S/MIME verdict.
    """

    size: int
    header_size: int
    header: bytes
    envelope: bytes
    body: bytes
    bodystructure: bytes
    parts: list[PartRow]
    subject: str = ""
    from_: list[Mailbox] = field(default_factory=list)
    reply_to: list[Mailbox] = field(default_factory=list)
    to: list[Mailbox] = field(default_factory=list)
    cc: list[Mailbox] = field(default_factory=list)
    date: datetime | None = None
    message_id: str = ""
    in_reply_to: str = ""
    references: list[str] = field(default_factory=list)
    preview: str = ""
    has_attachments: bool = False
    findings: list[str] = field(default_factory=list)
    verdict: dict[str, Any] = field(default_factory=dict)

    @property
    def header_complete(self) -> bool:
        return len(self.header) == self.header_size

    @property
    def readable(self) -> bool:
        """False: some of the message could not be understood; show it as such, whole."""
        return UNREADABLE.isdisjoint(self.findings)

    def part(self, path: str) -> PartRow | None:
        """The part with this number ("1", "2.1"), None where there is none."""
        return next((row for row in self.parts if row.path == path), None)

    def to_bytes(self) -> bytes:
        """The stored form."""
        fields = [
            _VERSION,
            self.size,
            self.header_size,
            self.header.decode("latin-1"),
            self.envelope.decode("latin-1"),
            self.body.decode("latin-1"),
            self.bodystructure.decode("latin-1"),
            self.parts,
            self.subject,
            self.from_,
            self.reply_to,
            self.to,
            self.cc,
            None if self.date is None else self.date.isoformat(),
            self.message_id,
            self.in_reply_to,
            self.references,
            self.preview,
            self.has_attachments,
            self.findings,
            self.verdict,
        ]
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

    @classmethod
    def from_bytes(cls, stored: bytes) -> Summary:
        """Read the stored form. Raises ValueError: of another version, or not a summary."""
        version, *fields = json.loads(stored)
        if version != _VERSION:
            raise ValueError(f"summary of version {version!r}")
        size, header_size, header, envelope_, body_, bodystructure_, parts, subject, *rest = fields
        from_, reply_to, to, cc, date, *rest = rest
        return cls(
            size,
            header_size,
            header.encode("latin-1"),
            envelope_.encode("latin-1"),
            body_.encode("latin-1"),
            bodystructure_.encode("latin-1"),
            [PartRow(*row) for row in parts],
            subject,
            [Mailbox(*one) for one in from_],
            [Mailbox(*one) for one in reply_to],
            [Mailbox(*one) for one in to],
            [Mailbox(*one) for one in cc],
            None if date is None else datetime.fromisoformat(date),
            *rest,
        )


def summarise(message: Message, data: Octets, verdict: dict[str, Any] | None = None) -> Summary:
    """The summary of a scanned message. `data`: its bytes, the same that were scanned (or shifted)."""
    header_size = message.root.body_start
    block = data[: min(header_size, MIME_HEADER_BYTES)]
    values = envelope.values(block, message.headers)
    lists: dict[str, list[Entry]] = {
        name: addresses.entries(values[name]) for name in ("from", "reply-to", "to", "cc") if name in values
    }
    people = {name: addresses.mailboxes(found) for name, found in lists.items()}
    body, bodystructure = body_and_bodystructure(message, data)
    return Summary(
        message.size,
        header_size,
        block[:SUMMARY_HEADER_BYTES],
        envelope.render(values, lists),
        body,
        bodystructure,
        sections.rows(message),
        headers.decode(values.get("subject", "")),
        people.get("from", []),
        people.get("reply-to", []),
        people.get("to", []),
        people.get("cc", []),
        sent_at(values.get("date", "")),
        _message_ids(values.get("message-id", ""))[0],
        _message_ids(values.get("in-reply-to", ""))[0],
        [one for one in _message_ids(headers.first(block, "references", message.headers) or "") if one],
        _preview(message, data),
        any(_is_attachment(part) for part in message.parts()),
        [finding.value for finding in message.findings],
        dict(verdict or {}),
    )


def section(message: Message | Summary, spec: str) -> tuple[int, int] | None:
    """Offsets [start, end) of an IMAP section ("", "1.2", "HEADER", "1.TEXT", "2.MIME"); None: there is none such."""
    if isinstance(message, Summary):
        return sections.locate(message.parts, message.header_size, message.size, spec)
    return sections.locate(sections.rows(message), message.root.body_start, message.size, spec)


def sent_at(value: str) -> datetime | None:
    """The moment that a Date field names (RFC 5322 §3.3), aware; None where it cannot be read."""
    try:
        moment = email.utils.parsedate_to_datetime(value[:_DATE])
        # RFC 5322 §3.3: "-0000" says nothing of the zone; the moment is UTC.
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


_DATE = 100  # characters; a date with its comment has 50


def _message_ids(value: str) -> list[str]:
    """The identifiers of a field with their brackets, at most 100; [""] where there is none."""
    found = [f"<{piece.partition('>')[0].strip()}>" for piece in value.split("<", _REFERENCES)[1:] if ">" in piece]
    return [headers.utf8(one) for one in found if len(one) > len("<>") and one.isprintable()] or [""]


def _preview(message: Message, data: Octets) -> str:
    """The beginning of the first text that is no attachment, plain before HTML; messages inside are left out."""
    texts: list[Part] = []
    waiting = [message.root]
    while waiting:
        part = waiting.pop()
        waiting += reversed(part.children)
        if part.type == "text" and part.disposition != "attachment":
            texts.append(part)
    chosen = next((part for part in texts if part.subtype == "plain"), texts[0] if texts else None)
    if chosen is None:
        return ""
    encoded = data[chosen.body_start : min(chosen.body_end, chosen.body_start + PREVIEW_OCTETS)]
    octets = content.octets(encoded, chosen.encoding)
    return content.preview(octets, chosen.charset, chosen.subtype, PREVIEW_CHARACTERS)


def _is_attachment(part: Part) -> bool:
    """A leaf that a person would call an attachment: not the text, not the signature, not a container."""
    if part.children or part.type == "multipart" or part.subtype in _SIGNATURES:
        return False
    return part.disposition == "attachment" or part.type != "text" or part.filename is not None
