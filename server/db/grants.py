"""Database users and who may do what: one user a role, two groups that migrations grant to.

`caducee_edge` may write and cannot read content: relay, submission, sender, and web for sending. `caducee_reader` may
read: imap, web, jobs. `caducee_ldap`, `caducee_facility`, `caducee_fetcher` and `caducee_console` stand alone,
`caducee_identity` and `caducee_provider` read nothing. Every table's grants stand at the end of the migration that
makes it; these users and groups are made before.
Nothing here needs a superuser: CREATEROLE is enough (PostgreSQL ≥ 15).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import asyncpg

from server.base.limits import STATEMENT_TIMEOUT_SECONDS
from server.db import queries
from server.db.credentials import ROLES, make_password, scram_verifier, user_of

EDGE: Final = "caducee_edge"
READER: Final = "caducee_reader"
GROUPS: Final[dict[str, tuple[str, ...]]] = {
    EDGE: ("relay", "submission", "web", "sender"),
    READER: ("imap", "web", "jobs"),
}


async def make_users(connection: asyncpg.Connection, keys: Path) -> None:
    """Make the users and groups that are missing and close the database to all others. Idempotent.

    A password is set again when its file had to be made anew (keys restored elsewhere): the file is what counts.
    """
    database = await connection.fetchval(queries.CURRENT_DATABASE)
    quoted = '"' + database.replace('"', '""') + '"'
    for group in GROUPS:
        if await connection.fetchval(queries.ADMIN_EXISTS, group) is None:
            await connection.execute(queries.CREATE_GROUP.format(group=group))
    await connection.execute(queries.CLOSE_DATABASE.format(database=quoted))
    await connection.execute(queries.CLOSE_SCHEMA)
    for role in ROLES:
        user = user_of(role)
        known = (keys / "database" / role).exists()
        verifier = f"'{scram_verifier(make_password(keys, role))}'"
        if await connection.fetchval(queries.ADMIN_EXISTS, user) is None:
            await connection.execute(queries.CREATE_USER.format(user=user, verifier=verifier))
        elif not known:
            await connection.execute(queries.SET_PASSWORD.format(user=user, verifier=verifier))
        await connection.execute(queries.SET_TIMEOUT.format(user=user, seconds=STATEMENT_TIMEOUT_SECONDS))
        if role in ("relay", "submission", "imap"):
            await connection.execute(queries.SET_ONE_PLAN.format(user=user))
        elif role == "ldap":
            await connection.execute(queries.SET_NO_SCAN.format(user=user))
        await connection.execute(queries.OPEN_DATABASE.format(database=quoted, user=user))
    for group, roles in GROUPS.items():
        for role in roles:
            await connection.execute(queries.JOIN_GROUP.format(group=group, user=user_of(role)))
