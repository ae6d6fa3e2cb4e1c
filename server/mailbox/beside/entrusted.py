"""S/MIME keys that the holder of a mailbox entrusted, and their certificates: they open what comes encrypted.

Several stand side by side, for senders go on to encrypt to the former certificate for a while.
"""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
from cryptography.hazmat.primitives.serialization import Encoding

from crypto.edge import EdgeKeys
from crypto.errors import IntegrityError
from crypto.pki.issue import Issued
from server.audit.trail import Audit
from server.mailbox.beside import queries
from server.mailbox.keys import OwnerKey

LABEL = "entrusted key"
_BETWEEN = b"\n\n"  # PEM has no empty line


async def entrust(connection: asyncpg.Connection, edge: EdgeKeys, key: OwnerKey, given: Issued, actor: str) -> None:
    """Keep a key; the same certificate again changes nothing."""
    token = _token(key, given)
    sealed = key.wrap_own(LABEL, token, given.certificate_pem() + _BETWEEN + given.key_pem())
    async with connection.transaction():
        await connection.execute(queries.ENTRUST, key.owner_id, token, sealed)
        subject = given.certificate.subject.rfc4514_string()
        await Audit(edge).key_entrusted(connection, actor, key.owner_id, subject)


async def withdraw(connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int, actor: str) -> int:
    """Forget all keys of a mailbox; returns how many there were."""
    async with connection.transaction():
        gone = len(await connection.fetch(queries.WITHDRAW, owner_id))
        if gone:
            await Audit(edge).keys_withdrawn(connection, actor, owner_id, gone)
    return gone


async def sealed(connection: asyncpg.Connection, owner_id: int) -> Sequence[asyncpg.Record]:
    """The rows of a mailbox, for `opened`."""
    return await connection.fetch(queries.ENTRUSTED, owner_id)


def opened(key: OwnerKey, row: asyncpg.Record) -> Issued:
    """A key and its certificate. Raises IntegrityError, CryptoError."""
    certificate, _, private = key.unwrap_own(LABEL, row["token"], row["sealed"]).partition(_BETWEEN)
    given = Issued.of(certificate, private)
    if _token(key, given) != row["token"]:
        raise IntegrityError("this entrusted key has another's token")
    return given


def _token(key: OwnerKey, given: Issued) -> bytes:
    return key.own_token(LABEL, given.certificate.public_bytes(Encoding.DER))
