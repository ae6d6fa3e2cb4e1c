"""What a session is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class SignIn(StrEnum):
    """Which proof opened a session."""

    DEVELOPMENT = "development"
    PASSKEY = "passkey"
    PASSWORD = "password"  # noqa: S105 -- with a one-time code
    PROVIDER = "provider"  # an identity provider of the settings; the session names it


@dataclass(frozen=True, slots=True)
class Proof:
    """How a person proved who they are. `at` None: just now.

    Of a provider: its name in the settings, how sure it was (acr), the person's keyed token (`holders`), its own names
    for its session and for the person, and the ID token.
    """

    how: SignIn
    at: datetime | None = None
    provider: str = ""
    acr: str = ""
    holder: bytes | None = None
    sid: str = field(default="", repr=False)
    subject: str = field(default="", repr=False)
    hint: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    """One person in one browser. `session_id` (32 hexadecimal digits) names it in lists and opens nothing.

    `owner_id` is the mailbox that is open. `person_id` is the person's own one, by which they signed in, and
    `delegate_id` their own one to which the open one is shared; None where the open one is theirs.
    """

    session_id: str
    person_id: int
    owner_id: int
    delegate_id: int | None
    holder: bytes | None
    how: SignIn
    provider: str
    acr: str
    agent: str
    opened_at: datetime
    seen_at: datetime
    expires_at: datetime
    proved_at: datetime


@dataclass(frozen=True, slots=True)
class Opened:
    """A session just opened and the token for its cookie: 43 characters, shown this once."""

    session: Session
    token: str = field(repr=False)
