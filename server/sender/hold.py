"""Large messages that stay here until the recipient's operator fetches them: encrypted anew, and forgotten in time.

A message is encrypted while it is read from the queue, a piece a statement; its key leaves with the pointer and is kept
nowhere. What the peer did not take is removed at once; what a process that died left behind within an hour; the rest
when its time is over.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

import asyncpg

from crypto.blind_index import token
from crypto.blob import CHUNK, sealed_size
from crypto.edge import EdgeKeys
from server.base import clock
from server.base.settings import Settings
from server.mail.addresses import normalise
from server.mailbox.content import Pieces
from server.mailbox.trouble import connection
from server.sender import queries
from server.sender.link import Link
from server.sender.work import Content, Message, Work
from server.transport.pointer import EXTENSION, Pointer

UNSENT: Final = timedelta(hours=1)  # longer than any attempt lasts
COLLECTED: Final = 10  # in one piece: some hundred MB


@dataclass(slots=True)
class Held:
    """One message that is held; `data` leads to it. `taken`: the peer has it, or may have it."""

    held_id: bytes
    data: bytes = field(default=b"", repr=False)
    taken: bool = False


class Holds:
    """What one worker holds for other operators."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys, settings: Settings) -> None:
        self._pool = pool
        self._edge = edge
        self._domain = settings.domain
        self._smallest = settings.transport.pointer_bytes
        self._kept = timedelta(days=settings.transport.pointer_days)

    def suit(self, message: Message, link: Link) -> bool:
        """Whether this message leaves as a pointer over this connection."""
        whole = message.header.endswith(b"\r\n\r\n")
        return bool(self._smallest) and message.size > self._smallest and whole and EXTENSION in link.extensions

    @asynccontextmanager
    async def hold(self, message: Message, content: Content, work: Work) -> AsyncIterator[Held]:
        """Hold it, and say in the end whether the peer took what leads to it. Raises TryLater; CryptoError: it does not
        open."""
        pointer = Pointer.new(self._domain, message.size, clock.now() + self._kept)
        held = Held(pointer.held_id)
        try:
            held.data = await self._encrypt(pointer, message, content, work)
            yield held
        finally:
            async with connection(self._pool) as acquired:
                await acquired.execute(queries.HELD_TAKEN if held.taken else queries.DROP_HELD, held.held_id)

    async def _encrypt(self, pointer: Pointer, message: Message, content: Content, work: Work) -> bytes:
        """Commit all of it; the message that leads there."""
        addresses = [message.envelope.recipients[due.number].address for due in work.due]
        tokens = [token(self._edge.address, normalise(address)) for address in addresses]
        size = sealed_size(pointer.padded)
        async with connection(self._pool) as acquired:
            await acquired.execute(queries.HOLD_MESSAGE, pointer.held_id, work.domain, tokens, size, pointer.ends_at)
        digest = hashlib.sha256()
        pieces = Pieces(self._pool, pointer.writer(), queries.HOLD_PIECE, pointer.held_id)
        async for part in content.pieces():
            digest.update(part)
            await pieces.add(part)
        zeros = bytes(CHUNK)
        while pieces.size < pointer.padded:
            await pieces.add(zeros[: pointer.padded - pieces.size])
        await pieces.finish()
        return replace(pointer, digest=digest.digest()).to_message(message.header)

    async def collect(self) -> bool:
        """Remove some of what has ended or was never sent; whether there may be more."""
        async with connection(self._pool) as acquired:
            done = await acquired.execute(queries.COLLECT_HELD, clock.now(), clock.now() - UNSENT, COLLECTED)
        return done.rpartition(" ")[2] == str(COLLECTED)
