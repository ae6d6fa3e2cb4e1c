"""Operators' accounts: invited with a code, enrolled with a password and one-time codes, changed, revoked.

The answer to a wrong name, password or one-time code is one, after the same computations and questions. Who guesses is
counted as with patients; past so many of a day nobody signs in under that name from the network (decision 038), and
`caducee operator` goes on.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import asyncpg

from crypto.edge import EdgeKeys
from server.audit.trail import Audit
from server.base import clock
from server.base.errors import Reason, Refused, TryLater
from server.base.limits import INVITATION_TRIES, OPERATOR_INVITATION_DAYS
from server.identity.chosen import ChosenPasswords, weakness
from server.identity.local import codes, totp
from server.identity.local.passwords import WeakPassword
from server.identity.local.seal import keyed, opened, seal
from server.identity.operators import queries
from server.identity.operators.model import Operator, Role
from server.identity.throttle import Attempt, Throttle

NAME = re.compile(r"[a-z][a-z0-9.-]{1,39}")
COMMAND_LINE = "operator"  # as whom the trail knows who has the machine
_LETTERS, _FINDING = 20, 4
_LABEL = "operator"
_NOBODYS = bytes(totp.SECRET_BYTES)


async def invite(
    connection: asyncpg.Connection, edge: EdgeKeys, name: str, role: Role, actor: str
) -> tuple[str, datetime]:
    """A code by which somebody becomes an operator, or begins anew, and its end; sessions end.

    Raises Refused: MALFORMED (the name), NOT_ALLOWED (a revoked operator had it).
    """
    if not NAME.fullmatch(name):
        raise Refused(Reason.MALFORMED, "A name is 2 to 40 of a-z, 0-9, dot and hyphen, and begins with a letter.")
    code, now = codes.make(_LETTERS), clock.now()
    end = now + timedelta(days=OPERATOR_INVITATION_DAYS)
    document = {"role": role.value, "mark": _mark(edge, name, code).hex(), "until": end.timestamp()}
    async with connection.transaction():
        sealed = _sealed(edge, name, document)
        if not await connection.fetchval(queries.INVITE, name, sealed, code[:_FINDING], now):
            raise Refused(Reason.NOT_ALLOWED, "An operator who was revoked had this name: it is never given again.")
        await connection.execute(queries.END_SESSIONS, name, now)
        await Audit(edge).operator_did(connection, actor, "invited", name=name, role=role.value)
    return codes.shown(code), end


async def change_role(connection: asyncpg.Connection, edge: EdgeKeys, name: str, role: Role, actor: str) -> None:
    """Sessions end. Raises Refused(NOT_ALLOWED): there is no such operator, or no more."""
    async with connection.transaction():
        rows = await connection.fetch(queries.LOCKED, [name])
        document = _opened(edge, rows[0]) if rows else None
        if document is None:
            raise _no_such(name)
        await connection.execute(queries.SET_SEALED, name, _sealed(edge, name, document | {"role": role.value}))
        await connection.execute(queries.END_SESSIONS, name, clock.now())
        await Audit(edge).operator_did(connection, actor, "role-changed", name=name, role=role.value)


async def revoke(connection: asyncpg.Connection, edge: EdgeKeys, name: str, actor: str) -> None:
    """Sessions end, what the operator asked for dies. Raises Refused(NOT_ALLOWED), as above."""
    async with connection.transaction():
        if not await connection.fetchval(queries.REVOKE, name, clock.now()):
            raise _no_such(name)
        await connection.execute(queries.END_SESSIONS, name, clock.now())
        await Audit(edge).operator_did(connection, actor, "revoked", name=name)


async def everyone(connection: asyncpg.Connection | asyncpg.Pool, edge: EdgeKeys) -> list[Operator]:
    """All there are, those who were revoked last. A row that was not made with the edge's secret has no role."""
    return [operator_in(edge, row) for row in await connection.fetch(queries.OPERATORS)]


async def locked(connection: asyncpg.Connection, edge: EdgeKeys, names: Sequence[str]) -> dict[str, Operator]:
    """These, as they are until the transaction ends."""
    return {row["name"]: operator_in(edge, row) for row in await connection.fetch(queries.LOCKED, list(names))}


def operator_in(edge: EdgeKeys, row: asyncpg.Record) -> Operator:
    """The operator of a row."""
    document = _opened(edge, row)
    role = Role(document["role"]) if document is not None and row["revoked_at"] is None else None
    enrolled = document is not None and "hash" in document
    return Operator(row["name"], role, enrolled, row["made_at"], row["revoked_at"])


