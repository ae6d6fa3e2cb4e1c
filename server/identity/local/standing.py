"""What an operator sees of a holder's account, and the way to begin anew with one who lost everything."""

from __future__ import annotations

import asyncpg

from crypto.edge import EdgeKeys
from server.audit.trail import Audit
from server.base import clock
from server.identity.local import queries
from server.identity.local.model import Standing
from server.identity.sessions import queries as session_queries


async def of_mailbox(connection: asyncpg.Connection, owner_id: int) -> Standing:
    """Password, recovery codes and provisional code of a mailbox that is here."""
    (row,) = await connection.fetch(queries.STANDING, owner_id)
    return Standing(row["set_at"], row["used_on"], row["recovery_codes"], row["invited_at"], row["expires_at"])


async def forget(connection: asyncpg.Connection, owner_id: int) -> None:
    """Nothing proves the holder any more, no browser is known, and every session ends. In the caller's transaction."""
    for statement in queries.RESET:
        await connection.execute(statement, owner_id)
    await connection.execute(session_queries.END_ALL, owner_id)


async def sweep(pool: asyncpg.Pool) -> None:
    """Delete what has ended; nothing depends on when this runs. For the jobs role."""
    await pool.execute(queries.FORGET_INVITATIONS, clock.now())


async def reset(connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int, actor: str) -> None:
    """`forget`, for a holder who is invited again."""
    async with connection.transaction():
        await forget(connection, owner_id)
        await Audit(edge).account_changed(connection, actor, owner_id, "reset")
