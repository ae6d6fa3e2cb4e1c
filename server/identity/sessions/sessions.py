"""Open, find, list and end sessions.

Invariants: the database never holds a token, only its hash under the edge's credential key; a sign-in always makes a
new token and ends the one the browser had (no fixation); a session idle for SESSION_IDLE_SECONDS is locked, that is
ended: the référentiel (SC.SSI/IE.58) asks for a new sign-in then.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import timedelta
from typing import Any

import asyncpg

from crypto.edge import EdgeKeys
from server.base import clock
from server.base.limits import (
    SESSION_IDLE_SECONDS,
    SESSION_LIFE_SECONDS,
    SESSION_TOUCH_SECONDS,
    SESSIONS_PER_OWNER,
)
from server.identity.sessions import queries
from server.identity.sessions.model import Opened, Session, SignIn

_TOKEN_BYTES = 32  # 256 random bits: nobody guesses one, whatever the rate
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[0-9a-f]{32}")
_IDLE = timedelta(seconds=SESSION_IDLE_SECONDS)
_LIFE = timedelta(seconds=SESSION_LIFE_SECONDS)
_TOUCH = timedelta(seconds=SESSION_TOUCH_SECONDS)


class Sessions:
    """All sessions of one database."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys) -> None:
        self._pool = pool
        self._edge = edge

    async def open(self, owner_id: int, how: SignIn, agent: str, previous: str | None = None) -> Opened:
        """A new session for an owner whom `how` has just proved; `previous` is the token the browser came with."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        now = clock.now()
        session = Session(secrets.token_hex(16), owner_id, how, describe_agent(agent), now, now, now + _LIFE)
        async with self._pool.acquire() as connection, connection.transaction():
            if previous is not None:
                await connection.execute(queries.END, self._hash(previous))
            await connection.execute(
                queries.INSERT,
                self._hash(token),
                owner_id,
                bytes.fromhex(session.session_id),
                how.value,
                session.agent,
                now,
                session.expires_at,
            )
            await connection.execute(queries.TRIM, owner_id, SESSIONS_PER_OWNER)
        return Opened(session, token)

    async def find(self, token: str) -> Session | None:
        """The live session of a cookie's token, marked as seen now; None when there is none (any more)."""
        if not _TOKEN.fullmatch(token):
            return None
        now = clock.now()
        row = await self._pool.fetchrow(queries.FIND, self._hash(token), now, now - _IDLE)
        if row is None:
            return None
        session = _session(row)
        if now - session.seen_at > _TOUCH:
            await self._pool.execute(queries.TOUCH, self._hash(token), now)
        return session

    async def end(self, token: str) -> None:
        """Sign out."""
        await self._pool.execute(queries.END, self._hash(token))

    async def end_one(self, owner_id: int, session_id: str) -> None:
        """End one of the owner's sessions by its name; one that has ended already, or is another's, stays as it is."""
        if _NAME.fullmatch(session_id):
            await self._pool.execute(queries.END_ONE, owner_id, bytes.fromhex(session_id))

    async def end_others(self, owner_id: int, token: str) -> None:
        """End all of the owner's sessions but the one of `token`."""
        await self._pool.execute(queries.END_OTHERS, owner_id, self._hash(token))

    async def of(self, owner_id: int) -> list[Session]:
        """The owner's live sessions, the last seen first."""
        now = clock.now()
        return [_session(row) for row in await self._pool.fetch(queries.LIST, owner_id, now, now - _IDLE)]

    async def sweep(self) -> None:
        """Delete what has ended; nothing depends on when this runs."""
        now = clock.now()
        await self._pool.execute(queries.SWEEP, now, now - _IDLE)

    def form_token(self, token: str) -> str:
        """The secret that every form of the session of `token` carries: a page of another site cannot know it."""
        return self._keyed(b"form", token).hex()

    def form_token_is_right(self, token: str, given: str) -> bool:
        """Whether a form came from a page that we gave to this session (constant time)."""
        return hmac.compare_digest(self.form_token(token).encode(), given.encode())

    def _hash(self, token: str) -> bytes:
        return self._keyed(b"session", token)

    def _keyed(self, label: bytes, token: str) -> bytes:
        return hmac.digest(self._edge.credential, b"web " + label + b"\0" + token.encode(), hashlib.sha256)


_BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


def describe_agent(header: str) -> str:
    """A browser's User-Agent as a person would say it, "Firefox, Linux"; "" when we cannot tell."""
    found = [next((name for mark, name in table if mark in header), "") for table in (_BROWSERS, _SYSTEMS)]
    return ", ".join(name for name in found if name)


def _session(row: Any) -> Session:
    return Session(
        row["session_id"].hex(),
        row["owner_id"],
        SignIn(row["how"]),
        row["agent"],
        row["opened_at"],
        row["seen_at"],
        row["expires_at"],
    )
