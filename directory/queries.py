"""What the rooms of the directory share: a connection, and who a mailbox belongs to. Each has its own statements."""

from __future__ import annotations

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
