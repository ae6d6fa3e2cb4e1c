"""Accept: where the server takes responsibility for a message.

    envelope, bytes → understood once → sealed to each recipient → one transaction → answer

Past 1 MiB the bytes are taken while they come: `begin`, `add`, `end`.

Invariants:
- `accept` returns only after COMMIT, and then every recipient has a row, a queue entry, or a DSN to a local sender.
- When it raises, nothing was taken for anybody.
- The same bytes from the same client for the same recipient are taken once, until the client has shown that it read
  the 250 (`arrived`), five days at most: a repeat after a lost 250 gets its 250 and no second copy. After `arrived`
  they are a new message, as a client that sends the same text twice means it.
- No transaction is open while anything is computed or awaited from outside.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

import asyncpg
import structlog

from crypto.edge import EdgeKeys
from crypto.smime.anchors import TrustAnchors
from crypto.smime.verdict import Verdict
from server.audit.trail import Audit
from server.base import clock, metrics
from server.base.errors import CaduceeError, Reason, Refused, TryLater
from server.base.limits import SUMMARY_HEADER_BYTES
from server.base.settings import Settings
from server.mail.headers import bare_id, first
from server.mailbox.content import LARGE_BODY, PIECE
from server.mailbox.feed import Announcer
from server.mailbox.model import Route
from server.mailbox.trouble import connection
from server.transport import carried
from server.transport.commit import LOST, Committer, Item, Placed
from server.transport.envelope import Envelope, Notify, Recipient, Remote
from server.transport.large import LargeMessage
from server.transport.refusals import Refusal, Refusals
from server.transport.sealer import Sealer, gone, way_back
from server.transport.volume import Volume

SEALS_INLINE = 8  # more (0.1 ms each) would hold up the worker's other sessions: they go to a thread

log = structlog.get_logger()


class Done(StrEnum):
    """What became of one recipient."""

    DONE = "done"
    QUEUED = "queued"  # for another operator, for later, or for a mailbox here that is locked or suspended
    BOUNCED = "bounced"  # the mailbox went away since RCPT; the local sender has a DSN, unless it wants none


@dataclass(frozen=True, slots=True)
class Outcome:
    recipient: Recipient
    state: Done
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """`repeated`: all of it was accepted before, and there is no second copy."""

    outcomes: list[Outcome]
    repeated: bool
    verdict: Verdict
    fingerprints: tuple[bytes, ...]


class Acceptor:
    """One per worker of an edge that takes mail. It can write and cannot read."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys, anchors: TrustAnchors, settings: Settings) -> None:
        self._pool = pool
        self._edge = edge
        self._audit = Audit(edge)
        self._local_domains = settings.local_domains
        self._patient_domains = settings.patient_domains
        self._sealer = Sealer(edge, self._audit, anchors, settings)
        self._committer = Committer(pool, self._audit)
        self._announcer = Announcer(pool)
        self._volume = Volume(pool, edge)
        self._refusals = Refusals(pool, self._audit)

    async def start(self) -> None:
        """Learn the trail's reader and start the flushers. Raises TryLater, IntegrityError (no reader: not set up)."""
        async with connection(self._pool) as acquired:
            await self._audit.ready(acquired)
        self._committer.start()

    async def close(self) -> None:
        """Commit what waits and stop."""
        await self._committer.close()
        await self._announcer.close()
        await self._volume.close()
        await self._refusals.close()

    async def accept(self, envelope: Envelope, data: bytes) -> Accepted:
        """Take responsibility for `data` (RFC 5322 bytes, CRLF) for all recipients of the envelope.

        Raises Refused: SIGNATURE_REQUIRED, UNKNOWN_RECIPIENT, RECIPIENT_CLOSED; TryLater: STORE_AWAY, STORE_FULL, BUSY,
        SHUTTING_DOWN.
        """
        if len(data) <= LARGE_BODY:
            with self._refusals_told(envelope, data):
                return self._taken(envelope, await self._accept(envelope, data))
        large = await self.begin(envelope)
        for start in range(0, len(data), PIECE):
            await self.add(large, data[start : start + PIECE])
        return await self.end(large)

    async def begin(self, envelope: Envelope) -> LargeMessage:
        """A message past 1 MiB whose bytes are still to come: `add` them, then `end`. Raises TryLater."""
        with self._refusals_told(envelope):
            large = LargeMessage(self._pool, self._sealer, envelope, await self._learn(envelope))
            await large.begin()
        return large

    async def add(self, large: LargeMessage, data: bytes) -> None:
        """More of it, the whole top header with the first. Raises TryLater, Refused(MALFORMED)."""
        with self._refusals_told(large.envelope, large.top):
            await large.add(data)

    async def end(self, large: LargeMessage) -> Accepted:
        """Take responsibility for all that was added. Raises as `accept`."""
        with self._refusals_told(large.envelope, large.top):
            return self._taken(large.envelope, await self._end(large))

    def _taken(self, envelope: Envelope, accepted: Accepted) -> Accepted:
        metrics.MESSAGES.labels(envelope.source.kind, "repeated" if accepted.repeated else "accepted").inc()
        if not accepted.repeated:
            self._volume.accepted(envelope)
            carried.count(envelope, self._patient_domains)
        return accepted

    @contextmanager
    def _refusals_told(self, envelope: Envelope, top: bytes = b"") -> Iterator[None]:
        try:
            yield
        except CaduceeError as error:
            metrics.MESSAGES.labels(envelope.source.kind, error.reason).inc()
            if isinstance(error, Refused):
                self._note(envelope, top, error)
            raise

    def _note(self, envelope: Envelope, top: bytes, refusal: Refused) -> None:
        source, message_id = envelope.source, bare_id(first(top, "message-id") or "")
        told = Refusal(
            source.principal, source.peer, envelope.reverse_path, "", refusal.reason, envelope.trace_id, message_id
        )
        self._refusals.note(told)

    def underway(self, change: int) -> None:
        """A session has begun a message (1) or ended it, whatever its end (-1): they are gathered into groups."""
        self._committer.underway(change)

    def arrived(self, accepted: Accepted) -> None:
        """The client has read the 250: it went on in the same session after the reply was written.

        Not to be called for what a client had sent ahead (RFC 2920 lets QUIT come in one piece with the final dot).
        """
        self._committer.arrived(accepted.fingerprints)

    async def _accept(self, envelope: Envelope, data: bytes) -> Accepted:
        fingerprints = self._sealer.fingerprints(envelope, hashlib.sha256(data).digest())
        sender = await self._learn(envelope)
        if len(envelope.recipients) > SEALS_INLINE:
            item, verdict = await asyncio.to_thread(self._sealer.item, envelope, data, fingerprints)
        else:
            item, verdict = self._sealer.item(envelope, data, fingerprints)
        return await self._commit(envelope, item, verdict, fingerprints, sender, data)

    async def _end(self, large: LargeMessage) -> Accepted:
        fingerprints = large.fingerprints()
        item, verdict = await large.finish(fingerprints)
        return await self._commit(large.envelope, item, verdict, fingerprints, large.sender, large.top)

    async def _commit(
        self,
        envelope: Envelope,
        item: Item,
        verdict: Verdict,
        fingerprints: list[bytes],
        sender: Recipient | None,
        top: bytes,
    ) -> Accepted:
        """`top` is the beginning of the message, with its header."""
        if self._committer.is_arrived(fingerprints):
            await self._committer.forget()
        (placed,) = await self._committer.submit([item])
        if any(one.outcome in LOST for one in placed):
            accepted = await self._partly(envelope, top, item, placed, verdict)
        else:
            accepted = self._answer(envelope, item, placed, verdict, {})
        if sender is not None:
            there = tuple(one.recipient for one in accepted.outcomes if one.state is not Done.BOUNCED)
            await self._tell(sender, replace(envelope, recipients=there), top, fingerprints)
        return accepted

    async def _tell(self, sender: Recipient, envelope: Envelope, top: bytes, fingerprints: list[bytes]) -> None:
        """The receipt of what is there now. Who crashes before it has answered nobody: the repeat brings it, once."""
        receipt = self._sealer.receipt(sender, envelope, top_header(top), fingerprints)
        if receipt is not None:
            (told,) = await self._committer.submit([receipt])
            self._announce(receipt, told)

    async def _learn(self, envelope: Envelope) -> Recipient | None:
        """Ask the database what sealing needs, where it needs anything; whom to tell of delivery if that was asked."""
        asked = any(Notify.SUCCESS in recipient.notify for recipient in envelope.local)
        if not asked and not envelope.remote:
            return None
        async with connection(self._pool) as acquired:
            sender = await way_back(acquired, self._edge, self._local_domains, envelope.reverse_path) if asked else None
            await self._sealer.ready(
                acquired, envelope.recipients if sender is None else (*envelope.recipients, sender)
            )
        return sender

    async def _partly(
        self, envelope: Envelope, top: bytes, item: Item, placed: list[Placed], verdict: Verdict
    ) -> Accepted:
        """A mailbox went away between RCPT and COMMIT, so nothing was taken yet: decide for all recipients.

        Nobody left: refused. A local sender: the others get the message and the sender a DSN, in one transaction. Any
        other sender: try again, when RCPT will say which recipient is gone.
        """
        lost = {
            copy.owner_id: Reason.RECIPIENT_CLOSED if one.outcome == "closed" else Reason.UNKNOWN_RECIPIENT
            for copy, one in zip(item.copies, placed, strict=False)
            if one.outcome in LOST
        }
        kept = tuple(copy for copy in item.copies if copy.owner_id not in lost)
        if not kept and item.outbound is None:
            raise Refused(next(iter(lost.values())), "This mailbox is no longer there.")
        async with connection(self._pool) as acquired:
            sender = await way_back(acquired, self._edge, self._local_domains, envelope.reverse_path)
            if sender is None or isinstance(sender.route, Remote):
                raise TryLater(Reason.BUSY, "A mailbox has just gone away; please try again.")
        # RFC 3461 §4.1: told only to who did not say otherwise.
        missed = {
            recipient.address: (lost[recipient.route.owner_id], recipient.original)
            for recipient in envelope.local
            if isinstance(recipient.route, Route)
            and recipient.route.owner_id in lost
            and (not recipient.notify or Notify.FAILURE in recipient.notify)
        }
        rest = replace(item, prepared=item.prepared if kept else None, copies=kept)
        notices = []
        if missed:
            now, statuses = clock.now(), gone(missed)
            at, name = envelope.received_at, envelope.envelope_id
            notices.append(self._sealer.notice(sender, statuses, top_header(top), at, now, envelope_id=name))
        again, *told = await self._committer.submit([rest, *notices])
        if any(one.outcome in LOST for placed in (again, *told) for one in placed):
            raise TryLater(Reason.BUSY, "Mailboxes have just gone away; please try again.")
        for notice, placed in zip(notices, told, strict=True):
            self._announce(notice, placed)
        log.info("recipient_gone", lost=len(lost), trace=envelope.trace_id)
        return self._answer(envelope, rest, again, verdict, lost)

    def _answer(
        self, envelope: Envelope, item: Item, placed: list[Placed], verdict: Verdict, lost: dict[int, Reason]
    ) -> Accepted:
        self._announce(item, placed)
        # What leaves stands behind the copies.
        by_owner = {copy.owner_id: one.outcome for copy, one in zip(item.copies, placed, strict=False)}
        outcomes = []
        for recipient in envelope.recipients:
            owner_id = None if isinstance(recipient.route, Remote) else recipient.route.owner_id
            if owner_id in lost:
                outcomes.append(Outcome(recipient, Done.BOUNCED, lost[owner_id]))
            else:
                waits = owner_id is None or by_owner[owner_id] == "queued"
                outcomes.append(Outcome(recipient, Done.QUEUED if waits else Done.DONE))
        repeated = all(one.outcome == "repeated" for one in placed)
        fingerprints = [copy.fingerprint for copy in item.copies]
        if item.outbound is not None:
            fingerprints.append(item.outbound.fingerprint)
        return Accepted(outcomes, repeated, verdict, tuple(fingerprints))

    def _announce(self, item: Item, placed: list[Placed]) -> None:
        self._announcer.changed(
            (copy.owner_id, copy.folder_id)
            for copy, one in zip(item.copies, placed, strict=False)
            if one.outcome == "done"
        )


def top_header(data: bytes) -> bytes:
    """The header of a message as it came, its empty line included, cut at what a notification returns."""
    end = data.find(b"\r\n\r\n", 0, SUMMARY_HEADER_BYTES)
    return data[: end + 4 if end >= 0 else SUMMARY_HEADER_BYTES]
