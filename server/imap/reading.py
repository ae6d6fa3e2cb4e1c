"""What BODY and TEXT of SEARCH read: the words of a message, from every part that holds text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.base.limits import IMAP_FETCH_BYTES
from server.imap.matching import Words, fold
from server.mail import content, headers
from server.mail.summary import Summary
from server.mailbox.model import Row

if TYPE_CHECKING:
    from server.mailbox.store import Mailbox


async def open_words(mailbox: Mailbox, row: Row, summary: Summary) -> Words:
    """All text of a message, decoded: its header; its text parts, headers of parts and of messages inside it."""
    whole = await mailbox.body(row.content_id) if row.size <= IMAP_FETCH_BYTES else None

    async def octets(start: int, end: int) -> bytes:
        return whole[start:end] if whole is not None else await mailbox.body(row.content_id, start, end)

    body: list[str] = []
    for part in summary.parts:
        if part.header_start:
            body.append(header_words(await octets(part.header_start, part.body_start)))
        if part.text_start >= 0:
            body.append(header_words(await octets(part.body_start, part.text_start)))
        if part.type == "text":
            encoded = await octets(part.body_start, part.body_end)
            words = content.text(content.octets(encoded, part.encoding), part.charset)
            # The words as a reader sees them, and the markup as it stands: RFC 9051 §6.4.4 means the body itself.
            body.append(words if part.subtype != "html" else f"{content.plain(words)}\n{words}")
    return Words(fold(header_words(summary.header)), fold("\n".join(body)))


def header_words(block: bytes) -> str:
    return "\n".join(
        f"{field.name}: {headers.decode(headers.raw(block, field))}" for field in headers.read(block).fields
    )
