"""What a database error means in the words of the store: by constraint name, never by message text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import asyncpg

from crypto.errors import CryptoError
from server.base.errors import CaduceeError, Reason, Refused, TryLater
from server.db.pool import trouble

BY_CONSTRAINT: dict[str, tuple[type[CaduceeError], Reason, str]] = {
    "address_pkey": (Refused, Reason.ADDRESS_TAKEN, "An address is given once and for ever; this one is taken."),
    "folder_name": (Refused, Reason.FOLDER_EXISTS, "There is already a folder of that name."),
    "folder_special_use": (Refused, Reason.FOLDER_EXISTS, "Another folder already has this use."),
    "message_folder": (Refused, Reason.NO_SUCH_FOLDER, "There is no such folder."),
    "change_folder": (Refused, Reason.NO_SUCH_FOLDER, "There is no such folder."),
    "message_content": (Refused, Reason.NO_SUCH_MESSAGE, "This message is no longer there."),
    "audit_append_only": (Refused, Reason.NOT_ALLOWED, "The trail is append-only."),
}
# Transactions that lost against another; the same command may pass now.
CONTENDED = (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError, asyncpg.SerializationError)


def meaning(error: BaseException) -> CaduceeError | None:
    """The domain's word for an error, None when it is none of the known ones."""
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        known = BY_CONSTRAINT.get(error.constraint_name or "")
        return known[0](known[1], known[2]) if known else None
    if isinstance(error, CONTENDED):
        return TryLater(Reason.BUSY, "The mailbox is busy.")
    return trouble(error)


@asynccontextmanager
async def connection(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the pool; what goes wrong inside comes out as one of the three kinds where it is known."""
    try:
        async with pool.acquire() as acquired:
            # The proxy has all of a connection's methods; the stubs know it as a class of its own.
            yield cast(asyncpg.Connection, acquired)
    except (CaduceeError, CryptoError):
        raise
    except Exception as error:
        known = meaning(error)
        if known is None:
            raise
        raise known from error
