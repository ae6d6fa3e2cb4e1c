"""Two for a dangerous act: one asks, a security officer who is another approves within a day, and it is done once.

- Who asked must still be allowed to ask, and who approves to approve, when it is approved and when it is used.
- What is approved is done in the transaction of the approval, with its row of the trail; what needs the keyring waits
  for the command line, which uses the approval up.
- Who can write to the database alone makes neither a request nor an approval: both are sealed and bound to the number.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import cast

import asyncpg

from crypto.edge import EdgeKeys
from server.audit.trail import Audit
from server.base import clock
from server.base.errors import Reason, Refused
from server.base.limits import OPERATOR_REASON_CHARACTERS, OPERATOR_REQUEST_SECONDS, OPERATOR_REQUESTS_SHOWN
from server.identity.local.seal import opened, seal
from server.identity.operators import queries
from server.identity.operators.accounts import COMMAND_LINE, locked
from server.identity.operators.model import BY_COMMAND, Act, Operator, Request, Right

# Does what was approved, in the transaction given; what the approver is shown this once.
CarryOut = Callable[[asyncpg.Connection, Request, Operator], Awaitable[str]]


async def ask(
    connection: asyncpg.Connection,
    edge: EdgeKeys,
    operator: Operator,
    act: Act,
    target: str,
    facts: dict[str, str],
    why: str,
    owner_id: int | None = None,
) -> int:
    """The number of a new request; `owner_id` of the mailbox it is about. Raises Refused: NOT_ALLOWED, MALFORMED."""
    may_ask(operator, act)
    if not why.strip() or len(why) > OPERATOR_REASON_CHARACTERS:
        raise Refused(Reason.MALFORMED, "Say why, in a sentence or two.")
    number, now = secrets.randbelow(9 * 10**8) + 10**8, clock.now()
    document = {"act": act.value, "by": operator.name, "target": target, "facts": facts, "why": why.strip()}
    async with connection.transaction():
        end = now + timedelta(seconds=OPERATOR_REQUEST_SECONDS)
        await connection.execute(queries.ASK, number, seal(edge, "request", 0, document, _place(number)), now, end)
        await Audit(edge).operator_did(connection, operator.actor, "asked", owner_id, request=number, **document)
    return number


def may_ask(operator: Operator, act: Act) -> None:
    """Raises Refused(NOT_ALLOWED)."""
    if not operator.may_ask(act):
        raise Refused(Reason.NOT_ALLOWED, "Your role does not ask for this.")


async def listed(pool: asyncpg.Pool, edge: EdgeKeys, operator: Operator) -> list[Request]:
    """The newest first: all for who oversees, else the own ones."""
    found = [_request(edge, row) for row in await pool.fetch(queries.REQUESTS, OPERATOR_REQUESTS_SHOWN)]
    return [one for one in found if one and (operator.may(Right.OVERSEE) or one.by == operator.name)]


async def approve(pool: asyncpg.Pool, edge: EdgeKeys, operator: Operator, number: int, carry_out: CarryOut) -> str:
    """Approve, and do it; what `carry_out` gave, "" where the command line is to. Raises Refused(NOT_ALLOWED)."""
    async with pool.acquire() as acquired, acquired.transaction():
        connection = cast(asyncpg.Connection, acquired)
        request = await _open(connection, edge, number)
        if request.approved_by:
            raise _dead()
        await _check(connection, edge, request, operator.name)
        now = clock.now()
        approval = seal(edge, "approval", 0, {"by": operator.name}, _place(number))
        waits = request.act in BY_COMMAND
        await connection.execute(queries.DECIDE, number, approval, None if waits else now)
        facts = {"request": number, "act": request.act.value, "target": request.target, "asked_by": request.by}
        await Audit(edge).operator_did(connection, operator.actor, "approved", **facts)
        return "" if waits else await carry_out(connection, request, operator)


async def withdraw(pool: asyncpg.Pool, edge: EdgeKeys, operator: Operator, number: int) -> None:
    """End a request that was not carried out: who asked, or a security officer. Raises Refused(NOT_ALLOWED)."""
    async with pool.acquire() as acquired, acquired.transaction():
        connection = cast(asyncpg.Connection, acquired)
        request = await _open(connection, edge, number)
        if request.by != operator.name and not operator.may(Right.APPROVE):
            raise _dead()
        await connection.execute(queries.END_REQUEST, number, clock.now())
        await Audit(edge).operator_did(connection, operator.actor, "withdrew", request=number, act=request.act.value)


async def use(connection: asyncpg.Connection, edge: EdgeKeys, number: int | None, act: Act, target: str) -> None:
    """Use an approval up on the command line, before the act begins; nothing where there are no operators yet.

    Raises Refused(NOT_ALLOWED): none is named, or it is not of exactly this act, or counts no more.
    """
    if not await connection.fetchval(queries.ANY):
        return
    if number is None:
        raise Refused(
            Reason.NOT_ALLOWED, f"Two operators decide on this: ask for {act.value} in the console, then --approval N."
        )
    async with connection.transaction():
        request = await _open(connection, edge, number)
        if (request.act, request.target) != (act, target) or not request.approved_by:
            raise Refused(Reason.NOT_ALLOWED, f"Approval {number} is not of this: it is for one act and one target.")
        await _check(connection, edge, request, request.approved_by)
        await connection.execute(queries.END_REQUEST, number, clock.now())
        facts = {"request": number, "act": act.value, "target": target, "asked_by": request.by}
        await Audit(edge).operator_did(
            connection, COMMAND_LINE, "approval-used", **facts, approved_by=request.approved_by
        )


async def _open(connection: asyncpg.Connection, edge: EdgeKeys, number: int) -> Request:
    """A request that nothing ended, locked. Raises Refused(NOT_ALLOWED)."""
    row = await connection.fetchrow(queries.LOCK_REQUEST, number)
    request = _request(edge, row) if row is not None else None
    if request is None or request.ended_at is not None or request.expires_at <= clock.now():
        raise _dead()
    return request


async def _check(connection: asyncpg.Connection, edge: EdgeKeys, request: Request, approver: str) -> None:
    """Both as they are now. Raises Refused(NOT_ALLOWED)."""
    if request.by == approver:
        raise Refused(Reason.NOT_ALLOWED, "Another person must approve what you asked for.")
    both = await locked(connection, edge, [request.by, approver])
    if request.by not in both or not both[request.by].may_ask(request.act):
        raise Refused(Reason.NOT_ALLOWED, "Who asked may ask for this no more.")
    if approver not in both or not both[approver].may(Right.APPROVE):
        raise Refused(Reason.NOT_ALLOWED, "Only a security officer approves.")


def _request(edge: EdgeKeys, row: asyncpg.Record) -> Request | None:
    """None for a row that was not made with the edge's secret."""
    number = row["request_id"]
    document = opened(edge, "request", 0, row["sealed"], _place(number))
    if document is None:
        return None
    approval = opened(edge, "approval", 0, row["approved"], _place(number)) if row["approved"] else None
    return Request(
        number=number,
        act=Act(document["act"]),
        by=document["by"],
        why=document["why"],
        target=document["target"],
        facts=document["facts"],
        made_at=row["made_at"],
        expires_at=row["expires_at"],
        approved_by=approval["by"] if approval else "",
        ended_at=row["ended_at"],
    )


def _dead() -> Refused:
    return Refused(Reason.NOT_ALLOWED, "This request is not there, is over, or has been decided.")


def _place(number: int) -> bytes:
    return str(number).encode()
