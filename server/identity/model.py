"""Who speaks, once it is proven."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who signed in to a mailbox.

    `kind` is the mailbox's kind (PER, ORG, APP, CAB, PATIENT); `address` the normalised address that was signed in
    with; `how` the proof ("app-password").
    """

    owner_id: int
    address: str
    kind: str
    how: str
