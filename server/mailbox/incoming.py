"""A message that the owner brings, on its way into the mailbox: `add` its bytes (RFC 5322) in order, then `finish`.

Up to 1 MiB it waits in memory. Past it what comes is scanned, encrypted and committed in pieces while it comes, so that
memory does not follow the size; nobody sees it before a transaction refers to it, and what none ever refers to is
collected. It is stored as it came: unlike a delivery nothing is written above it.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

import asyncpg

from crypto.edge import Salts
from crypto.smime.anchors import TrustAnchors
from server.base import clock
from server.base.errors import Reason, TryLater
from server.base.limits import LARGE_MESSAGE_SECONDS, MIME_HEADER_BYTES
from server.mailbox import marks
from server.mailbox.content import LARGE_BODY, LargeBody, Prepared, prepare
from server.mailbox.understand import Understanding, understand

_STEP = 64 * 1024  # octets scanned and encrypted at a time: between steps other sessions run


class Incoming:
    """One message. `size` counts the octets added."""

    def __init__(self, pool: asyncpg.Pool, owner_id: int, anchors: TrustAnchors | None, salts: Salts) -> None:
        self._pool = pool
        self._owner_id = owner_id
        self._anchors = anchors
        self._salts = salts
        self._waiting = bytearray()
        self._understanding = Understanding()
        self._header = b""  # of a large one
        self._large: LargeBody | None = None
        self._until = clock.monotonic() + LARGE_MESSAGE_SECONDS
        self.size = 0
        self.keywords: tuple[str, ...] = ()  # what the server says of it, once it is whole

    async def add(self, data: bytes | memoryview) -> None:
        """Raises TryLater; then no more is to be added."""
        self.size += len(data)
        for start in range(0, len(data), _STEP):
            step = bytes(data[start : start + _STEP])
            if self._large is not None:
                # Longer than its pieces wait to be collected no message may take.
                if clock.monotonic() > self._until:
                    raise TryLater(Reason.BUSY, "This message took too long to come.")
                self._understanding.feed(step)
                await self._large.add(step)
                continue
            self._waiting += step
            if len(self._waiting) > LARGE_BODY:
                await self._begin()

    async def _begin(self) -> None:
        data, self._waiting = bytes(self._waiting), bytearray()
        self._understanding.feed(data)
        # A header past the limit is cut there, as a scan cuts it.
        border = min(self._understanding.header_size or MIME_HEADER_BYTES, MIME_HEADER_BYTES)
        self._header = data[:border]
        self._large = LargeBody(self._pool, [self._owner_id], self._salts)
        await self._large.begin()
        await self._large.add(memoryview(data)[border:])

    async def finish(self, now: datetime) -> Prepared:
        """The message encrypted, ready to be referred to. Raises TryLater."""
        if self._large is None:
            data = bytes(self._waiting)
            summary = understand(data, self._anchors, now).summary()
            prepared = prepare(data, summary, self._salts)
        else:
            understood = await asyncio.to_thread(self._understanding.finish, self._anchors, now)
            summary = understood.summary()
            prepared = await self._large.finish(self._header, summary)
        self.keywords = marks.of_signature(summary.verdict)
        return prepared
