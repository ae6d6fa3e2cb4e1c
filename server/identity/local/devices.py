"""Browsers that signed in to a mailbox before, known by a cookie of 400 days.

A known browser is no proof of anybody. It says whether a sign-in is to be told to the holder, and it has a count of
failures of its own, so that others cannot keep the holder out. One browser may be known to several mailboxes.
"""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timedelta

import asyncpg

from crypto.edge import EdgeKeys
from server.audit.trail import Audit
from server.base.limits import DEVICE_DAYS, DEVICES_PER_OWNER
from server.identity.local import alerts, queries
from server.identity.local.alerts import Happened
from server.identity.local.model import Alert, Device
from server.identity.local.seal import keyed, opened, seal

_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}")
_LABEL = "device"
_LIFE = timedelta(days=DEVICE_DAYS)


def new_cookie() -> str:
    """A name for a browser that has none: 256 random bits."""
    return secrets.token_urlsafe(32)


def is_cookie(value: str) -> bool:
    """Whether a value could be one of ours."""
    return _COOKIE.fullmatch(value) is not None


async def known(pool: asyncpg.Pool, edge: EdgeKeys, owner_id: int, cookie: str, now: datetime) -> bytes | None:
    """The hash by which this browser is known to the mailbox; None when it is not."""
    hashed = keyed(edge, _LABEL, owner_id, cookie)
    return hashed if await pool.fetchval(queries.DEVICE, hashed, now - _LIFE) else None


async def seen(
    connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int, cookie: str, agent: str, network: str, now: datetime
) -> None:
    """A browser signed in: it is known from now on, and its holder is told of one that was not."""
    hashed = keyed(edge, _LABEL, owner_id, cookie)
    sealed = seal(edge, _LABEL, owner_id, {"agent": agent, "network": network}, hashed)
    async with connection.transaction():
        if await connection.fetchval(queries.SEE_DEVICE, owner_id, hashed, sealed, now):
            await connection.execute(queries.TRIM_DEVICES, owner_id, DEVICES_PER_OWNER, now - _LIFE)
            await alerts.add(connection, edge, owner_id, Happened(Alert.BROWSER, now, agent, network))


async def of_mailbox(
    connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int, now: datetime, cookie: str = ""
) -> list[Device]:
    """The mailbox's browsers, the last used first; `cookie` is that of who asks."""
    this = keyed(edge, _LABEL, owner_id, cookie)
    rows = await connection.fetch(queries.DEVICES, owner_id, now - _LIFE)
    return [
        Device(row["device_id"], said["agent"], said["network"], row["first_at"], row["used_at"], row["hash"] == this)
        for row in rows
        if (said := opened(edge, _LABEL, owner_id, row["sealed"], row["hash"])) is not None
    ]


async def forget(connection: asyncpg.Connection, edge: EdgeKeys, owner_id: int, number: int, actor: str) -> bool:
    """Know a browser no more; False when there was none of this number."""
    async with connection.transaction():
        forgotten = await connection.fetchval(queries.FORGET_DEVICE, owner_id, number)
        if forgotten:
            await Audit(edge).account_changed(connection, actor, owner_id, "device-forgotten", number=number)
    return bool(forgotten)
