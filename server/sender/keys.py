"""The queue's key of the day, as the role `sender` makes, opens and destroys it.

Invariants:
- The private half is wrapped under a secret (`keys/queue.json`) that no other role is given.
- Pairs are made a day ahead, so that midnight stops nobody; a pair goes when its day is over and its last message has
  left. What lies in an old copy of the database then opens only for who has the secret as well.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import date, timedelta

import asyncpg

from crypto.edge import EdgeKeys
from crypto.errors import CryptoError
from crypto.queue_secret import QueueSecret
from crypto.sealing import MailboxKey, open_sealed, unwrap, wrap
from server.sender import queries
from server.transport.queued import key_proof, queue_info

OPENED = 16  # days whose pair is kept in memory


class DayKeys:
    """The pairs of one process."""

    def __init__(self, secret: QueueSecret, edge: EdgeKeys) -> None:
        self._secret = secret.key
        self._edge = edge
        self._opened: OrderedDict[int, MailboxKey] = OrderedDict()

    async def make(self, connection: asyncpg.Connection, today: date) -> None:
        """See that today and tomorrow have a key; destroy those that served their time."""
        known = {row["day"] for row in await connection.fetch(queries.KEY_DAYS, today)}
        for day in (today, today + timedelta(days=1)):
            if day not in known:
                pair = MailboxKey.generate()
                wrapped = wrap(self._secret, pair.seeds(), _context(day))
                proof = key_proof(self._edge, day, pair.public())
                await connection.execute(queries.ADD_KEY, day, pair.public(), wrapped, proof)
        # An edge may hold yesterday's for some moments after midnight.
        await connection.execute(queries.DROP_KEYS, today - timedelta(days=1))

    async def message_key(self, connection: asyncpg.Connection, key_id: int, queue_id: bytes, sealed: bytes) -> bytes:
        """The key of one message. Raises CryptoError."""
        pair = self._opened.get(key_id)
        if pair is None:
            row = await connection.fetchrow(queries.PRIVATE_KEY, key_id)
            if row is None:
                raise CryptoError("this message's key of the day is gone")
            pair = MailboxKey.from_seeds(unwrap(self._secret, bytes(row["wrapped_private_key"]), _context(row["day"])))
            self._opened[key_id] = pair
            if len(self._opened) > OPENED:
                self._opened.popitem(last=False)
        return open_sealed(pair, sealed, queue_info(key_id, queue_id))


def _context(day: date) -> bytes:
    return b"caducee queue key 1\0" + day.isoformat().encode()
