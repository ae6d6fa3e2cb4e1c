"""Follows a pointer: fetches the message that another operator holds and delivers it, as if it had come by SMTP.

Invariants:
- The message passes the same policy as at the door, by its own header and the certificate of who serves it; the pointer
  that let it in proves nothing of it.
- Nothing is delivered before all of it came, opened and has the digest that the pointer says.
- A connection that breaks is taken up where it broke, while the message passes; memory does not follow its size.
- One that was delivered already is not delivered again: it has the fingerprint of the first time (transport/accept.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from crypto.blob import sealed_size
from crypto.errors import CryptoError
from server.base import clock
from server.base.errors import CaduceeError, ProtocolViolation, Reason, Refused
from server.base.limits import LARGE_MESSAGE_SECONDS, MIME_HEADER_BYTES
from server.mailbox.model import Route
from server.sender.dialogue import Outcome, postponed, refused
from server.sender.download import Downloads, Lost, NotHeld, Source
from server.sender.mx import NoHost
from server.sender.work import Message, Work
from server.transport import envelope as envelopes
from server.transport import pointer as pointers
from server.transport.accept import Acceptor
from server.transport.envelope import Body, Envelope, Recipient, SourceKind
from server.transport.large import LargeMessage
from server.transport.lines import Lines
from server.transport.pointer import HELD_BY, Pointer
from server.transport.policy import Policy
from server.trust.members import Peer

RESUMED: Final = 20  # times for one attempt: a line that breaks each 3 MB brings 60 MB
FETCHED: Final = Outcome(True, True, "2.1.5", "fetched from its operator and delivered")
_FIRST: Final = 2 * MIME_HEADER_BYTES  # holds every header that policy lets in
# RFC 3463 §3.2, §3.3: why a mailbox did not get it after all.
_STATUS: Final[Mapping[Reason, str]] = {
    Reason.UNKNOWN_RECIPIENT: "5.1.1",
    Reason.RECIPIENT_CLOSED: "5.2.1",
    Reason.MAILBOX_FULL: "5.2.2",
    Reason.TOO_LARGE_FOR_PATIENT: "5.3.4",
}


class Fetches:
    """Follows pointers for one worker."""

    def __init__(self, downloads: Downloads, policy: Policy, acceptor: Acceptor) -> None:
        self._downloads = downloads
        self._policy = policy
        self._acceptor = acceptor

    async def close(self) -> None:
        await self._policy.close()
        await self._acceptor.close()

    async def fetch(self, work: Work, message: Message, data: bytes) -> list[Outcome]:
        """What became of each recipient of the pointer message `data`. Raises TryLater."""
        try:
            pointer = pointers.read(data)
        except ProtocolViolation as error:
            return [refused("5.6.0", error.sentence)] * len(work.due)
        if pointer.ends_at < clock.now():
            return [refused("5.4.7", "its operator holds this message no longer")] * len(work.due)
        arrival = _Arrival(self._policy, self._acceptor, work, message, pointer)
        try:
            async with asyncio.timeout(LARGE_MESSAGE_SECONDS):
                await self._pass(work.domain.removeprefix(HELD_BY), pointer, arrival)
            return await arrival.end()
        except NotHeld:
            return [refused("5.4.7", "its operator does not hold this message for this recipient")] * len(work.due)
        except (Lost, NoHost, TimeoutError) as error:
            return [postponed("4.4.2", str(error) or "its operator took too long")] * len(work.due)
        except CryptoError:
            return [refused("5.6.0", "the message that its operator holds is damaged")] * len(work.due)
        except CaduceeError as error:
            return [_outcome(error)] * len(work.due)

    async def _pass(self, domain: str, pointer: Pointer, arrival: _Arrival) -> None:
        reader, size, offset, breaks = pointer.reader(), sealed_size(pointer.padded), 0, 0
        while not reader.complete:
            before = offset
            try:
                async with self._downloads.open(domain, pointer, arrival.recipient, offset) as (source, octets):
                    await arrival.served_by(source, self._policy.peer(source.path))
                    async for cipher in octets:
                        offset += len(cipher)
                        if offset > size:
                            raise CryptoError("more came than there is")
                        await arrival.add(reader.update(cipher))
                if not reader.complete:
                    raise CryptoError("this content has been cut")
            except Lost:
                breaks += 1
                if offset == before or breaks > RESUMED:
                    raise


@dataclass(eq=False)
class _Arrival:
    """A message on its way from its operator to mailboxes here."""

    policy: Policy
    acceptor: Acceptor
    work: Work
    message: Message
    pointer: Pointer
    _peer: Peer | None = None
    _source: envelopes.Source | None = None
    _answers: list[Recipient | Outcome] = field(default_factory=list)
    _head: bytearray = field(default_factory=bytearray)
    _large: LargeMessage | None = None
    _lines: Lines = field(default_factory=Lines)
    _left: int = 0
    _received_at: datetime = field(default_factory=clock.now)

    def __post_init__(self) -> None:
        self._left = self.pointer.size
        self._digest = hashlib.sha256()

    @property
    def recipient(self) -> str:
        """For whom it is asked."""
        return self.message.envelope.recipients[self.work.due[0].number].address

    async def served_by(self, source: Source, peer: Peer) -> None:
        """Judge the recipients at the first connection. Raises Lost: the next ones are of another operator."""
        if self._peer is not None:
            if self._peer.subject != peer.subject:
                raise Lost("another operator went on")
            return
        self._peer = peer
        self._source = envelopes.Source(SourceKind.RELAY, peer.text, source.host, None, source.tls, "HTTPS")
        given = [self.message.envelope.recipients[due.number] for due in self.work.due]
        answers = await self.policy.recipients(
            peer,
            [one.address for one in given],
            reverse_path=self.message.envelope.reverse_path,
            size=self.pointer.size,
        )
        self._answers = [
            Recipient(one.address, answer, notify=one.notify, original=one.original)
            if isinstance(answer, Route)
            else _outcome(answer if isinstance(answer, CaduceeError) else Refused(Reason.NO_RELAY, "not ours"))
            for one, answer in zip(given, answers, strict=True)
        ]
        if self._recipients:
            self.policy.size(peer, self.message.envelope.reverse_path, self._recipients, self.pointer.size)

    @property
    def _recipients(self) -> tuple[Recipient, ...]:
        return tuple(one for one in self._answers if isinstance(one, Recipient))

    async def add(self, plain: bytes) -> None:
        """What came and opened, padding included. Raises what policy and accept raise."""
        plain = plain[: self._left]
        self._left -= len(plain)
        self._digest.update(plain)
        self._lines.add(plain)
        if not self._recipients:
            return
        if self._large is None:
            self._head += plain
            if len(self._head) < _FIRST:
                return
            plain = bytes(self._head)
            self._large = await self.acceptor.begin(await self._judged(plain))
        await self.acceptor.add(self._large, plain)

    async def end(self) -> list[Outcome]:
        """Deliver. Raises CryptoError: it is not the message that the pointer says; what accept raises."""
        if self._left or not hmac.compare_digest(self._digest.digest(), self.pointer.digest):
            raise CryptoError("this is another message")
        if self.message.envelope.body is not Body.BINARY:
            self._lines.check()
        if self._large is not None:
            await self.acceptor.end(self._large)
        elif self._recipients:
            head = bytes(self._head)
            await self.acceptor.accept(await self._judged(head), head)
        return [FETCHED if isinstance(one, Recipient) else one for one in self._answers]

    async def _judged(self, head: bytes) -> Envelope:
        assert self._peer is not None  # noqa: S101 -- octets come from somebody
        assert self._source is not None  # noqa: S101
        envelope = self.message.envelope
        found = await self.policy.content(self._peer, envelope.reverse_path, self._recipients, head)
        made = Envelope(
            envelope.reverse_path,
            self._recipients,
            self._source,
            self._received_at,
            self.message.trace_id,
            envelope.envelope_id,
            envelope.returned,
            envelope.body,
            envelope.utf8,
            envelope.require_tls,
        )
        return replace(made, turn=found.turn, unproven=found.unproven)


def _outcome(error: CaduceeError) -> Outcome:
    if isinstance(error, Refused | ProtocolViolation):
        return refused(_STATUS.get(error.reason, "5.7.1"), error.sentence)
    return postponed("4.3.0", error.sentence)
