"""Clients, people and what the provider keeps while it runs: nothing of it outlives the process."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

ACCESS_LIFE: Final = timedelta(minutes=2)  # Pro Santé Connect's
ID_TOKEN_LIFE: Final = ACCESS_LIFE
SESSION_LIFE: Final = timedelta(hours=4)  # Pro Santé Connect's
CODE_LIFE: Final = timedelta(seconds=60)
PENDING_LIFE: Final = timedelta(minutes=10)  # a person who chooses
CIBA_LIFE: Final = timedelta(minutes=2)
CIBA_INTERVAL: Final = 1  # seconds; CIBA Core §7.3 leaves it to the provider, five when it says nothing
KEPT: Final = 10_000  # of each kind at a time; one more pushes out the oldest

T = TypeVar("T")


class ProtocolError(Exception):
    """A request that is refused in the words of OAuth (RFC 6749 §5.2 and what builds on it)."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status


@dataclass(frozen=True, slots=True)
class Client:
    """A relying party. Its addresses are compared octet by octet (RFC 9700 §2.1)."""

    client_id: str
    name: str
    secret: str = field(repr=False)
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    backchannel_logout_uri: str = ""
    ciba: bool = False


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can sign in. `national_id` is the type digit and the number ("8" + RPPS). Without a profession there
    is no SubjectRefPro: a student, a registration that has expired."""

    national_id: str
    family_name: str
    given_name: str
    civility: str = "M"
    profession: str = ""
    category: str = "C"
    speciality: str = ""
    mode: str = "L"
    sector: str = "SA07"
    structure: str = ""
    structure_id: str = ""

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.family_name}".strip()


@dataclass(slots=True)
class Session:
    """A person signed in here, and the clients that were told so."""

    sid: str
    national_id: str
    auth_time: datetime
    acr: str
    clients: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Grant:
    """What one sign-in gave to one client; revoked, none of its tokens counts any more."""

    client: Client
    session: Session
    scope: str
    nonce: str = ""
    revoked: bool = False


@dataclass(slots=True)
class Code:
    """An authorization code; kept when used, so that a second use is seen (RFC 6749 §4.1.2)."""

    grant: Grant
    redirect_uri: str
    challenge: str
    until: datetime
    used: bool = False


@dataclass(slots=True)
class Refresh:
    """A refresh token; each is used once, and another follows it (RFC 9700 §4.14.2)."""

    grant: Grant
    used: bool = False


@dataclass(slots=True)
class Backchannel:
    """A CIBA request that waits for a person's word. `session` is there once it was agreed to."""

    auth_req_id: str
    client: Client
    national_id: str
    scope: str
    acr: str
    message: str
    until: datetime
    interval: float
    polled_at: datetime | None = None
    refused: bool = False
    session: Session | None = None


class Shelf(Generic[T]):
    """Things by their secret name, each for the same time, the oldest pushed out past KEPT."""

    def __init__(self, life: timedelta) -> None:
        self._life = life
        self._things: OrderedDict[str, tuple[datetime, T]] = OrderedDict()

    def put(self, name: str, thing: T, now: datetime) -> None:
        while self._things and (len(self._things) >= KEPT or next(iter(self._things.values()))[0] <= now):
            self._things.popitem(last=False)
        self._things[name] = (now + self._life, thing)

    def get(self, name: str, now: datetime) -> T | None:
        until, thing = self._things.get(name, (now, None))
        return thing if until > now else None

    def take(self, name: str, now: datetime) -> T | None:
        """What is there, which then is there no more."""
        thing = self.get(name, now)
        self._things.pop(name, None)
        return thing

    def all(self, now: datetime) -> list[T]:
        return [thing for until, thing in self._things.values() if until > now]
