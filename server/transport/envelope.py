"""The envelope of a message: who speaks, from whom, to whom. Plain values, filled by an edge after policy said yes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from crypto.smime.identity import Registration
from server.mailbox.model import INBOX_ID, Route
from server.transport.conversation.turn import Turn


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
    ("poste.cabinet.fr ([192.0.2.1])"); `protocol` its "with" word (RFC 3848: ESMTPSA, ESMTPS); `tls` a comment or "";
    `mailbox` the kind of the mailbox that wrote, where it is ours.
    """

    kind: SourceKind
    peer: str
    name: str = ""
    principal: int | None = None
    tls: str = ""
    protocol: str = "ESMTPS"
    mailbox: str = ""


class Notify(StrEnum):
    """What a sender wants to be told of a recipient (RFC 3461 §4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class Returned(StrEnum):
    """How much of the message a notification returns (RFC 3461 §4.3)."""

    FULL = "FULL"
    HEADERS = "HDRS"


class Body(StrEnum):
    """What the sender declared of the content (RFC 6152, RFC 3030 §3)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"
    BINARY = "BINARYMIME"


@dataclass(frozen=True, slots=True)
class Remote:
    """Where an address of another operator leads: its domain (A-labels) is in the trust space."""

    domain: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """An address as given in RCPT and where it leads; `folder_id` is INBOX unless a rule says otherwise.

    `notify` is empty when the sender did not ask (then FAILURE and DELAY are told: RFC 3461 §4.1); `original` is ORCPT
    as it was given ("rfc822;Zo+C3+A9@…"), "" without.
    """

    address: str
    route: Route | Remote
    folder_id: int = INBOX_ID
    notify: frozenset[Notify] = frozenset()
    original: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """`reverse_path` is "" for the null sender (RFC 5321 §4.5.5). `trace_id` is the session's name in logs.

    `envelope_id` is ENVID as it was given (xtext); `returned` None when not given; `require_tls` RFC 8689;
    `not_before` until when the sender wants it held (RFC 4865). What policy found in the content: `turn` in the
    conversation with a patient; `unproven` domains of From and Sender that the forwarding peer is not listed for;
    `registration` what the directory says of the author, None when it was not asked.
    """

    reverse_path: str
    recipients: tuple[Recipient, ...]
    source: Source
    received_at: datetime
    trace_id: str = ""
    envelope_id: str = ""
    returned: Returned | None = None
    body: Body = Body.EIGHT_BIT
    utf8: bool = False
    require_tls: bool = False
    not_before: datetime | None = None
    turn: Turn | None = None
    unproven: tuple[str, ...] = ()
    registration: Registration | None = None

    @property
    def local(self) -> tuple[Recipient, ...]:
        """The recipients whose mailbox is here."""
        return tuple(recipient for recipient in self.recipients if isinstance(recipient.route, Route))

    @property
    def remote(self) -> tuple[Recipient, ...]:
        """The recipients at other operators."""
        return tuple(recipient for recipient in self.recipients if isinstance(recipient.route, Remote))
