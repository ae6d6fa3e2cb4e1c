"""Mail for other operators as it lies in the queue: encrypted to a key of the day that only the role `sender` opens.

Invariants:
- A message in the queue has a key of its own, sealed to the day's public key; queue id and key id are bound into the
  sealing, so that nothing can be moved or swapped by who writes to the database.
- A day's key carries a proof made with an edge secret: a key planted in the database is not used.
- What names a person (reverse-path, recipients) is inside the ciphertext; beside it stand domain and pseudonym.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

import asyncpg

from crypto import blob
from crypto.edge import EdgeKeys, Salts
from crypto.errors import CryptoError
from crypto.sealing import KEY_BYTES, seal
from server.audit.trail import Event
from server.base import clock
from server.base.errors import Reason, TryLater
from server.base.ids import content_id as new_queue_id
from server.base.log import Pseudonyms
from server.mailbox.content import Pieces
from server.transport import queries
from server.transport.envelope import Body, Envelope, Notify, Remote, Returned

_ENVELOPE = b"queue envelope"
_BODY = b"queue body"


@dataclass(frozen=True, slots=True)
class Addressee:
    """One recipient as the queue keeps it: `Recipient` without its route."""

    address: str
    notify: frozenset[Notify]
    original: str


@dataclass(frozen=True, slots=True)
class Queued:
    """What the queue keeps of an envelope; recipients by the number of their row."""

    reverse_path: str
    recipients: Mapping[int, Addressee]
    received_at: datetime
    envelope_id: str
    returned: Returned | None
    body: Body
    utf8: bool
    require_tls: bool

    def to_bytes(self) -> bytes:
        return json.dumps(
            {
                "reverse_path": self.reverse_path,
                "recipients": [
                    [number, one.address, sorted(one.notify), one.original] for number, one in self.recipients.items()
                ],
                "received_at": self.received_at.isoformat(),
                "envelope_id": self.envelope_id,
                "returned": self.returned,
                "body": self.body,
                "utf8": self.utf8,
                "require_tls": self.require_tls,
            }
        ).encode()

    @classmethod
    def from_bytes(cls, plain: bytes) -> Queued:
        """Raises ValueError, KeyError or TypeError for anything but what `to_bytes` wrote."""
        read = json.loads(plain)
        return cls(
            reverse_path=read["reverse_path"],
            recipients={
                number: Addressee(address, frozenset(map(Notify, notify)), original)
                for number, address, notify, original in read["recipients"]
            },
            received_at=datetime.fromisoformat(read["received_at"]),
            envelope_id=read["envelope_id"],
            returned=Returned(read["returned"]) if read["returned"] else None,
            body=Body(read["body"]),
            utf8=read["utf8"],
            require_tls=read["require_tls"],
        )


@dataclass(frozen=True, slots=True)
class Outbound:
    """A message encrypted for the queue. `rows`: number, domain, pseudonym of each recipient; `size` plain octets;
    `body` None where it was committed in pieces."""

    queue_id: bytes
    key_id: int
    key: bytes = field(repr=False)
    owner_id: int | None
    trace_id: str
    sender: str
    size: int
    envelope: bytes = field(repr=False)
    body: bytes | None = field(repr=False)
    not_before: datetime
    rows: tuple[tuple[int, str, str], ...]
    fingerprint: bytes
    event: Event


def queue_info(key_id: int, queue_id: bytes) -> bytes:
    """What the key of a queued message is bound to."""
    return b"caducee queue message 1\0" + key_id.to_bytes(4, "big") + queue_id


def key_proof(edge: EdgeKeys, day: date, public_key: bytes) -> bytes:
    """What shows that a day's key was made by a process with the edge secrets."""
    return hmac.digest(edge.address, b"caducee queue key 1\0" + day.isoformat().encode() + public_key, "sha256")


