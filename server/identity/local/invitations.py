"""Provisional codes: how the holder of a mailbox that was made for them takes it.

- A code has 20 letters: four that find it, fifteen secret ones (74 bits), a check letter. It is shown once to whoever
  hands it on, and kept as a keyed hash that binds mailbox and end.
- A try counts against the code that its first letters find, not against the mailbox: who knows an address alone cannot
  use up its holder's code. The network that tries is counted too.
- Whatever is wrong (address, code, used, too late, too many tries), the answer is one.
- It is used up by what it was for: in the transaction that keeps the password or passkey.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from crypto import blind_index
from crypto.edge import EdgeKeys
from server.audit.trail import Audit
from server.base import clock
from server.base.errors import Reason, Refused, TryLater
from server.base.limits import INVITATION_DAYS, INVITATION_TRIES
from server.identity.local import codes, queries
from server.identity.local.model import LOCAL_KINDS, Holder
from server.identity.local.seal import keyed
from server.identity.throttle import Throttle
from server.mail.addresses import normalise

LETTERS = 20
_FINDING = 4
_LIFE = timedelta(days=INVITATION_DAYS)


@dataclass(frozen=True, slots=True)
class Invited:
    """Who showed a right code; `mark` is which."""

    holder: Holder
    mark: bytes


async def invite(connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int, actor: str) -> tuple[str, datetime]:
    """A new code, in place of one before, and its end. Raises Refused(NOT_ALLOWED): it is no mailbox of a patient."""
    rows = await connection.fetch(queries.KINDS, [owner_id])
    if not rows or rows[0]["kind"] not in LOCAL_KINDS:
        raise Refused(Reason.NOT_ALLOWED, "Patients sign in by an account here; others by their identity provider.")
    code, now = codes.make(LETTERS), clock.now()
    end = now + _LIFE
    async with connection.transaction():
        mark = _hash(edge, owner_id, code, end)
        await connection.execute(queries.INVITE, owner_id, code[:_FINDING], mark, now, end)
        await Audit(edge).account_changed(connection, actor, owner_id, "invited", until=str(end))
    return codes.shown(code), end


async def redeem(
    pool: asyncpg.Pool, edge: EdgeKeys, throttle: Throttle, address: str, typed: str, network: str
) -> Invited:
    """Who shows this code. It stays good until it is used. Raises Refused(BAD_CREDENTIALS), TryLater(THROTTLED)."""
    account = normalise(address)
    attempt = await throttle.attempt(f"activation {account}", network, None)
    if attempt.closed:
        raise TryLater(Reason.THROTTLED, "Too many wrong codes from this network.")
    now = clock.now()
    # What cannot be a code is looked for like one: the answer takes the same steps.
    code = codes.read(typed, LETTERS) or ""
    row = await pool.fetchrow(queries.ACCOUNT, blind_index.token(edge.address, account))
    holder = Holder(row["owner_id"], account, row["kind"]) if row is not None else Holder(0, account, "")
    owner_id = holder.owner_id
    found = await pool.fetchrow(queries.TRY_INVITATION, owner_id, code[:_FINDING], INVITATION_TRIES, now)
    expected = _hash(edge, owner_id, code, found["expires_at"] if found else now)
    if not hmac.compare_digest(expected, found["hash"] if found else bytes(len(expected))):
        raise Refused(Reason.BAD_CREDENTIALS, "Address or code not accepted.")
    await pool.execute(queries.RIGHT_INVITATION, owner_id, expected)
    await throttle.right(attempt)
    return Invited(holder, expected)


async def use(connection: asyncpg.Connection, owner_id: int, mark: bytes) -> None:
    """Use a code up. Raises Refused(BAD_CREDENTIALS): it was used, replaced, or has ended."""
    if not await connection.fetchval(queries.USE_INVITATION, owner_id, mark, clock.now()):
        raise Refused(Reason.BAD_CREDENTIALS, "This code is no longer good.")


def _hash(edge: EdgeKeys, owner_id: int, code: str, end: datetime) -> bytes:
    return keyed(edge, "invitation", owner_id, code, end.timestamp().hex())
