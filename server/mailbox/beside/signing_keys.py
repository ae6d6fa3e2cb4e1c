"""By what a mailbox signs: keys with certificates of our own authority, sealed under the mailbox's key.

The operator's commands make them, since the authority's key is in no running process; who has opened the mailbox signs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import asyncpg

from crypto.pki.issue import FINESS_TYPE, RPPS_TYPE, Holder, Issued, issue
from crypto.pki.profile import Profile, ProfileName
from server.mailbox.beside import queries
from server.mailbox.keys import OwnerKey
from server.mailbox.model import Identity

LABEL: Final = "signing key"  # binds what is sealed to this use
_NAME_OCTETS: Final = 64  # RFC 5280 appendix A.1, ub-common-name
_END: Final = b"-----END CERTIFICATE-----\n"


def issued(authority: Issued, identity: Identity, now: datetime, published: str) -> Issued:
    """A key and certificate for a mailbox. It says the address, the name and a professional's numbers: no INS."""
    subject = {"common_name": identity.name.encode()[:_NAME_OCTETS].decode(errors="ignore") or identity.address[:64]}
    if identity.rpps:
        subject["serial_number"] = RPPS_TYPE + identity.rpps
    if identity.finess:
        subject["organisation_unit"] = FINESS_TYPE + identity.finess
    holder = Holder(subject, [identity.address])
    return issue(authority, Profile.load(ProfileName.MAILBOX), holder, now, published=published)


async def add(connection: asyncpg.Connection, key: OwnerKey, made: Issued, now: datetime) -> None:
    """Sign with this from now on; those that have ended are forgotten."""
    sealed = key.wrap_own(LABEL, place(now), made.certificate_pem() + made.key_pem())
    await connection.execute(queries.DROP_SIGNING_KEYS, key.owner_id, now)
    await connection.execute(queries.ADD_SIGNING_KEY, key.owner_id, now, made.certificate.not_valid_after_utc, sealed)


async def at(connection: asyncpg.Connection, key: OwnerKey, moment: datetime) -> Issued | None:
    """What signs a message of this Date: the same however often it is asked. Raises IntegrityError, CryptoError."""
    row = await connection.fetchrow(queries.SIGNING_KEY_AT, key.owner_id, moment)
    return None if row is None else opened(key, row["made_at"], row["sealed"])


async def all_of(connection: asyncpg.Connection, key: OwnerKey) -> list[Issued]:
    """All that the mailbox has. Raises IntegrityError, CryptoError."""
    rows = await connection.fetch(queries.SIGNING_KEYS, key.owner_id)
    return [opened(key, row["made_at"], row["sealed"]) for row in rows]


async def drop(connection: asyncpg.Connection, owner_id: int) -> None:
    """Sign no more."""
    await connection.execute(queries.DROP_SIGNING_KEYS, owner_id, None)


def opened(key: OwnerKey, made_at: datetime, sealed: bytes) -> Issued:
    """Raises IntegrityError, CryptoError."""
    certificate, end, private = key.unwrap_own(LABEL, place(made_at), sealed).partition(_END)
    return Issued.of(certificate + end, private)


def place(made_at: datetime) -> bytes:
    """What a key is bound to."""
    return made_at.astimezone(UTC).isoformat().encode()