class QueueKeys:
    """The key of the day as the edges know it: the public half."""

    def __init__(self, edge: EdgeKeys) -> None:
        self._edge = edge
        self._day = date.min
        self._current: tuple[int, bytes] | None = None

    async def ready(self, connection: asyncpg.Connection) -> None:
        """Learn today's key. Raises TryLater(BUSY) when the sender has made none yet."""
        today = clock.now().date()
        if self._day == today:
            return
        row = await connection.fetchrow(queries.QUEUE_KEY, today)
        if row is None or not hmac.compare_digest(
            row["proof"], key_proof(self._edge, row["day"], bytes(row["public_key"]))
        ):
            raise TryLater(Reason.BUSY, "Mail for other operators cannot be taken yet: the queue has no key.")
        self._current = row["key_id"], bytes(row["public_key"])
        # A key of an earlier day serves until today's is there.
        self._day = row["day"]

    @property
    def current(self) -> tuple[int, bytes]:
        """Key id and public key; `ready` comes first."""
        if self._current is None:
            raise RuntimeError("QueueKeys.ready comes first")
        return self._current


def prepare(
    envelope: Envelope, data: bytes, queue_key: tuple[int, bytes], edge: EdgeKeys, fingerprint: bytes, event: Event
) -> Outbound:
    """Encrypt a message and its envelope for the recipients at other operators."""
    queue_id, message_key = new_queue_id(), os.urandom(KEY_BYTES)
    body = blob.encrypt(message_key, queue_id, edge.salts, data, _BODY)
    return _outbound(envelope, queue_id, message_key, len(data), body, queue_key, edge, fingerprint, event)


class LargeOutbound:
    """A large message on its way into the queue: `add` what leaves, and `finish`. Until a message refers to its pieces
    nobody reads them; what none ever refers to, the sender removes."""

    def __init__(self, pool: asyncpg.Pool, envelope: Envelope, queue_key: tuple[int, bytes], edge: EdgeKeys) -> None:
        self._envelope = envelope
        self._queue_key = queue_key
        self._edge = edge
        self._queue_id, self._message_key = new_queue_id(), os.urandom(KEY_BYTES)
        writer = blob.BlobWriter(self._message_key, self._queue_id, edge.salts, _BODY)
        self._pieces = Pieces(pool, writer, queries.ADD_QUEUE_PIECE, self._queue_id)

    async def add(self, data: bytes | memoryview) -> None:
        """Raises TryLater."""
        await self._pieces.add(data)

    async def finish(self, fingerprint: bytes, event: Event) -> Outbound:
        """Raises TryLater."""
        await self._pieces.finish()
        return _outbound(
            self._envelope,
            self._queue_id,
            self._message_key,
            self._pieces.size,
            None,
            self._queue_key,
            self._edge,
            fingerprint,
            event,
        )


def _outbound(
    envelope: Envelope,
    queue_id: bytes,
    message_key: bytes,
    size: int,
    body: bytes | None,
    queue_key: tuple[int, bytes],
    edge: EdgeKeys,
    fingerprint: bytes,
    event: Event,
) -> Outbound:
    key_id, public_key = queue_key
    recipients = dict(enumerate(envelope.remote))
    kept = Queued(
        envelope.reverse_path,
        {number: Addressee(one.address, one.notify, one.original) for number, one in recipients.items()},
        envelope.received_at,
        envelope.envelope_id,
        envelope.returned,
        envelope.body,
        envelope.utf8,
        envelope.require_tls,
    )
    pseudonyms = Pseudonyms(edge.pseudonym)
    return Outbound(
        queue_id,
        key_id,
        seal(public_key, message_key, queue_info(key_id, queue_id)),
        envelope.source.principal,
        envelope.trace_id,
        pseudonyms.of(envelope.reverse_path) if envelope.reverse_path else "",
        size,
        blob.encrypt(message_key, queue_id, edge.salts, kept.to_bytes(), _ENVELOPE),
        body,
        envelope.not_before or envelope.received_at,
        tuple(
            (number, one.route.domain, pseudonyms.of(one.address))
            for number, one in recipients.items()
            if isinstance(one.route, Remote)
        ),
        fingerprint,
        event,
    )


def open_envelope(message_key: bytes, queue_id: bytes, salts: Salts, cipher: bytes) -> Queued:
    """Raises CryptoError when it does not open, or opens to what is no envelope."""
    plain = blob.decrypt(message_key, queue_id, salts, cipher, _ENVELOPE)
    try:
        return Queued.from_bytes(plain)
    except (ValueError, KeyError, TypeError) as error:
        raise CryptoError("this envelope cannot be understood") from error


def body_reader(message_key: bytes, queue_id: bytes, salts: Salts, size: int) -> blob.BlobReader:
    """Opens the message as it leaves, of `size` octets, piece by piece."""
    return blob.BlobReader(message_key, queue_id, salts, size, _BODY)
