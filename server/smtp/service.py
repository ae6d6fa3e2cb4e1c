"""What the sessions of one worker share: settings, those who answer their questions, memory, the list of sessions."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from server.base.limits import SMTP_SESSIONS, WORKER_BUFFER_BYTES
from server.base.log import Pseudonyms
from server.identity.accounts import Accounts
from server.transport.accept import Acceptor
from server.transport.envelope import SourceKind
from server.transport.policy import Policy
from server.trust.follow import Follower

if TYPE_CHECKING:
    from server.mailbox.beside.handed import Handed
    from server.smtp.connection import Connection


class Budget:
    """Octets of messages in flight in this worker; past the limit new mail waits at the sender's (452)."""

    def __init__(self, limit: int = WORKER_BUFFER_BYTES) -> None:
        self._limit = limit
        self.used = 0

    def take(self, octets: int) -> bool:
        """Count `octets` more; False, and nothing counted, when they do not fit."""
        if self.used + octets > self._limit:
            return False
        self.used += octets
        return True

    def give(self, octets: int) -> None:
        self.used -= octets


@dataclass
class Service:
    """One role's SMTP: submission (accounts sign in) or relay (peers show a certificate)."""

    kind: SourceKind
    hostname: str
    tls: ssl.SSLContext
    policy: Policy
    acceptor: Acceptor
    pseudonyms: Pseudonyms
    log: Any
    max_message_bytes: int
    accounts: Accounts | None = None  # of submission alone
    handed: Handed | None = None  # what URLs hand over; of submission alone
    budget: Budget = field(default_factory=Budget)
    sessions: set[Connection] = field(default_factory=set)
    max_sessions: int = SMTP_SESSIONS
    draining: bool = False
    emptied: asyncio.Event = field(default_factory=asyncio.Event)  # set when the last session ends
    trust: Follower | None = None  # what keeps the policy's trust space up to date, to be ended with the edge
    follows: bool = False  # pointers to large messages
