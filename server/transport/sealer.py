"""What is done to a message before the transaction: understood, marked, encrypted, sealed. It needs no database."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import asyncpg

from crypto.edge import EdgeKeys
from crypto.sealing import message_info, seal
from crypto.smime.anchors import TrustAnchors
from crypto.smime.verdict import Status, Verdict
from server.audit.trail import Audit, Event
from server.base import metrics
from server.base.errors import Reason, Refused
from server.base.ids import trace_id
from server.base.settings import Settings
from server.mail import trace
from server.mail.addresses import normalise
from server.mail.dsn import Action, Notification, RecipientStatus, notification
from server.mail.structure import Message
from server.mail.summary import Summary, summarise
from server.mailbox import marks
from server.mailbox.content import Prepared, prepare
from server.mailbox.layers import may_be_encrypted
from server.mailbox.model import OwnerKind, OwnerState
from server.mailbox.routes import routes
from server.mailbox.understand import Understood, understand
from server.transport import queued
from server.transport.commit import Copy, Item
from server.transport.envelope import Envelope, Notify, Recipient, Remote, Source, SourceKind
from server.transport.queued import QueueKeys

# Why a mailbox that was there at RCPT did not get the message: enhanced status (RFC 3463 §3.2, §3.3), French, English.
_GONE = {
    Reason.RECIPIENT_CLOSED: ("5.2.1", "Cette messagerie est fermée.", "This mailbox is closed."),
    Reason.UNKNOWN_RECIPIENT: ("5.1.1", "Cette messagerie n’existe plus.", "This mailbox no longer exists."),
}

# RFC 3463 §3.2: other address status, success.
_DELIVERED = (
    "2.1.5",
    "Votre message est dans la boîte du destinataire.",
    "Your message is in the recipient's mailbox.",
)


class Sealer:
    """Makes of an envelope and bytes what the committer writes."""

    def __init__(self, edge: EdgeKeys, audit: Audit, anchors: TrustAnchors | None, settings: Settings) -> None:
        self.edge = edge
        self._audit = audit
        self.anchors = anchors
        self._settings = settings
        self._queue = QueueKeys(edge)

    async def ready(self, connection: asyncpg.Connection, recipients: Sequence[Recipient]) -> None:
        """Learn what sealing to these recipients needs. Raises TryLater: the queue has no key yet."""
        if any(isinstance(recipient.route, Remote) for recipient in recipients):
            await self._queue.ready(connection)

    def item(self, envelope: Envelope, data: bytes, fingerprints: list[bytes]) -> tuple[Item, Verdict]:
        """Understand, mark, encrypt, seal: all that needs no database."""
        understood = understand(data, self.anchors, envelope.received_at, envelope.registration)
        verdict = self.checked(envelope, understood)
        prepared, copies, outbound, keywords = None, tuple[Copy, ...](), None, tuple[str, ...]()
        if envelope.local:
            header, message = self.marked(envelope, understood)
            marked = header + data[understood.header_size :]
            summary = summarise(message, marked, verdict.to_json())
            prepared = prepare(marked, summary, self.edge.salts)
            keywords = self.keywords(envelope, summary)
            copies = self.copies(envelope, prepared, fingerprints, understood)
        if envelope.remote:
            # What leaves: the bytes as they came under one Received line (RFC 5321 §4.4).
            whole, event = self.received(envelope) + data, self.queued_event(envelope, len(data), understood)
            outbound = queued.prepare(envelope, whole, self.queue_key, self.edge, fingerprints[-1], event)
        encrypted = may_be_encrypted(understood.message)
        item = Item(prepared, envelope.received_at, copies, outbound, envelope.not_before, keywords, encrypted)
        return item, verdict

    def checked(self, envelope: Envelope, understood: Understood) -> Verdict:
        """The verdict, where it lets the message in. Raises Refused(SIGNATURE_REQUIRED)."""
        verdict = understood.verdict
        metrics.SIGNATURES.labels(verdict.status).inc()
        demanded = self._settings.transport.require_signature and envelope.source.kind is not SourceKind.LOCAL
        if demanded and verdict.status is not Status.PASSED:
            raise Refused(Reason.SIGNATURE_REQUIRED, "Only messages with a valid signature are taken here.")
        return verdict

    def marked(self, envelope: Envelope, understood: Understood) -> tuple[bytes, Message]:
        """Top header and structure as they are stored."""
        return understood.marked(self._trace(envelope, understood.verdict), self._settings.domain)

    def keywords(self, envelope: Envelope, summary: Summary) -> tuple[str, ...]:
        """What mail programs are told of the message beside its text."""
        domains = {normalise(author.address).rpartition("@")[2] for author in summary.from_}
        is_patients = bool(domains) and domains <= self._settings.patient_domains and not envelope.unproven
        return marks.of_signature(summary.verdict) + ((marks.FROM_PATIENT,) if is_patients else ())

    @property
    def queue_key(self) -> tuple[int, bytes]:
        """Key id and public key of the day; `ready` comes first."""
        return self._queue.current

    def queued_event(self, envelope: Envelope, size: int, understood: Understood) -> Event:
        return self._audit.message_queued(
            envelope.source.principal,
            envelope.source.peer,
            envelope.reverse_path,
            [recipient.address for recipient in envelope.remote],
            trace=envelope.trace_id,
            message_id=understood.message_id,
            size=size,
            signature=understood.verdict.status,
        )

    def copies(
        self,
        envelope: Envelope,
        prepared: Prepared,
        fingerprints: list[bytes],
        understood: Understood,
    ) -> tuple[Copy, ...]:
        copies: dict[int, Copy] = {}
        message_id = understood.message_id
        for recipient, fingerprint in zip(envelope.recipients, fingerprints, strict=False):
            if isinstance(recipient.route, Remote):
                continue
            owner_id = recipient.route.owner_id
            if owner_id in copies:  # two addresses of one mailbox: one copy
                continue
            info = message_info(owner_id, prepared.content_id)
            event = self._audit.message_accepted(
                owner_id,
                envelope.source.peer,
                envelope.reverse_path,
                recipient.address,
                trace=envelope.trace_id,
                message_id=message_id,
                content=prepared.content_id.hex(),
                size=prepared.size,
                signature=understood.verdict.status,
            )
            key = seal(recipient.route.public_key, prepared.message_key, info)
            taken = envelope.turn if recipient.route.kind is OwnerKind.PATIENT else None
            copies[owner_id] = Copy(owner_id, recipient.folder_id, key, fingerprint, event, taken)
        return tuple(copies.values())

    def fingerprints(self, envelope: Envelope, digest: bytes) -> list[bytes]:
        """One for each recipient: keyed hash of client, reverse-path, recipient and `digest`, the SHA-256 of the bytes.

        Those at other operators leave together, so that behind the recipients' own stands one for all of them.
        """
        head = f"{envelope.source.peer}\0{envelope.reverse_path}\0".encode("utf-8", "surrogatepass")
        key = self.edge.fingerprint
        names = [normalise(recipient.address) for recipient in envelope.recipients]
        if envelope.remote:
            names.append("\0".join(sorted(normalise(recipient.address) for recipient in envelope.remote)) + "\0")
        return [hmac.digest(key, head + name.encode() + b"\0" + digest, "sha256") for name in names]

    def _trace(self, envelope: Envelope, verdict: Verdict) -> bytes:
        """What final delivery puts on top: Return-Path, Authentication-Results, Received."""
        return (
            trace.return_path(envelope.reverse_path)
            + trace.authentication_results(self._settings.domain, verdict.to_json(), envelope.unproven)
            + self.received(envelope)
        )

    def received(self, envelope: Envelope) -> bytes:
        source = envelope.source
        return trace.received(
            source.name,
            self._settings.domain,
            source.protocol,
            envelope.trace_id or trace_id(),
            envelope.received_at,
            recipient=envelope.recipients[0].address if len(envelope.recipients) == 1 else "",
            tls=source.tls,
        )

    def notice(
        self,
        sender: Recipient,
        statuses: Sequence[RecipientStatus],
        returned: bytes,
        arrived_at: datetime,
        now: datetime,
        *,
        envelope_id: str = "",
        fingerprint: bytes = b"",
    ) -> Item:
        """A notification to `sender` (what `way_back` found) of the message whose top header is `returned`.

        With a `fingerprint` it is written once, however often the same is asked. `ready` comes before.
        """
        domain = self._settings.domain
        report = Notification(
            reporting=domain,
            to=sender.address,
            arrived_at=arrived_at,
            recipients=tuple(statuses),
            returned=returned,
            date=now,
            message_id=f"<{trace_id()}@{domain}>",
            envelope_id=envelope_id,
        )
        source = Source(SourceKind.LOCAL, "notification", protocol="LOCAL")
        envelope = Envelope("", (sender,), source, now, trace_id(), utf8=not sender.address.isascii())
        item, _ = self.item(envelope, notification(report), [fingerprint or os.urandom(32)] * 2)
        return item

    def receipt(self, sender: Recipient, envelope: Envelope, returned: bytes, fingerprints: list[bytes]) -> Item | None:
        """The notification of delivery to mailboxes here, for those of whom it was asked (RFC 3461 §5.2.2)."""
        asked = [recipient for recipient in envelope.local if Notify.SUCCESS in recipient.notify]
        if not asked:
            return None
        statuses = [
            RecipientStatus(recipient.address, Action.DELIVERED, *_DELIVERED, original=recipient.original)
            for recipient in asked
        ]
        once = hmac.digest(self.edge.fingerprint, b"receipt\0" + b"".join(fingerprints), "sha256")
        at, then = envelope.received_at, envelope.not_before or envelope.received_at
        told = self.notice(sender, statuses, returned, at, then, envelope_id=envelope.envelope_id, fingerprint=once)
        # What is held is told of when it comes.
        return replace(told, not_before=envelope.not_before)


def gone(lost: Mapping[str, tuple[Reason, str]]) -> list[RecipientStatus]:
    """What a notification says of these addresses, whose mailboxes went away: why, and ORCPT."""
    return [
        RecipientStatus(address, Action.FAILED, *_GONE.get(reason, _GONE[Reason.UNKNOWN_RECIPIENT]), original=original)
        for address, (reason, original) in lost.items()
    ]


async def way_back(
    connection: asyncpg.Connection, edge: EdgeKeys, local_domains: frozenset[str], reverse_path: str
) -> Recipient | None:
    """Where a notification goes; None for the null sender (RFC 5321 §6.1) and for a mailbox that is no longer here.

    That another operator's domain is in the trust space was asked when its mail came, and is again when ours leaves.
    """
    if not reverse_path:
        return None
    address = normalise(reverse_path)
    domain = address.rpartition("@")[2]
    if domain not in local_domains:
        return Recipient(address, Remote(domain))
    route = (await routes(connection, edge, [address])).get(address)
    if route is None or route.state not in (OwnerState.ACTIVE, OwnerState.SUSPENDED):
        return None
    return Recipient(address, route)
