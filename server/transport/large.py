"""A message past 1 MiB on its way in: understood, encrypted and committed in pieces while its bytes come.

Memory does not follow its size: what is needed of it later is kept while it passes (server.mail.passing), and of each
of its two ciphertexts, for mailboxes here and for the queue, at most a piece. Nothing of it is visible before the
transaction that accepts it; what a client that went away leaves behind is collected.
"""

from __future__ import annotations

import hashlib

import asyncpg

from crypto.smime.verdict import Verdict
from server.base import clock
from server.base.errors import Reason, Refused, TryLater
from server.base.limits import LARGE_MESSAGE_SECONDS, SUMMARY_HEADER_BYTES
from server.mail.passing import Shifted
from server.mail.summary import summarise
from server.mailbox.content import LargeBody
from server.mailbox.model import Route
from server.mailbox.understand import Understanding
from server.transport.commit import Copy, Item
from server.transport.envelope import Envelope, Recipient
from server.transport.queued import LargeOutbound
from server.transport.sealer import Sealer


class LargeMessage:
    """`begin`, `add` its bytes (RFC 5322, CRLF) in order, the whole top header with the first of them, and `finish`.

    `sender` is whom to tell of delivery.
    """

    def __init__(self, pool: asyncpg.Pool, sealer: Sealer, envelope: Envelope, sender: Recipient | None) -> None:
        self.envelope = envelope
        self.sender = sender
        self.top = b""  # its beginning: at least what a notification returns
        self._sealer = sealer
        self._understanding = Understanding()
        self._digest = hashlib.sha256()
        self._header_size = 0
        self._size = 0
        self._is_whole = True  # all that was added has been taken
        self._until = clock.monotonic() + LARGE_MESSAGE_SECONDS
        owners = {one.route.owner_id: None for one in envelope.local if isinstance(one.route, Route)}
        self._body = LargeBody(pool, list(owners), sealer.edge.salts) if owners else None
        self._outbound = LargeOutbound(pool, envelope, sealer.queue_key, sealer.edge) if envelope.remote else None

    async def begin(self) -> None:
        """Raises TryLater."""
        if self._body is not None:
            await self._body.begin()
        if self._outbound is not None:
            await self._outbound.add(self._sealer.received(self.envelope))

    async def add(self, data: bytes) -> None:
        """Raises TryLater; Refused(MALFORMED) when the header is not whole in the first of them."""
        self._check()
        self._is_whole = False
        self._understanding.feed(data)
        self._digest.update(data)
        body = memoryview(data)
        if not self._size:
            self.top = data[:SUMMARY_HEADER_BYTES]
            self._header_size = self._understanding.header_size
            if not self._header_size:
                raise Refused(Reason.MALFORMED, "The header is too large.")
            body = body[self._header_size :]
        self._size += len(data)
        if self._body is not None:
            await self._body.add(body)
        if self._outbound is not None:
            await self._outbound.add(data)
        self._is_whole = True

    def _check(self) -> None:
        if not self._is_whole:
            raise RuntimeError("some of this message was not taken: it must not be finished")
        # Longer than its pieces wait to be collected no message may take.
        if clock.monotonic() > self._until:
            raise TryLater(Reason.BUSY, "This message took too long to come.")

    def fingerprints(self) -> list[bytes]:
        """Of all that was added."""
        return self._sealer.fingerprints(self.envelope, self._digest.digest())

    async def finish(self, fingerprints: list[bytes]) -> tuple[Item, Verdict]:
        """What `Sealer.item` makes of a small message. Raises TryLater, Refused(SIGNATURE_REQUIRED)."""
        self._check()
        envelope, sealer = self.envelope, self._sealer
        understood = self._understanding.finish(sealer.anchors, envelope.received_at, envelope.registration)
        verdict = sealer.checked(envelope, understood)
        prepared, copies, outbound, keywords = None, tuple[Copy, ...](), None, tuple[str, ...]()
        if self._body is not None:
            header, message = sealer.marked(envelope, understood)
            kept = Shifted(understood.data, len(header) - self._header_size, header)
            summary = summarise(message, kept, verdict.to_json())
            prepared = await self._body.finish(header, summary)
            keywords = sealer.keywords(envelope, summary)
            copies = sealer.copies(envelope, prepared, fingerprints, understood)
        if self._outbound is not None:
            event = sealer.queued_event(envelope, self._size, understood)
            outbound = await self._outbound.finish(fingerprints[-1], event)
        return Item(prepared, envelope.received_at, copies, outbound, envelope.not_before, keywords), verdict
