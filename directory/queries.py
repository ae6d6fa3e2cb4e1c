"""What the rooms of the directory share: a connection, and who a mailbox belongs to. Each has its own statements."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg

# A connection of our own or one that a pool lends. (As text: the classes take no parameter when the program runs.)
Connection: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"


# Who a mailbox belongs to: by two keys. No row where no directory was ever loaded, an empty one for an unknown address.
REGISTRATION = """
SELECT m.kind, m.national_id, o.finess, o.legal_finess, o.siret
  FROM (SELECT FROM directory.load LIMIT 1) AS loaded
  LEFT JOIN directory.mailbox_entry m ON m.address = $1
  LEFT JOIN directory.organisation o ON o.organisation_id = m.organisation_id
"""

MANY_ROWS = 50_000  # fewer are written sooner than indexes are made
# How to take the indexes of a table away and to make them again.
INDEXES = """
SELECT CASE WHEN c.oid IS NULL THEN format('DROP INDEX %s', i.indexrelid::regclass)
            ELSE format('ALTER TABLE %s DROP CONSTRAINT %I', i.indrelid::regclass, c.conname) END AS forget,
       CASE WHEN c.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
            ELSE format('ALTER TABLE %s ADD CONSTRAINT %I %s', i.indrelid::regclass, c.conname,
                        pg_get_constraintdef(c.oid)) END AS make
  FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u')
 WHERE i.indrelid = $1::text::regclass ORDER BY i.indexrelid
"""


@asynccontextmanager
async def filling(connection: Connection, table: str, rows: int) -> AsyncIterator[None]:
    """Many rows for an empty table come without its triggers and indexes: those of all rows at once cost a third, and
    more than one processor makes them. Until the transaction ends, whoever asks the table waits."""
    if rows < MANY_ROWS:
        yield
        return
    indexes = await connection.fetch(INDEXES, table)
    await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    for row in indexes:
        await connection.execute(row["forget"])
    yield
    for row in indexes:
        await connection.execute(row["make"])
    await connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
