"""The addresses here that a mistyped one may mean: of published mailboxes alone, never of unlisted ones or patients."""

from __future__ import annotations

from typing import Any

import asyncpg

from directory.folding import distance, mistakes, near, words
from directory.own import queries

CANDIDATES = 200  # that share a key with it, before their distance is counted


async def nearest(pool: asyncpg.Pool[Any] | asyncpg.Connection[Any], address: str, limit: int) -> list[str]:
    """At most `limit` addresses of its domain within a typing mistake or two before the "@", the nearest first."""
    _, _, domain = address.rpartition("@")
    asked = _letters(address)
    if not (keys := near_keys(address)):
        return []
    rows = await pool.fetch(queries.NEAR, keys, domain, len(address), CANDIDATES)
    most = mistakes(asked)
    gaps = ((distance(asked, _letters(row["address"]), most), row["address"]) for row in rows)
    return [found for gap, found in sorted(gaps) if gap <= most][:limit]


def near_keys(address: str) -> list[str]:
    """Keys that the name before "@" shares with it mistyped, whatever parts it; digits are left to the distance."""
    return near("".join(letter for letter in _letters(address) if not letter.isdigit()))


def _letters(address: str) -> str:
    return "".join(words(address.rpartition("@")[0]))
