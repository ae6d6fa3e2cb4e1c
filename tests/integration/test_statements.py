"""Every statement of the store fits the schema: PostgreSQL parses and plans each of them."""

from __future__ import annotations

from typing import Any

import asyncpg

from server.audit import queries as audit
from server.mailbox import queries as mailbox
from server.mailbox.blocks import queries as blocks
from server.transport import queries as transport
from server.trust import queries as trust


async def test_every_statement_fits_the_schema(database: Any) -> None:
    connection = await database.connect()
    wrong = {}
    for room in (mailbox, blocks, audit, transport, trust):
        for name, text in vars(room).items():
            # A name with "_" in front is a part of statements.
            if name.isupper() and not name.startswith("_") and "{" not in text.replace("'{}'", ""):
                try:
                    await connection.prepare(text)
                except asyncpg.PostgresError as error:
                    wrong[f"{room.__name__}.{name}"] = str(error)
    await connection.close()
    assert wrong == {}
