"""The words of a message as a search reads them: its header, and the text of every part that holds text, decoded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from server.base.limits import IMAP_FETCH_BYTES, KIB, MIME_HEADER_BYTES
from server.mail import content, headers
from server.mail.folding import fold
from server.mail.sections import PartRow
from server.mail.summary import Summary

_QUICK = 256 * KIB  # octets decoded and folded in some 5 ms; more goes to a thread, so that other sessions run


class Bodies(Protocol):
    """What reads the octets of a message: `server.mailbox.store.Mailbox`."""

    async def body(self, content_id: bytes, start: int = 0, end: int | None = None) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Words:
    """The readable text of a message, folded."""

    header: str
    body: str


async def whole_header(bodies: Bodies, content_id: bytes, summary: Summary) -> bytes:
    """The top header; a summary holds the beginning of a long one alone."""
    if summary.header_complete:
        return summary.header
    return await bodies.body(content_id, 0, min(summary.header_size, MIME_HEADER_BYTES))


async def open_words(bodies: Bodies, content_id: bytes, summary: Summary, whole: bytes | None = None) -> Words:
    """All text of a message: its header; its text parts, headers of parts and of messages inside it.

    `whole` is the message where it is open already. Raises Refused(CONTENT_DAMAGED), Refused(NO_SUCH_MESSAGE).
    """
    if whole is None and summary.size <= IMAP_FETCH_BYTES:
        whole = await bodies.body(content_id)

    async def octets(start: int, end: int) -> bytes:
        return whole[start:end] if whole is not None else await bodies.body(content_id, start, end)

    blocks = [await whole_header(bodies, content_id, summary)]
    texts: list[tuple[PartRow, bytes]] = []
    for part in summary.parts:
        if part.header_start:
            blocks.append(await octets(part.header_start, part.body_start))
        if part.text_start >= 0:
            blocks.append(await octets(part.body_start, part.text_start))
        if part.type == "text":
            texts.append((part, await octets(part.body_start, part.body_end)))
    if sum(map(len, blocks)) + sum(len(encoded) for _, encoded in texts) > _QUICK:
        return await asyncio.to_thread(read_words, blocks, texts)
    return read_words(blocks, texts)


def read_words(blocks: list[bytes], texts: list[tuple[PartRow, bytes]]) -> Words:
    """The words of header blocks, the top one first, and of text parts as they are encoded."""
    body = [_header_words(block) for block in blocks[1:]]
    for part, encoded in texts:
        words = content.text(content.octets(encoded, part.encoding), part.charset)
        # The words as a reader sees them, and the markup as it stands: RFC 9051 §6.4.4 means the body itself.
        body.append(words if part.subtype != "html" else f"{content.plain(words)}\n{words}")
    return Words(fold(_header_words(blocks[0])), fold("\n".join(body)))


def _header_words(block: bytes) -> str:
    return "\n".join(
        f"{field.name}: {headers.decode(headers.raw(block, field))}" for field in headers.read(block).fields
    )
