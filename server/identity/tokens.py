"""Access tokens of identity providers, which practice software brings by XOAUTH2 and OAUTHBEARER.

The verifier says whose token it is, by the numbers of the mailboxes that the person holds; which of them, or of those
shared with them, is opened, is for the accounts. Tokens are looked at once, at sign-in, and never kept: those of Pro
Santé Connect live two minutes, the session that one opens as long as the accounts say.
"""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg
import structlog

from crypto.edge import EdgeKeys
from server.base.settings import Settings
from server.identity import holders
from server.identity.oidc.faults import NotProven
from server.identity.questions import Asker, asker

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a token proves: the numbers of the person's own mailboxes, a name for the trail, the kind of proof."""

    owner_ids: tuple[int, ...]
    name: str
    how: str


class ProviderTokens:
    """Asks the role `identity`, which asks the provider."""

    def __init__(self, asker: Asker, settings: Settings, pool: asyncpg.Pool, edge: EdgeKeys) -> None:
        self._asker = asker
        self._settings = settings
        self._pool = pool
        self._edge = edge

    async def verify(self, token: str) -> Person | None:
        """Whose token this is, now; None when it is nobody's (any more). Raises TryLater when nobody can say."""
        try:
            found = await self._asker.token(token)
            person = holders.named(self._settings, found.provider, found.subject, found.national_id)
            held = await holders.admitted(self._pool, self._edge, person)
        except NotProven as fault:
            log.info("token_refused", fault=fault.fault)
            return None
        return Person(held.owner_ids, held.name, found.provider)


def verifier(settings: Settings, pool: asyncpg.Pool, edge: EdgeKeys) -> ProviderTokens | None:
    """The verifier of the configured providers; None where no software has tokens: the mechanisms are not offered."""
    asks = asker(settings)
    if asks is not None and any(one.software for one in settings.identity.providers.values()):
        return ProviderTokens(asks, settings, pool, edge)
    return None
