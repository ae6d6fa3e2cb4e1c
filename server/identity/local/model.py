"""What local accounts are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

# référentiel MSSanté: professionals prove who they are by Pro Santé Connect or a card; software by its certificate.
LOCAL_KINDS = ("PATIENT",)


class Alert(StrEnum):
    """What a holder is told by a message into the own mailbox."""

    BROWSER = "browser"  # a browser signed in that never did before
    PROGRAM = "program"  # an app password was used for the first time
    PROOF = "proof"  # a password or passkey was set or made
    GUESSES = "guesses"  # so many wrong passwords that new browsers need a stronger proof for a day
    COPY = "copy"  # a passkey's counter went back


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody who has proven whose mailbox this is: its number, its normalised address, its kind."""

    owner_id: int
    address: str = field(repr=False)
    kind: str


@dataclass(frozen=True, slots=True)
class Passkey:
    """A passkey, for its holder's list. `doubted_at`: since when it opens nothing, for there may be a copy of it."""

    number: int
    label: str
    made_at: datetime
    used_on: date | None
    doubted_at: datetime | None


@dataclass(frozen=True, slots=True)
class Device:
    """A browser that signed in, for its holder's list: its kind ("Firefox, Linux"), and where it came from last."""

    number: int
    agent: str
    network: str
    first_at: datetime
    used_at: datetime
    is_this: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a mailbox has a password (since when, its last use), how many recovery codes are left, and whether a
    provisional code waits for its holder (None: no)."""

    password_set_at: datetime | None
    password_used_on: date | None
    recovery_codes: int
    invited_at: datetime | None
    invitation_ends_at: datetime | None
