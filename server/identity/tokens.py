"""Access tokens of identity providers, which practice software brings by XOAUTH2 and OAUTHBEARER.

The verifier says whose token it is, by the numbers of the mailboxes that the person holds; which of them, or of those
shared with them, is opened, is for the accounts. Tokens are looked at once, at sign-in, and never kept: those of Pro
Santé Connect live two minutes, the session that one opens as long as the accounts say.

The development provider stands in for a real one where `identity.development_sign_in` is set, which production refuses.
Its tokens name their kind in clear ("caducee-development."), live ten minutes and hold the address encrypted: whoever
finds one in a terminal's history reads no INS in it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import asyncpg
import structlog

from crypto import blind_index
from crypto.edge import EdgeKeys
from crypto.errors import CryptoError
from crypto.sealing import unwrap, wrap
from server.base import clock
from server.base.settings import Settings
from server.identity import holders, queries
from server.identity.oidc.faults import NotProven
from server.identity.questions import Asker, asker

log = structlog.get_logger()

DEVELOPMENT_LIFE = timedelta(minutes=10)
_PREFIX = "caducee-development."
_CONTEXT = b"development token 1"


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a token proves: the numbers of the person's own mailboxes, a name for the trail, the kind of proof."""

    owner_ids: tuple[int, ...]
    name: str
    how: str


class TokenVerifier(Protocol):
    """What an identity provider's room offers to sign-in."""

    async def verify(self, token: str) -> Person | None:
        """Whose token this is, now; None when it is nobody's (any more). Raises TryLater when nobody can say."""


class ProviderTokens:
    """Those of the providers of the settings, which the role `identity` asks about."""

    def __init__(self, asker: Asker, settings: Settings, pool: asyncpg.Pool, edge: EdgeKeys) -> None:
        self._asker = asker
        self._settings = settings
        self._pool = pool
        self._edge = edge

    async def verify(self, token: str) -> Person | None:
        try:
            found = await self._asker.token(token)
            person = holders.named(self._settings, found.provider, found.subject, found.national_id)
            held = await holders.admitted(self._pool, self._edge, person)
        except NotProven as fault:
            log.info("token_refused", fault=fault.fault)
            return None
        return Person(held.owner_ids, held.name, found.provider)


class DevelopmentTokens:
    """Makes and verifies the development provider's tokens."""

    def __init__(self, pool: asyncpg.Pool | asyncpg.Connection, edge: EdgeKeys) -> None:
        self._pool = pool
        self._edge = edge
        self._key = hmac.digest(edge.credential, _CONTEXT, hashlib.sha256)

    def make(self, address: str) -> str:
        """A token for the mailbox of a normalised address, good for DEVELOPMENT_LIFE."""
        until = int((clock.now() + DEVELOPMENT_LIFE).timestamp())
        sealed = wrap(self._key, f"{until} {address}".encode(), _CONTEXT)
        return _PREFIX + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    async def verify(self, token: str) -> Person | None:
        sealed = token.removeprefix(_PREFIX)
        if sealed == token:
            return None
        try:
            octets = binascii.a2b_base64(sealed.translate(_STANDARD) + "=" * (-len(sealed) % 4), strict_mode=True)
            until, _, address = unwrap(self._key, octets, _CONTEXT).decode().partition(" ")
        except (CryptoError, binascii.Error):
            return None
        if clock.now() >= datetime.fromtimestamp(int(until), UTC):
            return None
        owner_id = await self._pool.fetchval(queries.OWNER_OF, blind_index.token(self._edge.address, address))
        return None if owner_id is None else Person((owner_id,), address, "development-token")


_STANDARD = str.maketrans("-_", "+/")


def verifier(settings: Settings, pool: asyncpg.Pool, edge: EdgeKeys) -> TokenVerifier | None:
    """The verifier of the configured provider; None without one: token mechanisms are then not offered."""
    asks = asker(settings)
    if asks is not None and any(one.software for one in settings.identity.providers.values()):
        return ProviderTokens(asks, settings, pool, edge)
    if settings.identity.development_sign_in and not settings.production:
        return DevelopmentTokens(pool, edge)
    return None
