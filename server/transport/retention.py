"""What is forgotten in time: fingerprints of accepted messages, the old end of the change log, counts of volumes."""

from __future__ import annotations

import asyncpg

from server.base import clock
from server.mailbox.maintenance import trim_changes
from server.mailbox.trouble import connection
from server.transport import alarms, queries
from server.transport.commit import stale_slot


async def trim(pool: asyncpg.Pool) -> int:
    """One piece of it; returns how much was forgotten. For the jobs role."""
    return await trim_changes(pool) + await _trim_fingerprints(pool) + await alarms.forget(pool)


async def _trim_fingerprints(pool: asyncpg.Pool) -> int:
    # Tomorrow's slot holds what was accepted six days ago and nothing later.
    slot = stale_slot(clock.now().date())
    async with connection(pool) as acquired:
        if not await acquired.fetchval(queries.SLOT_USED, slot):
            return 0
        await acquired.execute(queries.EMPTY_SLOT.format(slot=slot))
    return 1
