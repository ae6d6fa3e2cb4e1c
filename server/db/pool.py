"""The way to the database: each role under its own user. A pool outlives its server and connects again by itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from server.base import clock
from server.base.errors import Reason, TryLater
from server.base.limits import STATEMENT_TIMEOUT_SECONDS
from server.base.settings import Settings
from server.db.credentials import ADMIN, password, user_of
from server.db.embedded import location

# The server ends a statement at STATEMENT_TIMEOUT_SECONDS; this ends the wait for a server that says nothing at all.
SILENCE_SECONDS = 2 * STATEMENT_TIMEOUT_SECONDS
PATIENCE_SECONDS = 30.0  # a role may start before its database has recovered
PREPARED = 256  # statements kept prepared on each connection; the product has fewer
CONNECTION_STATEMENTS = 50_000  # then a connection is made anew: a backend's caches only grow
IDLE_SECONDS = 300.0  # a connection beyond the first that nobody took for so long is closed

# The server is not there, is leaving, or has no room (PostgreSQL, appendix A: classes 08, 53 and 57P).
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a server that dies between two messages leaves asyncpg's state machine halfway
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.QueryCanceledError,
)
FULL = (asyncpg.DiskFullError, asyncpg.OutOfMemoryError)


def base_dsn(settings: Settings) -> str:
    """The database's address: the configured one, else the embedded cluster's. Raises EmbeddedError: never started."""
    return settings.database.dsn or location(settings.home)


def admin_dsn(settings: Settings) -> str:
    """The owner's address, for migrations and the command line: a secret."""
    if settings.database.dsn:
        return settings.database.dsn
    bare = urlsplit(location(settings.home))
    secret = password(settings.keys_directory, ADMIN)  # of letters that need no quoting (token_urlsafe)
    return bare._replace(netloc=f"{user_of(ADMIN)}:{secret}@").geturl()


@dataclass(frozen=True, slots=True)
class Access:
    """How a role signs in. Read before a process seals itself, used after."""

    dsn: str = field(repr=False)  # an external one may hold the owner's password
    user: str
    password: str = field(repr=False)


def access(settings: Settings, role: str) -> Access:
    """A role's access. Raises FileNotFoundError (no password made yet) or EmbeddedError (the cluster never started)."""
    return Access(base_dsn(settings), user_of(role), password(settings.keys_directory, role))


async def connect(
    settings: Settings, role: str, way: Access | None = None, *, patience: float = PATIENCE_SECONDS
) -> asyncpg.Pool:
    """A role's pool, once the database answers.

    Raises TryLater(STORE_AWAY) when it does not within `patience` seconds; PostgreSQL's own error when it refuses the
    user or the password (waiting would not help).
    """
    way = way or access(settings, role)
    deadline = clock.monotonic() + patience
    while True:
        try:
            return await Pool(
                way.dsn,
                user=way.user,
                password=way.password,
                min_size=1,
                max_size=settings.database.pool,
                max_queries=CONNECTION_STATEMENTS,
                max_inactive_connection_lifetime=IDLE_SECONDS,
                loop=None,
                connection_class=asyncpg.Connection,
                record_class=asyncpg.Record,
                command_timeout=SILENCE_SECONDS,
                statement_cache_size=PREPARED,
                max_cached_statement_lifetime=0,
                server_settings={"application_name": way.user},
                reset=_leave,
            )
        except AWAY as error:
            if clock.monotonic() > deadline:
                raise TryLater(Reason.STORE_AWAY, "The message store does not answer.") from error
            await asyncio.sleep(0.1)


class Pool(asyncpg.Pool):
    """asyncpg's pool, but a connection with nothing to end is put back at once.

    asyncpg does it in a task of its own under a time limit, which costs more than a small statement. The private names
    are held by tests/unit/db/test_asyncpg_contract.py.
    """

    __slots__ = ()

    async def release(self, connection: PoolConnectionProxy, *, timeout: float | None = None) -> None:  # noqa: ASYNC109
        pool, proxy = cast(Any, self), cast(Any, connection)  # the stubs know no private names
        holder, lent = proxy._holder, proxy._con
        if (
            lent is None
            or lent.is_closed()
            or lent.is_in_transaction()
            or lent._top_xact is not None
            or lent._listeners
            or lent._protocol._is_cancelling()
            or lent._protocol.queries_count >= pool._max_queries
            or holder._generation != pool._generation
        ):
            await super().release(connection, timeout=timeout)
            return
        lent._on_release()
        holder._release()
        holder._setup_inactive_callback()


async def _leave(connection: asyncpg.Connection) -> None:
    """What goes back to the pool is left as it is: no statement of ours changes a session that is lent again.

    asyncpg has already ended a transaction left open; its own reset costs a round trip at each release.
    """


def trouble(error: BaseException) -> TryLater | None:
    """The domain's word for an error of the database or the way to it; None when it is some other error."""
    if isinstance(error, FULL):
        return TryLater(Reason.STORE_FULL, "The message store is full.")
    if isinstance(error, AWAY):
        return TryLater(Reason.STORE_AWAY, "The message store does not answer.")
    return None
