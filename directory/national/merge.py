"""Brings what is staged into the tables: all of it, or the rows in scope; and tells what that changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from directory.national import queries
from directory.national.queries import MAILBOX_ENTRY, ORGANISATION, TABLES, Table
from directory.national.reading import Progress
from directory.queries import Connection, filling

Changes = dict[str, dict[str, int]]  # table → "added", "changed", "removed" → rows


@dataclass(slots=True)
class ScopeTexts:
    """Whose rows are compared, by their keys."""

    persons: set[str] = field(default_factory=set)
    organisations: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)


async def create_stage(connection: Connection) -> None:
    """Empty stage tables."""
    for table in TABLES.values():
        await connection.execute(table.create_stage())


async def fill(connection: Connection, now: datetime, progress: Progress, lines: int) -> Changes:
    """The first import, of so many lines: the tables are empty."""
    await connection.execute(queries.ANALYZE_STAGE)
    changes: Changes = {}
    await _choose_organisations(connection, scoped=False)
    for table in (ORGANISATION, *(one for one in TABLES.values() if one is not ORGANISATION)):
        chosen = table.choose()
        if table is ORGANISATION:
            chosen = queries.CHOSEN_ORGANISATIONS
        elif table is MAILBOX_ENTRY:
            chosen = queries.choose_mailboxes(scoped=False)
        async with filling(connection, f"directory.{table.name}", lines):
            status = await connection.execute(table.fill(chosen), now)
        await connection.execute(table.analyze())
        changes[table.name] = {"added": int(status.split()[-1])}
        progress(table.name, changes[table.name]["added"])
    await connection.execute(queries.FORGET_GONE_SERVICES)
    await connection.execute(queries.CREATE_CHANGES)
    return changes


async def compare(connection: Connection, now: datetime, progress: Progress, scope: ScopeTexts | None) -> Changes:
    """Later imports: what differs is written, and what changed stands in `stage_change` and `stage_touched`."""
    scoped = scope is not None
    await connection.execute(queries.CREATE_CHANGES)
    if scope is not None:
        for create, some in zip(
            queries.CREATE_SCOPE, (scope.persons, scope.organisations, scope.addresses), strict=True
        ):
            await connection.execute(create, list(some))
        await connection.execute(queries.ANALYZE_SCOPE)
        await connection.execute(queries.CREATE_TOUCHED)
        await connection.execute(queries.TOUCH_SCOPE)
    await connection.execute(queries.ANALYZE_STAGE)
    await _choose_organisations(connection, scoped)
    # Mailboxes are tied to structures as they are afterwards.
    await _compare(connection, ORGANISATION, now, scoped)
    for table in TABLES.values():
        if table is not ORGANISATION:
            chosen = queries.choose_mailboxes(scoped) if table is MAILBOX_ENTRY else table.choose()
            await connection.execute(table.create_chosen(chosen))
            await _compare(connection, table, now, scoped)
        progress(table.name, 0)
    if scoped:
        for statement in (queries.TOUCH_SCOPE, queries.TOUCH_ORGANISATIONS, queries.TOUCH_ONCE):
            await connection.execute(statement)
    await connection.execute(queries.REMEMBER_GONE, now)
    changes: Changes = {}
    for row in await connection.fetch(queries.CHANGES):
        changes.setdefault(row["name"], {})[row["what"]] = row["rows"]
    return changes


async def _choose_organisations(connection: Connection, scoped: bool) -> None:
    await connection.execute(ORGANISATION.create_chosen(ORGANISATION.choose()))
    await connection.execute(queries.TELL_LEGAL_ENTITY)
    for number in ("siret", "finess"):
        await connection.execute(queries.drop_told_twice(number, scoped))


async def _compare(connection: Connection, table: Table, now: datetime, scoped: bool) -> None:
    await connection.execute(table.analyze_chosen())
    await connection.execute(table.remove(scoped))
    await connection.execute(table.change(), now)
    await connection.execute(table.add(), now)
    if not scoped:
        await connection.execute(table.analyze())