class OperatorAccounts:
    """Sign-in and enrolment, for one process."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys) -> None:
        self._pool = pool
        self._edge = edge
        self._passwords = ChosenPasswords(edge)
        self._throttle = Throttle(pool, edge.credential)

    async def sign_in(self, name: str, password: str, typed: str, network: str) -> Operator:
        """Who shows this password with this code. Raises Refused(BAD_CREDENTIALS); TryLater: THROTTLED, BUSY."""
        name = _known_form(name)
        attempt = await self._attempt(name, network)
        row = await self._pool.fetchrow(queries.OPERATOR, name)
        document = (_opened(self._edge, row) if row is not None else None) or {}
        right = await self._passwords.matches(document.get("hash"), password)
        secret = bytes.fromhex(document["secret"]) if "secret" in document else _NOBODYS
        step = totp.step_of(secret, typed, clock.now(), row["step"] if row is not None else 0)
        proven = name if right and step is not None else ""
        async with self._pool.acquire() as acquired, acquired.transaction():
            connection = cast(asyncpg.Connection, acquired)
            taken = await connection.fetchval(queries.TAKE_STEP, proven, step or 0)
            audit = Audit(self._edge)
            if row is not None and taken:
                await audit.operator_did(connection, f"operator {name}", "signed-in", network=network)
            else:
                await audit.sign_in_refused(connection, f"operator {name}", "console", "bad-credentials", network)
        if row is None or not taken:
            raise Refused(Reason.BAD_CREDENTIALS, "Not accepted.")
        await self._throttle.right(attempt)
        return operator_in(self._edge, row)

    async def show(self, name: str, typed: str, network: str) -> bytes:
        """The secret to share with an application, for who shows this invitation. Raises as `sign_in`."""
        code, _ = await self._invited(_known_form(name), typed, network)
        return self._secret(name, code)

    async def enrol(self, name: str, typed: str, password: str, digits: str, network: str) -> None:
        """Set password and one-time codes; the invitation is used up. Raises as `sign_in`, and WeakPassword."""
        code, sealed = await self._invited(_known_form(name), typed, network)
        found = weakness(password, (name,))
        if found is not None:
            raise WeakPassword(found)
        secret, hashed = self._secret(name, code), await self._passwords.hash(password)
        step = totp.step_of(secret, digits, clock.now(), 0)
        if step is None:
            raise Refused(Reason.BAD_CREDENTIALS, "This is not the code of the application.")
        role = _opened_document(self._edge, name, sealed)["role"]
        async with self._pool.acquire() as acquired, acquired.transaction():
            connection = cast(asyncpg.Connection, acquired)
            document = {"role": role, "hash": hashed, "secret": secret.hex()}
            # The row as it was when the code was compared: a role that changed meanwhile asks for the code again.
            kept = await connection.fetchval(queries.ENROL, name, _sealed(self._edge, name, document), step, sealed)
            if not kept:
                raise Refused(Reason.BAD_CREDENTIALS, "Not accepted.")
            await Audit(self._edge).operator_did(connection, f"operator {name}", "enrolled", network=network)

    async def _invited(self, name: str, typed: str, network: str) -> tuple[str, bytes]:
        attempt = await self._attempt(f"invitation {name}", network)
        code = codes.read(typed, _LETTERS) or ""
        sealed = await self._pool.fetchval(queries.TRY_INVITATION, name, code[:_FINDING], INVITATION_TRIES)
        document = _opened_document(self._edge, name, sealed) if sealed else {}
        mark = bytes.fromhex(document["mark"]) if "mark" in document else bytes(32)
        right = hmac.compare_digest(_mark(self._edge, name, code), mark)
        if not sealed or not right or document["until"] <= clock.now().timestamp():
            raise Refused(Reason.BAD_CREDENTIALS, "Not accepted.")
        await self._pool.execute(queries.RIGHT_INVITATION, name, code[:_FINDING])
        await self._throttle.right(attempt)
        return code, sealed

    async def _attempt(self, account: str, network: str) -> Attempt:
        attempt = await self._throttle.attempt(f"operator {account}", network, None)
        if attempt.closed or attempt.guessed:
            raise TryLater(Reason.THROTTLED, "Too many failed sign-ins.")
        return attempt

    def _secret(self, name: str, code: str) -> bytes:
        """Of the invitation: nothing is kept between showing it and the first code made with it."""
        return keyed(self._edge, "operator secret", name, code)[: totp.SECRET_BYTES]


def _known_form(name: str) -> str:
    """What cannot be a name is asked for as "", which nobody has: the answer takes the same steps."""
    return name if NAME.fullmatch(name) else ""


def _no_such(name: str) -> Refused:
    return Refused(Reason.NOT_ALLOWED, f"There is no operator {name}: `caducee operator list` lists them.")


def _mark(edge: EdgeKeys, name: str, code: str) -> bytes:
    return keyed(edge, "operator invitation", name, code)


def _sealed(edge: EdgeKeys, name: str, document: dict[str, Any]) -> bytes:
    return seal(edge, _LABEL, 0, document, name.encode())


def _opened(edge: EdgeKeys, row: asyncpg.Record) -> dict[str, Any] | None:
    return opened(edge, _LABEL, 0, row["sealed"], row["name"].encode()) if row["sealed"] else None


def _opened_document(edge: EdgeKeys, name: str, sealed: bytes) -> dict[str, Any]:
    return opened(edge, _LABEL, 0, sealed, name.encode()) or {}
