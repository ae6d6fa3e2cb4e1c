"""What an operator's command works with: the database as its owner, the keyring, the edge's keys."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import asyncpg

from crypto.edge import EdgeKeys
from crypto.keyring import Keyring
from server.base.errors import Reason, Refused
from server.base.settings import Settings
from server.cli.common import Failure
from server.db.embedded import EmbeddedPostgres
from server.db.migrate import pending
from server.db.pool import admin_dsn
from server.identity.accounts import Accounts
from server.mailbox.routes import routes


class Admin:
    """Joins the PostgreSQL of a running `serve`, else starts the embedded one for the time of the command."""

    connection: asyncpg.Connection
    pool: asyncpg.Pool
    accounts: Accounts

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.edge = EdgeKeys.load(settings.keys_directory / "edge.json")
        self.keyring = Keyring.open(settings.ring_directory, retired=True)
        self._cluster = None if settings.database.dsn else EmbeddedPostgres(settings.home, settings.keys_directory)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self._cluster:
                await stack.enter_async_context(self._cluster)
            dsn = admin_dsn(self.settings)
            self.connection = await asyncpg.connect(dsn)
            stack.push_async_callback(self.connection.close)
            if await pending(self.connection):
                raise Failure("The database is older than this program: run `caducee db upgrade` first.")
            self.pool = await stack.enter_async_context(asyncpg.create_pool(dsn, min_size=1, max_size=2))
            self.accounts = Accounts(self.pool, self.edge)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def owner_of(self, address: str) -> int:
        """The owner of a normalised address. Raises Refused(UNKNOWN_RECIPIENT)."""
        found = await routes(self.connection, self.edge, [address])
        if address not in found:
            raise Refused(
                Reason.UNKNOWN_RECIPIENT, "No mailbox here has this address: `caducee mailbox add` makes one."
            )
        return found[address].owner_id

    def server_version(self) -> str:
        """The version of PostgreSQL, like "18.4"."""
        version = self.connection.get_server_version()
        return f"{version.major}.{version.micro}"  # since 10 the second number is what asyncpg calls micro
