"""One reading of content, which stands in the trail before the first octet of it leaves.

The statement that opens the first content of the reading writes the row in its own transaction, and what it found is
known only when that is committed: told and read are one round trip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from server.audit import queries
from server.audit.trail import Audit


class Reading:
    """What one command of one person reads of one mailbox."""

    def __init__(self, audit: Audit, owner_id: int, actor: str, content_ids: Sequence[bytes], purpose: str) -> None:
        self._audit = audit
        self._about: dict[str, Any] = {
            "actor": actor,
            "owner_id": owner_id,
            "content_ids": content_ids,
            "purpose": purpose,
        }
        self._told = False

    async def ask(self, connection: asyncpg.Connection, question: str, telling: str, *values: Any) -> list[Any]:
        """The rows of `question`; the first time by `telling`, the same question made by `audit.queries.telling`."""
        if self._told:
            return list(await connection.fetch(question, *values))
        rows = await self._audit.content_read(connection, telling, values, **self._about)
        self._told = True
        return rows

    async def tell(self, connection: asyncpg.Connection) -> None:
        """Write it now, where what opens the content tells nothing."""
        await self.ask(connection, "", queries.ADD)
