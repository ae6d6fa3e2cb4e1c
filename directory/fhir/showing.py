"""Loads what resources show, a page at a time: a few statements for all of them, whatever their number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from directory.fhir import queries, resources
from directory.fhir.names import Type, id_of, service_id
from directory.fhir.resources import Resource
from directory.queries import Connection

_Rows = dict[Hashable, list[Any]]
GONE_KINDS = {Type.PRACTITIONER: "professional", Type.ROLE: "activity", Type.ORGANIZATION: "organisation"}


async def show(connection: Connection, kind: Type, keys: Sequence[Any]) -> dict[Any, Resource]:
    """The resources of keys that are there; what no FHIR id can name is left out."""
    if not keys:
        return {}
    return await _SHOWN[kind](connection, list(keys))


async def gone(connection: Connection, kind: Type, keys: Sequence[str]) -> dict[str, datetime]:
    """When those of these keys that left did so."""
    if kind is Type.SERVICE:
        rows = await connection.fetch(queries.GONE_SERVICE, list(keys))
    else:
        rows = await connection.fetch(queries.GONE, GONE_KINDS[kind], list(keys))
    return {row["key"]: row["gone_at"] for row in rows}


def made_id(kind: Type, key: Any) -> str | None:
    """The id of a key as the walks give it (of a service that left: the id itself)."""
    if kind is Type.ROLE:
        return str(key)
    return service_id(key) if kind is Type.SERVICE and "@" in key else id_of(key)


async def service_addresses(connection: Connection, made: Sequence[str]) -> list[str]:
    """The mailboxes behind the ids of services."""
    return [row["address"] for row in await connection.fetch(queries.SERVICE_ADDRESS, list(made))]


def _by(rows: Iterable[asyncpg.Record], *columns: str) -> _Rows:
    grouped: _Rows = defaultdict(list)
    for row in rows:
        grouped[tuple(row[column] for column in columns)].append(row)
    return grouped


async def _persons(connection: Connection, keys: list[Any]) -> dict[Any, Resource]:
    people = _by(await connection.fetch(queries.SHOW_PERSONS, keys), "national_id")
    know_how = _by(await connection.fetch(queries.SHOW_KNOW_HOW, keys), "national_id")
    mailboxes = _by(await connection.fetch(queries.SHOW_MAILBOXES_OF_PERSONS, keys), "national_id")
    return {
        key: resources.practitioner(people[key,], know_how[key,], mailboxes[key,])
        for key in keys
        if people[key,] and id_of(key)
    }


async def _roles(connection: Connection, keys: list[Any]) -> dict[Any, Resource]:
    rows = await connection.fetch(queries.SHOW_ROLES, keys)
    people = list({row["national_id"] for row in rows})
    know_how = _by(await connection.fetch(queries.SHOW_KNOW_HOW, people), "national_id", "profession_code")
    mailboxes = _by(await connection.fetch(queries.SHOW_MAILBOXES_OF_ROLES, people), "national_id", "organisation_id")
    return {
        row["activity_id"]: resources.role(
            row,
            know_how[row["national_id"], row["profession_code"]],
            mailboxes[row["national_id"], row["organisation_id"]],
        )
        for row in rows
        if id_of(row["national_id"])
    }


async def _places(connection: Connection, keys: list[Any]) -> dict[Any, Resource]:
    mailboxes = _by(await connection.fetch(queries.SHOW_MAILBOXES_OF_PLACES, keys), "organisation_id")
    return {
        row["organisation_id"]: resources.organization(row, mailboxes[row["organisation_id"],])
        for row in await connection.fetch(queries.SHOW_PLACES, keys)
        if id_of(row["organisation_id"]) and row["organisation_id"][0] != "@"
    }


async def _services(connection: Connection, keys: list[Any]) -> dict[Any, Resource]:
    return {row["address"]: resources.service(row) for row in await connection.fetch(queries.SHOW_SERVICES, keys)}


_SHOWN = {Type.PRACTITIONER: _persons, Type.ROLE: _roles, Type.ORGANIZATION: _places, Type.SERVICE: _services}
