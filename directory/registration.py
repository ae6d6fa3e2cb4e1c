"""What the directory says of one address, for who checks a signature: asked seldom, and kept for some minutes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import asyncpg

from crypto.smime.identity import Registration
from directory import queries

KEPT = 10_000  # addresses that write; an entry is about 500 bytes
KEPT_SECONDS = 600.0  # the directory is loaded once a day


class Registrations:
    """Asks and remembers for one process."""

    def __init__(self, pool: asyncpg.Pool[Any] | asyncpg.Connection[Any]) -> None:
        self._pool = pool
        self._kept: OrderedDict[str, tuple[Registration | None, float]] = OrderedDict()

    async def of(self, address: str, now: float) -> Registration | None:
        """What is registered for a normalised address at the monotonic moment `now`; None: no directory is loaded."""
        kept = self._kept.get(address)
        if kept is not None and kept[1] > now:
            return kept[0]
        row = await self._pool.fetchrow(queries.REGISTRATION, address)
        found = None if row is None else _registration(row)
        self._kept[address] = found, now + KEPT_SECONDS
        self._kept.move_to_end(address)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found


def _registration(row: asyncpg.Record) -> Registration:
    if row["kind"] is None:
        return Registration(active=False)
    national_id = row["national_id"]
    finess = frozenset(number for number in (row["finess"], row["legal_finess"]) if number)
    # Identification nationale PP: "8" + RPPS
    rpps = national_id[1:] if national_id.startswith("8") else ""
    return Registration(True, row["kind"], rpps, finess, row["siret"] or "")
