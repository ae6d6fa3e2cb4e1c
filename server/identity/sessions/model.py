"""What a session is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class SignIn(StrEnum):
    """Which proof opened a session. Real providers (Pro Santé Connect, a patient's identity provider) add rows."""

    DEVELOPMENT = "development"


@dataclass(frozen=True, slots=True)
class Session:
    """One person in one browser. `session_id` (32 hexadecimal digits) names it in lists and opens nothing."""

    session_id: str
    owner_id: int
    how: SignIn
    agent: str
    opened_at: datetime
    seen_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Opened:
    """A session just opened and the token for its cookie: 43 characters, shown this once."""

    session: Session
    token: str = field(repr=False)
