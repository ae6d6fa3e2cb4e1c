"""Sign-in with a facility's token: looked at against what is bound, and not revoked, at that moment."""

from __future__ import annotations

from datetime import timedelta

import asyncpg

from crypto.edge import EdgeKeys
from crypto.pki import client
from server.base import clock
from server.base.limits import SIGN_IN_SESSION_SECONDS
from server.base.settings import Settings
from server.identity import certificates
from server.identity.facility import bindings, tokens
from server.identity.model import Delegate, Principal, Rights
from server.trust.space import TrustSpace

HOW = "facility"


class FacilityTokens:
    """The verifier of one edge; `trust` knows what is revoked."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys, trust: TrustSpace) -> None:
        self._pool = pool
        self._edge = edge
        self._trust = trust

    async def opened(self, token: str, mailbox: str, needs: Rights) -> Principal | None:
        """The mailbox that the token is for, "" or its normalised address given; None: it opens nothing (any more).

        Raises TryLater(REVOCATION_UNKNOWN), and as the pool does.
        """
        now = clock.now()
        access = tokens.read(self._edge, token, now)
        if access is None or mailbox not in ("", access.mailbox):
            return None
        opening = await bindings.opens(self._pool, self._edge, access.mailbox, access.key_hash)
        rights = access.rights & opening.rights if opening else Rights(0)
        if opening is None or not needs & rights or not self._holds(opening.shown, access.key_hash):
            return None
        until = now + timedelta(seconds=SIGN_IN_SESSION_SECONDS)
        until = min(until, opening.until or until)
        delegate = Delegate(None, access.actor.named(opening.subject), rights, access.key_hash)
        return Principal(opening.owner_id, access.mailbox, opening.kind, HOW, delegate, until)

    def _holds(self, shown: tuple[bytes, ...], key_hash: bytes) -> bool:
        """Whether the certificate that was last shown is still one to sign in with."""
        now = clock.now()
        try:
            return (
                bool(shown)
                and client.read(shown[0], now).key_hash == key_hash
                and not certificates.is_revoked(self._trust, shown, now)
            )
        except client.ClientCertificateError:
            return False


def facility_tokens(settings: Settings, pool: asyncpg.Pool, edge: EdgeKeys, trust: TrustSpace) -> FacilityTokens | None:
    """The verifier; None where facilities are given no tokens."""
    return FacilityTokens(pool, edge, trust) if settings.facility.workers else None
