"""Who speaks, once it is proven."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag


class Rights(IntFlag):
    """What a delegate may do with a shared mailbox. MANAGE goes with READ: to change it one must see it."""

    READ = 1  # open it and change nothing
    SEND = 2  # write as it
    MANAGE = 4  # flags, folders, deleting


OWN = Rights.READ | Rights.SEND | Rights.MANAGE


@dataclass(frozen=True, slots=True)
class Delegate:
    """Who speaks for a mailbox that is not theirs: own mailbox's number, name for the trail, rights.

    Somebody of a facility has no mailbox here (None); `facility` is then the key by which it is bound.
    """

    owner_id: int | None
    name: str
    rights: Rights
    facility: bytes = b""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who signed in to a mailbox.

    `kind` is the mailbox's kind (PER, ORG, APP, CAB, PATIENT); `address` the normalised address that was signed in
    with; `how` the proof ("app-password", "client-certificate", "facility", an identity provider's name). `delegate` is
    who acts, where it is not the holder; `until` when the session must end (None: when it likes).
    """

    owner_id: int
    address: str
    kind: str
    how: str
    delegate: Delegate | None = None
    until: datetime | None = None

    @property
    def actor(self) -> str:
        """Who acts, for the trail."""
        return self.delegate.name if self.delegate else self.address

    @property
    def rights(self) -> Rights:
        return self.delegate.rights if self.delegate else OWN
