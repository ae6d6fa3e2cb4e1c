"""Gives tokens: to whom a certificate is shown that holds, for a mailbox that is bound to its key.

What is wrong with a mailbox (unknown, another's, no longer bound) is one answer; a certificate of the same organisation
is another key and gets it too. Each token is in the trail of its mailbox before it leaves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import asyncpg
from cryptography.hazmat.primitives.serialization import Encoding

from crypto.edge import EdgeKeys
from crypto.pki import client
from server.audit.trail import Audit
from server.base import clock
from server.base.harvest import Harvest
from server.base.limits import FACILITY_TOKENS, FACILITY_TOKENS_PER_SECOND
from server.facility.form import Asked, NotGiven
from server.identity import certificates
from server.identity.facility import bindings, tokens
from server.identity.throttle import Throttle, network_of
from server.trust.space import TrustSpace


@dataclass(frozen=True, slots=True)
class Given:
    """An access token and what it may do."""

    token: str = field(repr=False)
    scope: str


class TokenService:
    """One worker's."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys, trust: TrustSpace, log: Any) -> None:
        self._pool = pool
        self._edge = edge
        self._trust = trust
        self._log = log
        self._audit = Audit(edge)
        self._throttle = Throttle(pool, edge.credential)
        self._harvest = Harvest(FACILITY_TOKENS, FACILITY_TOKENS_PER_SECOND)

    async def give(self, shown: Sequence[bytes], network: str, asked: Asked) -> Given:
        """A token, to who showed this certificate and path (DER), from this IP address.

        Raises NotGiven; TryLater(REVOCATION_UNKNOWN), and as the pool does.
        """
        certificate = self._certificate(shown)
        self._not_too_many(certificate.key_hash.hex())
        opening = await bindings.opens(self._pool, self._edge, asked.mailbox, certificate.key_hash)
        if opening is None:
            if await self._throttle.failed(asked.mailbox, network):
                raise NotGiven("temporarily_unavailable", "Too many refused requests from this network.", 429, 60)
            raise NotGiven("unauthorized_client", "This certificate opens no such mailbox.")
        now = clock.now()
        key_hash, rights = certificate.key_hash, opening.rights
        peer = self._trust.peer(shown)
        path = tuple(one.public_bytes(Encoding.DER) for one in peer.path)
        words = [right.name or "" for right in rights]
        async with self._pool.acquire() as acquired, acquired.transaction():
            connection = cast(asyncpg.Connection, acquired)
            if path != opening.shown[: len(path)]:  # a TLS session that was resumed may show its beginning alone
                await bindings.keep_shown(connection, self._edge, opening.owner_id, key_hash, path)
            actor = asked.actor.named(opening.subject)
            facts = {"rights": words, "network": network_of(network)}
            await self._audit.facility(connection, actor, opening.owner_id, "admitted", **facts)
        # From now on the fetcher asks about its revocation.
        self._trust.note(peer.path, now.date())
        self._log.info("facility_admitted", owner=opening.owner_id)
        token = tokens.make(self._edge, asked.mailbox, key_hash, rights, asked.actor, now)
        return Given(token, " ".join(words).lower())

    def _certificate(self, shown: Sequence[bytes]) -> client.ClientCertificate:
        """Raises NotGiven(invalid_client), TryLater."""
        now = clock.now()
        if not shown:
            raise NotGiven("invalid_client", "Show your organisation's client certificate.", 401)
        try:
            certificate = client.read(shown[0], now)
        except client.ClientCertificateError as error:
            raise NotGiven("invalid_client", f"This certificate is none to sign in with: {error}.", 401) from None
        if certificates.is_revoked(self._trust, shown, now):
            raise NotGiven("invalid_client", "This certificate is revoked.", 401)
        return certificate

    def _not_too_many(self, name: str) -> None:
        moment = clock.monotonic()
        wait = self._harvest.wait(name, moment)
        if wait:
            raise NotGiven("temporarily_unavailable", "So many tokens are given only once.", 429, math.ceil(wait))
        self._harvest.took(name, 1, moment)
