"""Passkeys of holders: made, shown at sign-in, listed, taken away.

- A row is bound to its owner, and the answer must carry that owner's handle: a credential signs in to the mailbox that
  it was made for (WebAuthn §7.2 step 6).
- A challenge is answered once.
- A counter that goes back may be that of a copy: the passkey opens nothing any more, and its holder is told.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

import asyncpg

from crypto.edge import EdgeKeys
from server.audit.trail import Audit
from server.base import clock
from server.base.errors import Reason, Refused
from server.base.limits import CHALLENGE_SECONDS, PASSKEYS_PER_OWNER
from server.identity.local import alerts, ceremonies, invitations, queries
from server.identity.local.alerts import Happened
from server.identity.local.ceremonies import NoCredential, Place
from server.identity.local.enrolment import Ticket
from server.identity.local.model import Alert, Holder, Passkey
from server.identity.local.seal import keyed, opened, seal
from server.identity.sessions import queries as session_queries

_LABEL = "passkey"
_REFUSED = "Passkey not accepted."


async def options(
    connection: asyncpg.Connection, edge: EdgeKeys, place: Place, holder: Holder, name: str, issuer: str
) -> str:
    """What the holder's browser needs to make a passkey, as JSON. `name` is what the browser calls the account."""
    rows = await connection.fetch(queries.PASSKEYS, holder.owner_id)
    documents = [opened(edge, _LABEL, holder.owner_id, row["sealed"], row["token"]) for row in rows]
    known = [bytes.fromhex(document["id"]) for document in documents if document is not None]
    challenge = ceremonies.challenge(edge, place, clock.now())
    return ceremonies.creation_options(
        place, challenge, ceremonies.handle_of(edge, holder.owner_id), name, issuer, known
    )


async def add(pool: asyncpg.Pool, edge: EdgeKeys, place: Place, ticket: Ticket, response: str, label: str) -> None:
    """Keep the passkey that a browser has just made for a ticket's holder.

    Raises Refused: BAD_CREDENTIALS, LIMIT_REACHED (or it is there already).
    """
    now, holder = clock.now(), ticket.holder
    try:
        made, challenge = ceremonies.created(edge, place, response, now)
    except NoCredential:
        raise Refused(Reason.BAD_CREDENTIALS, _REFUSED) from None
    token = keyed(edge, "credential", made.credential_id.hex())
    document = {"id": made.credential_id.hex(), "key": made.public_key.hex(), "label": label}
    sealed = seal(edge, _LABEL, holder.owner_id, document, token)
    async with pool.acquire() as acquired, acquired.transaction():
        connection = cast(asyncpg.Connection, acquired)
        await _answered(connection, edge, challenge, now)
        if ticket.mark:
            await invitations.use(connection, holder.owner_id, ticket.mark)
        await connection.execute(queries.LOCK_OWNER, holder.owner_id)
        values = (holder.owner_id, token, sealed, made.counter, now, PASSKEYS_PER_OWNER)
        if await connection.fetchval(queries.ADD_PASSKEY, *values) is None:
            raise Refused(Reason.LIMIT_REACHED, "There are too many passkeys, or this one is here already.")
        await Audit(edge).account_changed(connection, holder.address, holder.owner_id, "passkey-added")
        await alerts.add(connection, edge, holder.owner_id, Happened(Alert.PROOF, now, label, ""))


async def sign_in(pool: asyncpg.Pool, edge: EdgeKeys, place: Place, response: str) -> int:
    """The mailbox of whoever shows a passkey. Raises Refused(BAD_CREDENTIALS)."""
    now = clock.now()
    refused = Refused(Reason.BAD_CREDENTIALS, _REFUSED)
    try:
        shown = ceremonies.shown(response)
        token = keyed(edge, "credential", shown.credential_id.hex())
        row = await pool.fetchrow(queries.PASSKEY, token)
        document = opened(edge, _LABEL, row["owner_id"], row["sealed"], token) if row is not None else None
        if row is None or document is None or shown.handle != ceremonies.handle_of(edge, row["owner_id"]):
            raise refused
        counter = ceremonies.counter_of(edge, place, response, bytes.fromhex(document["key"]), now)
    except NoCredential:
        raise refused from None
    async with pool.acquire() as acquired, acquired.transaction():
        connection = cast(asyncpg.Connection, acquired)
        await _answered(connection, edge, shown.challenge, now)
        used = await connection.fetchval(queries.USE_PASSKEY, row["owner_id"], row["passkey_id"], counter, now.date())
        if not used and row["doubted_at"] is None:
            await _doubt(connection, edge, row, document["label"], now)
    if not used:
        raise refused
    return int(row["owner_id"])


async def of_mailbox(connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int) -> list[Passkey]:
    """The holder's passkeys, the oldest first."""
    return [
        Passkey(row["passkey_id"], said["label"], row["created_at"], row["used_on"], row["doubted_at"])
        for row in await connection.fetch(queries.PASSKEYS, owner_id)
        if (said := opened(edge, _LABEL, owner_id, row["sealed"], row["token"])) is not None
    ]


async def remove(connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int, number: int, actor: str) -> bool:
    """Take a passkey away; False when there was none of this number.

    Raises Refused(NOT_ALLOWED): nothing else would prove the holder any more.
    """
    async with connection.transaction():
        await connection.execute(queries.LOCK_OWNER, owner_id)
        removed = await connection.fetchrow(queries.REMOVE_PASSKEY, owner_id, number)
        if removed is None:
            return False
        left = await connection.fetchrow(queries.PROOFS, owner_id)
        if left is None or not (left["passkeys"] or left["password"]):
            raise Refused(Reason.NOT_ALLOWED, "This is the last proof of who the holder is.")
        await Audit(edge).account_changed(connection, actor, owner_id, "passkey-removed", number=number)
    return True


async def _answered(connection: asyncpg.Connection, edge: EdgeKeys, challenge: bytes, now: datetime) -> None:
    """Take a challenge as answered. Raises Refused(BAD_CREDENTIALS): it was already."""
    hashed = keyed(edge, "answered", challenge.hex())
    end = now + timedelta(seconds=CHALLENGE_SECONDS)
    if not await connection.fetchval(session_queries.SPEND, hashed, end):
        raise Refused(Reason.BAD_CREDENTIALS, _REFUSED)


async def _doubt(
    connection: asyncpg.Connection, edge: EdgeKeys, row: asyncpg.Record, label: str, now: datetime
) -> None:
    owner_id, number = row["owner_id"], row["passkey_id"]
    if await connection.fetchval(queries.DOUBT_PASSKEY, owner_id, number, now):
        await Audit(edge).account_changed(connection, "web", owner_id, "passkey-doubted", number=number)
        await alerts.add(connection, edge, owner_id, Happened(Alert.COPY, now, label, ""))
