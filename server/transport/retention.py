"""What is forgotten in time: fingerprints of accepted messages, the old end of the change log, counts of volumes."""

from __future__ import annotations

import asyncpg

from server.base.limits import STEP_MESSAGES
from server.mailbox.maintenance import trim_changes
from server.mailbox.trouble import connection
from server.transport import alarms, queries


async def trim(pool: asyncpg.Pool) -> int:
    """One piece of it; returns how much was forgotten. For the jobs role."""
    return await trim_changes(pool) + await _trim_fingerprints(pool) + await alarms.forget(pool)


async def _trim_fingerprints(pool: asyncpg.Pool) -> int:
    async with connection(pool) as acquired:
        return int((await acquired.execute(queries.FORGET_OLD, STEP_MESSAGES)).rpartition(" ")[2])
