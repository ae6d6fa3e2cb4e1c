"""Operators' sessions in a browser: ended after half an hour without a request, and with any change of the operator."""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime, timedelta

import asyncpg

from crypto.edge import EdgeKeys
from server.base import clock
from server.base.limits import OPERATOR_IDLE_SECONDS, SESSION_LIFE_SECONDS
from server.identity.local.seal import keyed
from server.identity.operators import queries
from server.identity.operators.accounts import operator_in
from server.identity.operators.model import Operator


class OperatorSessions:
    """All of one database. It never holds a token, only its keyed hash, and a proof that binds the row."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys) -> None:
        self._pool = pool
        self._edge = edge

    async def open(self, name: str, previous: str) -> str:
        """A new session's token; that of `previous`, which the browser came with, ends."""
        token, now = secrets.token_urlsafe(32), clock.now()
        end, hashed = now + timedelta(seconds=SESSION_LIFE_SECONDS), self._hash(token)
        await self.end(previous)
        await self._pool.execute(queries.OPEN_SESSION, hashed, name, now, end, self._proof(hashed, name, end))
        return token

    async def find(self, token: str) -> Operator | None:
        """Whose live session this is, as they are now."""
        now, hashed = clock.now(), self._hash(token)
        idle = now - timedelta(seconds=OPERATOR_IDLE_SECONDS)
        row = await self._pool.fetchrow(queries.SESSION, hashed, now, idle)
        if row is None or not hmac.compare_digest(row["proof"], self._proof(hashed, row["name"], row["expires_at"])):
            return None
        await self._pool.execute(queries.SEE_SESSION, hashed, now)
        operator = operator_in(self._edge, row)
        return operator if operator.role is not None and operator.enrolled else None

    async def end(self, token: str) -> None:
        await self._pool.execute(queries.END_SESSION, self._hash(token))

    def form_token(self, token: str) -> str:
        """What every form of the session carries."""
        return keyed(self._edge, "operator form", token).hex()

    def _hash(self, token: str) -> bytes:
        return keyed(self._edge, "operator session", token)

    def _proof(self, hashed: bytes, name: str, end: datetime) -> bytes:
        return keyed(self._edge, "operator session proof", hashed.hex(), name, end.timestamp().hex())
