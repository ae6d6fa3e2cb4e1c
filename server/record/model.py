"""What the record holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Detail:
    """What is known of a document, stored encrypted: its bytes are the part `part` of the message that brought it.

    `size` counts octets of the decoded document; `sender` and `sender_address` are those of the message; `verdict` is
    `crypto.smime`'s on that message when it was filed (its `to_json` form).
    """

    title: str
    media_type: str
    size: int
    part: str
    sender: str
    sender_address: str
    received_at: datetime
    verdict: dict[str, Any]

    def to_bytes(self) -> bytes:
        return json.dumps(
            [
                _FORMAT,
                self.title,
                self.media_type,
                self.size,
                self.part,
                self.sender,
                self.sender_address,
                self.received_at.isoformat(),
                self.verdict,
            ],
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Detail:
        """Raises ValueError when a newer program wrote it."""
        form, title, media_type, size, part, sender, address, received, verdict = json.loads(data)
        if form != _FORMAT:
            raise ValueError(f"document detail of format {form}")
        return cls(title, media_type, size, part, sender, address, datetime.fromisoformat(received), verdict)


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a record. `document_id` is 32 hexadecimal digits, random: it may stand in a URL."""

    document_id: str
    content_id: bytes
    filed_at: datetime
    detail: Detail
