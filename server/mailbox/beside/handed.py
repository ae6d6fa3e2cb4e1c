"""What a URL hands over to submission (BURL, RFC 4468): a copy of it, encrypted under a key that only the URL holds.

The reader that makes the URL can open the message, and submission cannot. So the reader leaves a copy, and who brings
the URL brings its key: submission opens exactly what it is asked to send, and holds no key of a mailbox.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from crypto.blob import BlobReader, BlobWriter
from crypto.edge import Salts
from crypto.errors import CryptoError
from server.base import clock
from server.base.errors import Reason, Refused
from server.base.limits import HANDED_PER_OWNER
from server.mailbox.beside import queries
from server.mailbox.content import Pieces
from server.mailbox.trouble import connection

_LABEL = b"handed"
_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the copy of a URL stands, and how it opens."""

    name: bytes
    key: bytes

    @classmethod
    def of(cls, url: bytes) -> _Place:
        # The token in the URL is 256 bits that only the folder's key makes.
        return cls(
            hashlib.sha256(b"caducee handed name 1\0" + url).digest(),
            hmac.digest(hashlib.sha256(url).digest(), b"caducee handed key 1", "sha256"),
        )

    @property
    def content_id(self) -> bytes:
        return self.name[:_ID_BYTES]


async def hand_over(
    pool: asyncpg.Pool,
    salts: Salts,
    place: tuple[int, int],
    url: bytes,
    size: int,
    pieces: AsyncIterator[bytes],
    until: datetime,
) -> None:
    """Leave a copy of these octets for who brings the URL. `place`: owner and folder. Raises TryLater."""
    owner_id, folder_id = place
    copy = _Place.of(url)
    async with connection(pool) as acquired, acquired.transaction():
        await acquired.execute(queries.DROP_HANDED, owner_id, copy.name, HANDED_PER_OWNER - 1)
        await acquired.execute(queries.HAND, copy.name, owner_id, folder_id, size, until)
    writer = Pieces(pool, BlobWriter(copy.key, copy.content_id, salts, _LABEL), queries.HAND_PIECE, copy.name)
    async for piece in pieces:
        await writer.add(piece)
    await writer.finish()


class Handed:
    """What submission may open."""

    def __init__(self, pool: asyncpg.Pool, salts: Salts) -> None:
        self._pool = pool
        self._salts = salts

    async def size(self, url: bytes) -> int:
        """Raises Refused(NO_SUCH_MESSAGE): nothing was handed over by this URL, or not for so long; TryLater."""
        async with connection(self._pool) as acquired:
            size = await acquired.fetchval(queries.HANDED, _Place.of(url).name, clock.now())
        if size is None:
            raise Refused(Reason.NO_SUCH_MESSAGE, "This URL hands over nothing.")
        return int(size)

    async def octets(self, url: bytes, size: int) -> AsyncIterator[bytes]:
        """The octets, a piece at a time. Raises Refused(CONTENT_DAMAGED), TryLater."""
        copy, number = _Place.of(url), 0
        reader = BlobReader(copy.key, copy.content_id, self._salts, size, _LABEL)
        try:
            while not reader.complete or not number:
                async with connection(self._pool) as acquired:
                    piece = await acquired.fetchval(queries.HANDED_PIECE, copy.name, number)
                if piece is None:
                    raise Refused(Reason.CONTENT_DAMAGED, "What this URL hands over is not whole.")
                yield reader.update(piece)
                number += 1
        except CryptoError:
            raise Refused(Reason.CONTENT_DAMAGED, "What this URL hands over is damaged.") from None


async def forget(pool: asyncpg.Pool) -> int:
    """Delete what is past its time; returns how many."""
    async with connection(pool) as acquired:
        return len(await acquired.fetch(queries.FORGET_HANDED, clock.now()))
