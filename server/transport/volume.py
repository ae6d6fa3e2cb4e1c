"""How much each mailbox receives and to how many strangers each sender writes, counted beside the way of the message.

Invariants:
- Nothing waits for a count: a worker keeps them in memory and tells the database every few seconds. What a crash loses
  is some seconds of statistics.
- Addresses leave the memory as pseudonyms, and who wrote to whom as one keyed hash of both: the tables show volumes
  and no graph of people. They are made when the database is told, once for all messages of these seconds.
"""

from __future__ import annotations

import hmac
from collections import Counter

import asyncpg
import structlog

from crypto.edge import EdgeKeys
from server.base import clock
from server.base.later import Later
from server.base.limits import VOLUME_NAMES
from server.base.log import Pseudonyms
from server.mail.addresses import normalise
from server.mailbox.model import Route
from server.mailbox.trouble import meaning
from server.transport import queries
from server.transport.envelope import Envelope
from server.transport.unknown import hour_of

RECEIVED = "received"
STRANGERS = "strangers"
TELL_SECONDS = 5.0  # a misrouting of thousands shows after this
_PAIR_BYTES = 16

log = structlog.get_logger()


class Volume:
    """The counts of one worker."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys) -> None:
        self._pool = pool
        self._edge = edge
        self._pseudonyms = Pseudonyms(edge.pseudonym)
        self._received: Counter[tuple[str, int]] = Counter()  # by address and owner
        self._pairs: dict[tuple[str, str], int | None] = {}  # sender and recipient → owner where the sender is ours
        self._telling = Later(self.tell, TELL_SECONDS)

    def accepted(self, envelope: Envelope) -> None:
        """Count a message that was taken."""
        if len(self._received) + len(self._pairs) >= VOLUME_NAMES:
            log.warning("volume_not_counted")
            return
        sender = normalise(envelope.reverse_path)
        for recipient in envelope.recipients:
            address = normalise(recipient.address)
            if isinstance(recipient.route, Route):
                self._received[address, recipient.route.owner_id] += 1
            if sender:
                self._pairs[sender, address] = envelope.source.principal
        self._telling.soon()

    async def close(self) -> None:
        """Tell what is left."""
        await self._telling.close()

    async def tell(self) -> None:
        """Tell the database now. When it is away this is tried again with the next message."""
        received, pairs = self._received, self._pairs
        if not received and not pairs:
            return
        self._received, self._pairs = Counter(), {}
        now = clock.now()
        hashes = [self._pair(sender, recipient) for sender, recipient in pairs]
        try:
            await self._pool.execute(
                queries.ADD_TALLIES,
                hour_of(now),
                [RECEIVED] * len(received),
                [self._pseudonyms.of(address) for address, _ in received],
                [owner_id for _, owner_id in received],
                list(received.values()),
                hashes,
                [self._pseudonyms.of(sender) for sender, _ in pairs],
                list(pairs.values()),
            )
            await self._pool.execute(queries.SEEN_AGAIN, hashes, now.date())
        except Exception as error:
            if meaning(error) is None:
                raise
            log.warning("volume_kept", error=error)
            self._received.update(received)
            self._pairs = pairs | self._pairs

    def _pair(self, sender: str, recipient: str) -> bytes:
        both = f"pair 1\0{sender}\0{recipient}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._edge.fingerprint, both, "sha256")[:_PAIR_BYTES]
