"""The operator's own mailboxes in its directory: found at once, hidden when unlisted, kept over national imports, told
to the national directory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from directory.model import MailboxKind
from directory.own.export import export
from directory.own.mailboxes import OwnMailbox, named, publish, withdraw
from directory.own.nearest import nearest
from directory.search import Found, search
from tests.conftest import Database

NOW = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)
DOCTOR = named(
    OwnMailbox(
        "a.valmont@msg.exemple.fr", MailboxKind.PER, "810000000017", profession_code="10", profession="Médecin", rank=1
    ),
    "Dr Aline VALMONT",
)
TEAM = named(
    OwnMailbox(
        "urgences.essais@msg.exemple.fr",
        MailboxKind.ORG,
        finess="690000013",
        service="Urgences",
        description="Comptes rendus de passage",
        responsible="Cadre de santé, 01 99 00 00 01",
    ),
    "Clinique des Essais",
)


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await database.connect()
    yield connection
    await connection.close()


async def found(connection: asyncpg.Connection, question: str) -> dict[str, Found]:
    return {address: one for one in await search(connection, question) for _, address in one.mailboxes}


async def gone(connection: asyncpg.Connection) -> list[tuple[str, str]]:
    return [tuple(row) for row in await connection.fetch("SELECT kind, key FROM directory.gone ORDER BY 1, 2")]


async def test_found_at_once_and_gone_at_once(owner: asyncpg.Connection) -> None:
    await publish(owner, [DOCTOR, TEAM], NOW)
    doctor = (await found(owner, "valmont médecin"))[DOCTOR.address]
    assert (doctor.name, doctor.profession, doctor.identifier) == ("Docteur Aline VALMONT", "Médecin", "10000000017")
    team = (await found(owner, "clinique essais urgences"))[TEAM.address]
    assert (team.name, team.finess) == ("Clinique des Essais", "690000013")
    row = await owner.fetchrow("SELECT * FROM directory.mailbox_entry WHERE address = $1", TEAM.address)
    assert (row["source"], row["description"], row["responsible"]) == ("own", TEAM.description, TEAM.responsible)
    assert await withdraw(owner, [DOCTOR.address, TEAM.address, "nobody@msg.exemple.fr"], NOW) == [
        DOCTOR.address,
        TEAM.address,
    ]
    assert await found(owner, "valmont") == await found(owner, "essais") == {}
    assert await gone(owner) == [
        ("mailbox", DOCTOR.address),
        ("mailbox", TEAM.address),
        ("organisation", TEAM.finess),
        ("professional", DOCTOR.national_id),
    ]
    # Who comes back is gone no more.
    await publish(owner, [DOCTOR], NOW)
    assert DOCTOR.address in await found(owner, "valmont")
    assert ("mailbox", DOCTOR.address) not in await gone(owner)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("a.valmomt", ["a.valmont"]),
        ("avalmont", ["a.valmont"]),
        ("a.valmnot", ["a.valmont"]),
        ("urgence.essai", ["urgences.essais"]),
        ("urgences.essais2", ["urgences.essais"]),
        ("b.durand", []),
        ("av", []),
        ("'; DROP TABLE x --", []),
        ("x" * 10_000, []),
    ],
)
async def test_the_nearest_address(owner: asyncpg.Connection, asked: str, expected: list[str]) -> None:
    await publish(owner, [DOCTOR, TEAM], NOW)
    assert await nearest(owner, f"{asked}@msg.exemple.fr", 3) == [f"{one}@msg.exemple.fr" for one in expected]
    assert await nearest(owner, f"{asked}@autre.fr", 3) == []


async def test_the_file_of_a_day_tells_what_differs(owner: asyncpg.Connection) -> None:
    later = NOW + timedelta(days=1)
    await publish(owner, [DOCTOR, TEAM], NOW)
    await publish(owner, [replace(TEAM, service="Accueil")], later)
    await publish(owner, [replace(DOCTOR, address="brief@msg.exemple.fr")], later)
    await withdraw(owner, ["brief@msg.exemple.fr", DOCTOR.address], later)
    lines, counts = await export(owner, later)
    assert counts == {"CREATION": 0, "MODIFICATION": 1, "SUPPRESSION": 1}
    assert [line.split("|")[1] for line in lines[1:]] == [DOCTOR.address, TEAM.address]
    assert "|SUPPRESSION|N|1|" in lines[1]
    assert "VALMONT" in lines[1]
    assert await export(owner, later + timedelta(days=1)) == (lines[:1], dict.fromkeys(counts, 0))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Dr Aline MARTIN", ("Docteur", "MARTIN", "Aline")),
        ("Aline Martin", ("", "Martin", "Aline")),
        ("Mme Marie-Claude LE GOFF", ("Madame", "LE GOFF", "Marie-Claude")),
        ("MARTIN Aline", ("", "MARTIN", "Aline")),
        ("ALINE MARTIN", ("", "MARTIN", "ALINE")),
        ("Dr", ("", "Dr", "")),
        ("J. D'ARC", ("", "D'ARC", "J.")),
    ],
)
def test_a_name_in_its_parts(name: str, expected: tuple[str, str, str]) -> None:
    person = named(OwnMailbox("a@b.fr", MailboxKind.PER, "810000000017"), name)
    assert (person.civility, person.last_name, person.first_name) == expected
