"""What operators do to mailboxes and to each other, in the name of who does it; each with its row of the trail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import cast

import asyncpg

from crypto.edge import EdgeKeys
from server.audit.sealed import actor_token
from server.audit.trail import Audit
from server.base import clock
from server.base.errors import Reason, Refused
from server.base.limits import OPERATOR_TRAIL_SHOWN
from server.identity import certificates, delegations
from server.identity import queries as identity_queries
from server.identity.accounts import Made
from server.identity.certificates import Bound
from server.identity.delegations import Delegation
from server.identity.local import invitations, standing
from server.identity.local.model import Standing as Account
from server.identity.model import Rights
from server.identity.operators import accounts, queries
from server.identity.operators.model import OF_OPERATORS, Act, Operator, Request, Right, Role
from server.identity.sessions import queries as session_queries
from server.mail.addresses import normalise, valid
from server.mailbox import terms
from server.mailbox.public import entry
from server.mailbox.routes import routes

_RIGHTS = {"read": Rights.READ, "send": Rights.SEND, "manage": Rights.MANAGE | Rights.READ}


@dataclass(frozen=True, slots=True)
class Seen:
    """A mailbox as support sees it; of passkeys the day of the last use, None for never."""

    address: str
    owner_id: int
    standing: terms.Standing
    account: Account
    passkeys: list[date | None]
    app_passwords: list[Made]
    certificates: list[Bound]
    delegations: list[Delegation]


@dataclass(frozen=True, slots=True)
class Line:
    """An event of the trail as far as it is not sealed; `who` "" for whom nobody named."""

    at: datetime
    kind: str
    owner_id: int | None
    who: str


class Acts:
    """All that the pages can do. Raises Refused(NOT_ALLOWED) where the role does not allow it, before anything else."""

    def __init__(self, pool: asyncpg.Pool, edge: EdgeKeys) -> None:
        self._pool = pool
        self._edge = edge
        self._audit = Audit(edge)

    async def look(self, operator: Operator, address: str) -> Seen:
        """Raises Refused(UNKNOWN_RECIPIENT) too."""
        _need(operator, Right.LOOK)
        async with self._pool.acquire() as acquired, acquired.transaction():
            connection = cast(asyncpg.Connection, acquired)
            owner_id = await self._owner(connection, address)
            await self._audit.operator_did(connection, operator.actor, "looked", owner_id)
            return Seen(
                normalise(address),
                owner_id,
                await terms.standing(connection, owner_id),
                await standing.of_mailbox(connection, owner_id),
                [row["used_on"] for row in await connection.fetch(queries.PASSKEYS_USED, owner_id)],
                [Made(*row) for row in await connection.fetch(identity_queries.CREDENTIALS, owner_id)],
                await certificates.of_mailbox(connection, owner_id),
                await delegations.of_mailbox(connection, self._edge, owner_id),
            )

    async def suspend(self, operator: Operator, address: str, suspended: bool) -> None:
        """Nobody signs in, what comes waits; or it goes on. The directory follows by `caducee mailbox publish`."""
        _need(operator, Right.SUSPEND)
        async with self._pool.acquire() as acquired, acquired.transaction():
            connection = cast(asyncpg.Connection, acquired)
            owner_id = await self._owner(connection, address)
            if not await entry.suspend(connection, owner_id, suspended):
                raise Refused(Reason.NOT_ALLOWED, "This mailbox is not in that state.")
            await connection.execute(session_queries.END_ALL, owner_id)
            await self._changed(connection, operator, owner_id, "suspended" if suspended else "resumed")

    async def end(self, operator: Operator, address: str) -> None:
        """End every session and app password of a mailbox."""
        _need(operator, Right.END)
        async with self._pool.acquire() as acquired, acquired.transaction():
            connection = cast(asyncpg.Connection, acquired)
            owner_id = await self._owner(connection, address)
            await connection.execute(session_queries.END_ALL, owner_id)
            for row in await connection.fetch(identity_queries.CREDENTIALS, owner_id):
                number = row["credential_id"]
                label = await connection.fetchval(identity_queries.REVOKE_CREDENTIAL, owner_id, number, clock.now())
                await self._audit.app_password_revoked(connection, operator.actor, owner_id, label)
            await self._changed(connection, operator, owner_id, "access-ended")

    async def remove_certificate(self, operator: Operator, address: str, number: int) -> None:
        """Raises Refused(NOT_ALLOWED) too: the mailbox has none of this number."""
        _need(operator, Right.END)
        async with self._pool.acquire() as acquired, acquired.transaction():
            connection = cast(asyncpg.Connection, acquired)
            owner_id = await self._owner(connection, address)
            if not await certificates.remove(connection, self._edge, owner_id, number, operator.actor):
                raise Refused(Reason.NOT_ALLOWED, "This mailbox has no such certificate.")
            await self._changed(connection, operator, owner_id, "certificate-removed")

    async def trail(self, operator: Operator, of: str) -> list[Line]:
        """Of a mailbox (its address), or of what an operator did (the name); the newest first."""
        _need(operator, Right.TRAIL)
        async with self._pool.acquire() as acquired, acquired.transaction():
            connection = cast(asyncpg.Connection, acquired)
            known = [one.actor for one in await accounts.everyone(connection, self._edge)]
            known += [accounts.COMMAND_LINE, "jobs", normalise(of)]
            names = {actor_token(self._edge, actor): actor for actor in known}
            if "@" in of:
                owner_id = await self._owner(connection, of)
                rows = await connection.fetch(queries.TRAIL_OF_OWNER, owner_id, OPERATOR_TRAIL_SHOWN)
                await self._audit.operator_did(connection, operator.actor, "read-trail", owner_id)
            else:
                token = actor_token(self._edge, f"operator {of}")
                rows = await connection.fetch(queries.TRAIL_OF_OPERATOR, token, OPERATOR_TRAIL_SHOWN)
                await self._audit.operator_did(connection, operator.actor, "read-trail", of=of)
        return [Line(row["recorded_at"], row["kind"], row["owner_id"], names.get(row["actor"], "")) for row in rows]

    async def everyone(self, operator: Operator) -> list[Operator]:
        """All operators."""
        _need(operator, Right.OVERSEE)
        return await accounts.everyone(self._pool, self._edge)

    async def prepared(self, act: Act, given: Mapping[str, str]) -> tuple[str, dict[str, str], int | None]:
        """Target, facts and mailbox of what is to be asked for, looked at before anybody is. Raises Refused: MALFORMED,
        UNKNOWN_RECIPIENT."""
        target = given.get("cible", "").strip()
        facts: dict[str, str] = {}
        if act in OF_OPERATORS:
            if not accounts.NAME.fullmatch(target):
                raise Refused(Reason.MALFORMED, "This is no operator's name.")
            if act is not Act.OPERATOR_REVOKE:
                facts["role"] = _role(given.get("role", "")).value
            return target, facts, None
        if act is Act.KEYS_EXPORT or (act is Act.KEYS_DESTROY and not target):
            return "", facts, None
        owner_id = await self._owner(self._pool, target)
        if act is Act.DELEGATE:
            facts = {"delegate": normalise(given.get("delegue", "")), "rights": given.get("droits", "")}
            facts["until"] = given.get("fin", "")
            _delegation(0, facts)
            await self._owner(self._pool, facts["delegate"])
        return normalise(target), facts, owner_id

    async def carry_out(self, connection: asyncpg.Connection, request: Request, approver: Operator) -> str:
        """Do what was approved, in the approval's transaction; a code to hand on, or ""."""
        actor, target, facts = approver.actor, request.target, request.facts
        if request.act is Act.OPERATOR_INVITE:
            return (await accounts.invite(connection, self._edge, target, _role(facts["role"]), actor))[0]
        if request.act is Act.OPERATOR_ROLE:
            await accounts.change_role(connection, self._edge, target, _role(facts["role"]), actor)
            return ""
        if request.act is Act.OPERATOR_REVOKE:
            await accounts.revoke(connection, self._edge, target, actor)
            return ""
        owner_id = await self._owner(connection, target)
        await self._changed(connection, approver, owner_id, request.act.value)
        if request.act is Act.DELEGATE:
            delegate_id = await self._owner(connection, facts["delegate"])
            given = _delegation(delegate_id, facts)
            await delegations.grant(connection, self._edge, owner_id, (delegate_id, facts["delegate"]), given, actor)
            return ""
        if request.act is Act.RESET:
            await standing.reset(connection, self._edge, owner_id, actor)
        return (await invitations.invite(connection, self._edge, owner_id, actor))[0]

    async def _changed(self, connection: asyncpg.Connection, operator: Operator, owner_id: int, what: str) -> None:
        await self._audit.operator_did(connection, operator.actor, what, owner_id)

    async def _owner(self, connection: asyncpg.Connection | asyncpg.Pool, address: str) -> int:
        wanted = normalise(address) if valid(address) else ""
        found = await routes(connection, self._edge, [wanted])
        if wanted not in found:
            raise Refused(Reason.UNKNOWN_RECIPIENT, "No mailbox here has this address.")
        return found[wanted].owner_id


def _need(operator: Operator, right: Right) -> None:
    if not operator.may(right):
        raise Refused(Reason.NOT_ALLOWED, "Your role does not allow this.")


def _role(given: str) -> Role:
    if given not in set(Role):
        raise Refused(Reason.MALFORMED, "There is no such role.")
    return Role(given)


def _delegation(delegate_id: int, facts: dict[str, str]) -> Delegation:
    """Rights like "read,send", and the last day, "" for none. Raises Refused(MALFORMED)."""
    rights = Rights(0)
    try:
        for word in facts["rights"].split(","):
            rights |= _RIGHTS[word.strip()]
        end = datetime.fromisoformat(facts["until"]).replace(tzinfo=UTC) + timedelta(days=1) if facts["until"] else None
    except (KeyError, ValueError):
        raise Refused(Reason.MALFORMED, "Rights are of read, send, manage; the last day is like 2027-06-30.") from None
    return Delegation(delegate_id, rights, end)
