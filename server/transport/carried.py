"""What a message that was taken adds to the indicators: by type of mailbox, never by person."""

from __future__ import annotations

from collections.abc import Set

from server.base.metrics import CARRIED
from server.mailbox.model import OwnerKind, Route
from server.transport.envelope import Envelope, Recipient, SourceKind


def count(envelope: Envelope, patient_domains: Set[str]) -> None:
    """A message counts once for who sent it and once for each mailbox here that received it. Our own notifications are
    no messages of anybody."""
    source = envelope.source
    if source.kind is SourceKind.LOCAL:
        return
    if source.mailbox:
        CARRIED.labels("sent", source.mailbox).inc()
        if envelope.remote:
            CARRIED.labels("sent_elsewhere", source.mailbox).inc()
        if any(_is_patient(recipient, patient_domains) for recipient in envelope.recipients):
            CARRIED.labels("to_patients", source.mailbox).inc()
    domain = envelope.reverse_path.rpartition("@")[2].lower()
    from_patient = source.mailbox == OwnerKind.PATIENT or (not source.mailbox and domain in patient_domains)
    for recipient in envelope.local:
        if isinstance(recipient.route, Route):
            CARRIED.labels("received", recipient.route.kind).inc()
            if source.kind is SourceKind.RELAY:
                CARRIED.labels("received_from_elsewhere", recipient.route.kind).inc()
            if from_patient:
                CARRIED.labels("from_patients", recipient.route.kind).inc()


def _is_patient(recipient: Recipient, patient_domains: Set[str]) -> bool:
    route = recipient.route
    return route.kind is OwnerKind.PATIENT if isinstance(route, Route) else route.domain in patient_domains
