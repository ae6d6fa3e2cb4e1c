"""Certificates of members, mailboxes and our own, looked at every day and told before they hurt.

Told in log and trail when it is found and then once a week; `caducee doctor` and the metrics say what holds now.
No mail is stopped by it: a certificate that is refused is refused where it is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

import asyncpg
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crypto.edge import EdgeKeys
from crypto.pki.hygiene import Found, Held, Trouble, examine, held
from crypto.pki.standing import Status
from crypto.smime.anchors import TrustAnchors
from server.audit.trail import Audit
from server.base import clock, metrics
from server.base.sections import Edge
from server.base.settings import Settings
from server.identity import queries
from server.trust.follow import Follower
from server.trust.members import Peer
from server.trust.state import PEERS

LOOK_SECONDS = 24 * 3600.0
TOLD_AGAIN = timedelta(days=7)

Own = Sequence[tuple[str, Sequence[x509.Certificate]]]

log = structlog.get_logger()


def own_certificates(settings: Settings) -> Own:
    """The chains that our listening roles show; one that cannot be read is told by the role that needs it."""
    found: dict[bytes, tuple[str, Sequence[x509.Certificate]]] = {}
    for role, section in settings:
        if isinstance(section, Edge):
            try:
                chain = x509.load_pem_x509_certificates(settings.path(section.certificate).read_bytes())
            except (OSError, ValueError):
                continue
            found.setdefault(chain[0].public_bytes(Encoding.DER), (f"our own, of {role}", chain))
    return list(found.values())


class Hygiene:
    """The daily look. For the jobs role; several workers tell each trouble once."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys, trust: Follower, anchors: TrustAnchors, own: Own) -> None:
        """`trust` teaches `anchors` what is revoked."""
        self._pool = pool
        self._audit = Audit(edge)
        self._trust = trust
        self._anchors = anchors
        self._own = own

    async def look(self) -> None:
        """Find what is wrong now; tell what is new."""
        now = clock.now()
        async with self._pool.acquire() as acquired:
            connection = cast(asyncpg.Connection, acquired)
            found = await self.find(connection, now)
            counts = Counter(one.trouble for one in found)
            for trouble in Trouble:
                metrics.CERTIFICATES.labels(trouble.value).set(counts[trouble])
            async with connection.transaction():
                told = await connection.fetch(
                    queries.KEEP_TROUBLES,
                    [one.trouble.value for one in found],
                    [_name(one) for one in found],
                    [one.held.owner_id for one in found],
                    [one.held.not_after for one in found],
                    now,
                    now - TOLD_AGAIN,
                )
                await connection.execute(queries.FORGET_TROUBLES, now)
                for row in told:
                    await self._audit.certificate_troubled(connection, row["owner_id"], row["kind"], row["name"])
        for row in told:
            log.warning("certificate_troubled", kind=row["kind"], name=row["name"], until=str(row["until"]))

    async def find(self, connection: asyncpg.Connection, now: datetime) -> list[Found]:
        """Every trouble now."""
        await self._trust.look()
        revocations = self._anchors.revocations
        known: list[Held] = []
        for holder, chain in self._own:
            leaf, *others = chain
            ders = [one.public_bytes(Encoding.DER) for one in others]
            path = self._anchors.path(leaf, leaf.public_bytes(Encoding.DER), ders, now)
            known.append(held(holder, leaf, revoked=revocations.judge(path, now).status is Status.REVOKED))
        for row in await connection.fetch(queries.PEERS, PEERS):
            try:
                peer = Peer.from_path(row["path"])
            except ValueError:
                continue  # somebody wrote to the database: no operator's certificate
            revoked = revocations.judge(peer.path, now).status is Status.REVOKED
            known.append(held(f"operator {peer.text}", peer.path[0], revoked=revoked))
        for owner_id, key_hash, subject, not_after in await connection.fetch(queries.HELD_CERTIFICATES):
            # One key may open several mailboxes of a holder: the subject is who has it.
            known.append(Held(f"software {subject}", key_hash, not_after, owner_id=owner_id))
        return examine(known, now)


def _name(one: Found) -> str:
    shared = f" (the same key as {'; '.join(one.others)})" if one.others else ""
    return f"{one.held.holder}{shared}"
