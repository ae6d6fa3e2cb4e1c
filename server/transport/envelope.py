"""The envelope of a message: who speaks, from whom, to whom. Plain values, filled by an edge after policy said yes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from server.mailbox.model import INBOX_ID, Route


class SourceKind(StrEnum):
    SUBMISSION = "submission"
    RELAY = "relay"
    WEB = "web"
    LOCAL = "local"  # the server itself: notifications


@dataclass(frozen=True, slots=True)
class Source:
    """Who handed the message to us.

    `peer` is the same text for every connection of the same client (the signed-in address, or the subject of the peer's
    certificate): it is part of the fingerprint that finds a repeat. `name` is what Received says after "from"
    ("poste.cabinet.fr ([192.0.2.1])"); `protocol` its "with" word (RFC 3848: ESMTPSA, ESMTPS); `tls` a comment or "".
    """

    kind: SourceKind
    peer: str
    name: str = ""
    principal: int | None = None
    tls: str = ""
    protocol: str = "ESMTPS"


@dataclass(frozen=True, slots=True)
class Recipient:
    """An address as given in RCPT and where it leads; `folder_id` is INBOX unless a rule says otherwise."""

    address: str
    route: Route
    folder_id: int = INBOX_ID


@dataclass(frozen=True, slots=True)
class Envelope:
    """`reverse_path` is "" for the null sender (RFC 5321 §4.5.5). `trace_id` is the session's name in logs."""

    reverse_path: str
    recipients: tuple[Recipient, ...]
    source: Source
    received_at: datetime
    trace_id: str = ""
