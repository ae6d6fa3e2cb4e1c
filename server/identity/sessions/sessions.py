"""Open, find, list and end sessions.

Invariants: the database never holds a token, only its hash under the edge's credential key; who can write to it alone
changes no session, for each row has a proof; a sign-in always makes a new token and ends the one the browser had (no
fixation); a session idle for SESSION_IDLE_SECONDS is locked, that is ended: the référentiel (SC.SSI/IE.58) asks for a
new sign-in then.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from crypto.edge import EdgeKeys
from crypto.sealing import unwrap, wrap
from server.base import clock
from server.base.limits import (
    SESSION_IDLE_SECONDS,
    SESSION_LIFE_SECONDS,
    SESSION_TOUCH_SECONDS,
    SESSIONS_PER_OWNER,
)
from server.identity.sessions import queries
from server.identity.sessions.model import Opened, Proof, Session, SignIn

_TOKEN_BYTES = 32  # 256 random bits: nobody guesses one, whatever the rate
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[0-9a-f]{32}")
_IDLE = timedelta(seconds=SESSION_IDLE_SECONDS)
_LIFE = timedelta(seconds=SESSION_LIFE_SECONDS)
_TOUCH = timedelta(seconds=SESSION_TOUCH_SECONDS)
_AS_THEY_ARE = [one.name for one in fields(Session) if one.name not in ("session_id", "how")]  # columns


class Sessions:
    """All sessions of one database."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys) -> None:
        self._pool = pool
        self._edge = edge

    async def open(self, person_id: int, proof: Proof, agent: str, previous: str | None = None) -> Opened:
        """A new session in the own mailbox of somebody who has just given `proof`.

        `previous` is the token the browser came with. Where it was of the same person, its mailbox stays the open one.
        """
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        now = clock.now()
        before = await self.find(previous) if previous is not None else None
        same = before is not None and (before.person_id, before.holder) == (person_id, proof.holder)
        session = Session(
            session_id=secrets.token_hex(16),
            person_id=person_id,
            owner_id=before.owner_id if before and same else person_id,
            delegate_id=before.delegate_id if before and same else None,
            holder=proof.holder,
            how=proof.how,
            provider=proof.provider,
            acr=proof.acr,
            agent=describe_agent(agent),
            opened_at=now,
            seen_at=now,
            expires_at=now + _LIFE,
            proved_at=proof.at or now,
        )
        token_hash = self._hash(token)
        async with self._pool.acquire() as connection, connection.transaction():
            if previous is not None:
                await connection.execute(queries.END, self._hash(previous))
            await connection.execute(
                queries.INSERT,
                token_hash,
                person_id,
                session.owner_id,
                session.delegate_id,
                session.holder,
                bytes.fromhex(session.session_id),
                proof.how.value,
                proof.provider,
                proof.acr,
                session.agent,
                now,
                session.expires_at,
                session.proved_at,
                self._proof(token_hash, session),
                self._named("sid", proof.provider, proof.sid),
                self._named("subject", proof.provider, proof.subject),
                wrap(self._keyed(b"hint", token), proof.hint.encode(), token_hash) if proof.hint else None,
            )
            await connection.execute(queries.TRIM, person_id, SESSIONS_PER_OWNER)
        return Opened(session, token)

    async def switch(self, token: str, session: Session, owner_id: int, delegate_id: int | None) -> None:
        """Open another mailbox in the session of `token`; that its person may is for the caller to know."""
        token_hash = self._hash(token)
        proof = self._proof(token_hash, replace(session, owner_id=owner_id, delegate_id=delegate_id))
        await self._pool.execute(queries.SWITCH, token_hash, owner_id, delegate_id, proof)

    async def find(self, token: str) -> Session | None:
        """The live session of a cookie's token, marked as seen now; None when there is none (any more)."""
        if not _TOKEN.fullmatch(token):
            return None
        now = clock.now()
        row = await self._pool.fetchrow(queries.FIND, self._hash(token), now, now - _IDLE)
        session = self._session(row) if row is not None else None
        if session is None:
            return None
        if now - session.seen_at > _TOUCH:
            await self._pool.execute(queries.TOUCH, self._hash(token), now)
        return session

    async def end(self, token: str) -> tuple[str, str] | None:
        """Sign out; the provider that signed the person in and its ID token, "" where it gave none."""
        token_hash = self._hash(token)
        row = await self._pool.fetchrow(queries.END, token_hash)
        if row is None:
            return None
        hint = row["hint"]
        return row["provider"], unwrap(self._keyed(b"hint", token), hint, token_hash).decode() if hint else ""

    async def end_one(self, person_id: int, session_id: str) -> None:
        """End one of the person's sessions by its name; one that has ended already, or is another's, stays as it is."""
        if _NAME.fullmatch(session_id):
            await self._pool.execute(queries.END_ONE, person_id, bytes.fromhex(session_id))

    async def end_others(self, person_id: int, token: str) -> None:
        """End all of the person's sessions but the one of `token`."""
        await self._pool.execute(queries.END_OTHERS, person_id, self._hash(token))

    async def end_of_provider(self, provider: str, sid: str, subject: str) -> int:
        """End the sessions of one session at a provider, or ("" for `sid`) all of a person there; how many."""
        subject = "" if sid else subject
        named = self._named("sid", provider, sid), self._named("subject", provider, subject)
        return len(await self._pool.fetch(queries.END_OF_PROVIDER, *named))

    async def of(self, person_id: int) -> list[Session]:
        """The person's live sessions, the last seen first."""
        now = clock.now()
        rows = await self._pool.fetch(queries.LIST, person_id, now, now - _IDLE)
        return [session for row in rows if (session := self._session(row)) is not None]

    async def spend(self, label: str, name: str, until: datetime) -> bool:
        """Use what may be used once until then; False when it was used before."""
        token = self._keyed(b"spent " + label.encode(), name)
        return bool(await self._pool.fetchval(queries.SPEND, token, until))

    async def sweep(self) -> None:
        """Delete what has ended; nothing depends on when this runs."""
        now = clock.now()
        await self._pool.execute(queries.SWEEP, now, now - _IDLE)
        await self._pool.execute(queries.FORGET_SPENT, now)

    def form_token(self, token: str) -> str:
        """The secret that every form of the session of `token` carries: a page of another site cannot know it."""
        return self._keyed(b"form", token).hex()

    def form_token_is_right(self, token: str, given: str) -> bool:
        """Whether a form came from a page that we gave to this session (constant time)."""
        return hmac.compare_digest(self.form_token(token).encode(), given.encode())

    def _hash(self, token: str) -> bytes:
        return self._keyed(b"session", token)

    def _named(self, label: str, provider: str, name: str) -> bytes | None:
        """The keyed token of a provider's own name for a session or a person."""
        return self._keyed(f"{label} {provider}".encode(), name) if name else None

    def _proof(self, token_hash: bytes, session: Session) -> bytes:
        facts = [session.session_id, session.person_id, session.owner_id, session.delegate_id, session.how.value]
        facts += [session.provider, session.acr, (session.holder or b"").hex(), token_hash.hex()]
        facts += [moment.timestamp().hex() for moment in (session.proved_at, session.expires_at)]
        return self._keyed(b"proof", "\0".join(map(str, facts)))

    def _session(self, row: Any) -> Session | None:
        """A row's session; None when the row was not written with the edge's secret."""
        named = {name: row[name] for name in _AS_THEY_ARE}
        session = Session(session_id=row["session_id"].hex(), how=SignIn(row["how"]), **named)
        return session if hmac.compare_digest(row["proof"], self._proof(row["token_hash"], session)) else None

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
