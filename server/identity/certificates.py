"""Client certificates of APP mailboxes: which key opens which mailbox.

A certificate is known by its public key, not by its names: all software of an organisation has the same subject, and
only the key is one software's own (docs/decisions, client certificates). One key may open several mailboxes.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from crypto.edge import EdgeKeys
from crypto.errors import CryptoError
from crypto.pki.client import ClientCertificate
from crypto.sealing import unwrap, wrap
from server.audit.trail import Audit
from server.base import clock
from server.base.errors import Reason, Refused, TryLater
from server.identity import queries
from server.trust.space import TrustSpace

KINDS = ("APP",)  # référentiel MSSanté: mailboxes of software; people sign in as people


@dataclass(frozen=True, slots=True)
class Bound:
    """A certificate of a mailbox, for its operator's list."""

    certificate_id: int
    subject: str
    not_after: datetime


async def bind(
    connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int, address: str, certificate: ClientCertificate
) -> None:
    """Let this certificate open the mailbox whose normalised address is given; a second time changes nothing.

    Raises Refused(NOT_ALLOWED): the mailbox is not of a program.
    """
    if await connection.fetchval(queries.KIND, owner_id) not in KINDS:
        raise Refused(Reason.NOT_ALLOWED, "A certificate opens a mailbox of type APP alone.")
    sealed = wrap(_key(edge), address.encode(), _context(owner_id, certificate.key_hash))
    async with connection.transaction():
        added = await connection.fetchval(
            queries.ADD_CERTIFICATE,
            owner_id,
            certificate.key_hash,
            sealed,
            certificate.subject,
            certificate.not_after,
            clock.now(),
        )
        if added is not None:
            await Audit(edge).certificate_bound(connection, "operator", owner_id, certificate.subject)


async def of_mailbox(connection: asyncpg.Connection, owner_id: int) -> list[Bound]:
    """The mailbox's certificates, the oldest first."""
    return [Bound(*row) for row in await connection.fetch(queries.CERTIFICATES, owner_id)]


async def remove(
    connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int, certificate_id: int, actor: str = "operator"
) -> bool:
    """Take a certificate from a mailbox; False when it had none of this number."""
    async with connection.transaction():
        subject = await connection.fetchval(queries.REMOVE_CERTIFICATE, owner_id, certificate_id)
        if subject is not None:
            await Audit(edge).certificate_removed(connection, actor, owner_id, subject)
    return subject is not None


async def mailboxes(pool: asyncpg.Pool, edge: EdgeKeys, key_hash: bytes) -> list[tuple[int, str]]:
    """Owner number and address of each open APP mailbox that this key opens."""
    found = []
    for owner_id, sealed in await pool.fetch(queries.BY_CERTIFICATE, key_hash, list(KINDS)):
        try:
            found.append((owner_id, unwrap(_key(edge), sealed, _context(owner_id, key_hash)).decode()))
        except CryptoError:
            continue  # written by somebody without the edge's secret: it opens nothing
    return found


def is_revoked(trust: TrustSpace, shown: Sequence[bytes], now: datetime) -> bool:
    """Whether a certificate with its path (DER), which TLS verified, is known to be revoked.

    Raises TryLater(REVOCATION_UNKNOWN) where it must be known and is not.
    """
    objection = trust.objection(trust.peer(shown).path, now)
    if isinstance(objection, TryLater):
        raise objection
    return objection is not None


def _key(edge: EdgeKeys) -> bytes:
    return hmac.digest(edge.credential, b"client certificate 1", hashlib.sha256)


def _context(owner_id: int, key_hash: bytes) -> bytes:
    return b"client certificate 1\0" + owner_id.to_bytes(8, "big") + key_hash
