"""What is done to a message before the transaction: understood, marked, encrypted, sealed. It needs no database."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from datetime import datetime

import asyncpg

from crypto.blind_index import token
from crypto.edge import EdgeKeys
from crypto.sealing import message_info, seal
from crypto.smime.anchors import TrustAnchors
from crypto.smime.verdict import Status, Verdict
from server.audit.trail import Audit
from server.base import metrics
from server.base.errors import Reason, Refused
from server.base.ids import trace_id
from server.base.settings import Settings
from server.mail import trace
from server.mail.addresses import normalise
from server.mail.dsn import Action, Notification, RecipientStatus, notification
from server.mailbox.content import Prepared, prepare
from server.mailbox.model import OwnerKind, OwnerState
from server.mailbox.routes import routes
from server.mailbox.understand import Understood, understand
from server.transport.commit import Copy, Item
from server.transport.conversation.correspondent import correspondent
from server.transport.envelope import Envelope, Recipient, Source, SourceKind

# Why a mailbox that was there at RCPT did not get the message: enhanced status (RFC 3463 §3.2, §3.3), French, English.
_GONE = {
    Reason.RECIPIENT_CLOSED: ("5.2.1", "Cette messagerie est fermée.", "This mailbox is closed."),
    Reason.UNKNOWN_RECIPIENT: ("5.1.1", "Cette messagerie n’existe plus.", "This mailbox no longer exists."),
}


class Sealer:
    """Makes of an envelope and bytes what the committer writes."""

    def __init__(self, edge: EdgeKeys, audit: Audit, anchors: TrustAnchors | None, settings: Settings) -> None:
        self._edge = edge
        self._audit = audit
        self._anchors = anchors
        self._settings = settings

    def item(self, envelope: Envelope, data: bytes, fingerprints: list[bytes]) -> tuple[Item, Verdict]:
        """Understand, mark, encrypt, seal: all that needs no database."""
        understood = understand(data, self._anchors, envelope.received_at)
        verdict = understood.verdict
        metrics.SIGNATURES.labels(verdict.status).inc()
        demanded = self._settings.transport.require_signature and envelope.source.kind is not SourceKind.LOCAL
        if demanded and verdict.status is not Status.PASSED:
            raise Refused(Reason.SIGNATURE_REQUIRED, "Only messages with a valid signature are taken here.")
        marked = understood.marked(self._trace(envelope, verdict), self._settings.domain)
        prepared = prepare(marked.data, marked.summary(), self._edge.salts)
        copies = self._copies(envelope, prepared, fingerprints, verdict, self._contact(envelope, understood))
        return Item(prepared, envelope.received_at, copies), verdict

    def _copies(
        self,
        envelope: Envelope,
        prepared: Prepared,
        fingerprints: list[bytes],
        verdict: Verdict,
        contact: bytes | None,
    ) -> tuple[Copy, ...]:
        copies: dict[int, Copy] = {}
        for recipient, fingerprint in zip(envelope.recipients, fingerprints, strict=True):
            owner_id = recipient.route.owner_id
            if owner_id in copies:  # two addresses of one mailbox: one copy
                continue
            info = message_info(owner_id, prepared.content_id)
            event = self._audit.message_accepted(
                owner_id,
                envelope.source.peer,
                envelope.reverse_path,
                recipient.address,
                content=prepared.content_id.hex(),
                size=prepared.size,
                signature=verdict.status,
            )
            key = seal(recipient.route.public_key, prepared.message_key, info)
            opened = contact if recipient.route.kind is OwnerKind.PATIENT else None
            copies[owner_id] = Copy(owner_id, recipient.folder_id, key, fingerprint, event, opened)
        return tuple(copies.values())

    def _contact(self, envelope: Envelope, understood: Understood) -> bytes | None:
        """Token of whom a patient among the recipients may answer; what the server itself writes is not answered."""
        patients = any(recipient.route.kind is OwnerKind.PATIENT for recipient in envelope.recipients)
        if not patients or envelope.source.kind is SourceKind.LOCAL:
            return None
        address = correspondent(understood.message, understood.data, self._settings.patient_domain)
        return None if address is None else token(self._edge.address, address)

    def fingerprints(self, envelope: Envelope, data: bytes) -> list[bytes]:
        """One for each recipient: keyed hash of client, reverse-path, recipient and the SHA-256 of the bytes."""
        digest = hashlib.sha256(data).digest()
        head = f"{envelope.source.peer}\0{envelope.reverse_path}\0".encode("utf-8", "surrogatepass")
        key = self._edge.fingerprint
        return [
            hmac.digest(key, head + normalise(recipient.address).encode() + b"\0" + digest, "sha256")
            for recipient in envelope.recipients
        ]

    def _trace(self, envelope: Envelope, verdict: Verdict) -> bytes:
        """What final delivery puts on top: Return-Path, Authentication-Results, Received."""
        source, domain = envelope.source, self._settings.domain
        only = envelope.recipients[0].address if len(envelope.recipients) == 1 else ""
        return (
            trace.return_path(envelope.reverse_path)
            + trace.authentication_results(domain, verdict.to_json())
            + trace.received(
                source.name,
                domain,
                source.protocol,
                envelope.trace_id or trace_id(),
                envelope.received_at,
                recipient=only,
                tls=source.tls,
            )
        )

    def notice(
        self, sender: Recipient, lost: Mapping[str, Reason], returned: bytes, arrived_at: datetime, now: datetime
    ) -> Item:
        """A DSN to a local sender: these addresses did not get the message whose top header is `returned`."""
        domain = self._settings.domain
        report = Notification(
            reporting=domain,
            to=sender.address,
            arrived_at=arrived_at,
            recipients=tuple(
                RecipientStatus(address, Action.FAILED, *_GONE.get(reason, _GONE[Reason.UNKNOWN_RECIPIENT]))
                for address, reason in lost.items()
            ),
            returned=returned,
            date=now,
            message_id=f"<{trace_id()}@{domain}>",
        )
        source = Source(SourceKind.LOCAL, "notification", protocol="LOCAL")
        envelope = Envelope("", (sender,), source, now, trace_id())
        # No client ever repeats this one: its fingerprint is of nothing.
        item, _ = self.item(envelope, notification(report), [os.urandom(32)])
        return item


async def local_sender(connection: asyncpg.Connection, edge: EdgeKeys, reverse_path: str) -> Recipient | None:
    """Where a DSN would go; None for the null sender (RFC 5321 §6.1) and for senders elsewhere."""
    if not reverse_path:
        return None
    address = normalise(reverse_path)
    route = (await routes(connection, edge, [address])).get(address)
    if route is None or route.state not in (OwnerState.ACTIVE, OwnerState.SUSPENDED):
        return None
    return Recipient(address, route)
