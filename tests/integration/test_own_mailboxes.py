"""The operator's own mailboxes in its directory: found at once, hidden when unlisted, kept over national imports, told
to the national directory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from directory.load import load
from directory.model import MailboxKind
from directory.own.export import export
from directory.own.mailboxes import OwnMailbox, named, publish, withdraw
from directory.own.nearest import nearest
from directory.search import Found, search
from tests.conftest import Database
from tests.directory_sample import write

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
KNOWN = "89990000013"  # RPPS of Claire MARTIN, general practitioner in the sample


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await database.connect()
    yield connection
    await connection.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write(tmp_path_factory.mktemp("national"), people=20)


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
    assert (row["source"], row["description"], row["rank"]) == ("own", TEAM.description, 0)
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


async def test_whom_the_national_files_name_is_called_as_they_say(owner: asyncpg.Connection, files: list[Path]) -> None:
    ours = named(OwnMailbox("c.martin@msg.exemple.fr", MailboxKind.PER, f"8{KNOWN}"), "M. Autre NOM")
    await publish(owner, [ours, DOCTOR, TEAM], NOW)
    assert "NOM" in (await found(owner, "c.martin@msg.exemple.fr"))[ours.address].name
    await load(owner, files, NOW)
    for question in ("martin généraliste lyon 3", ours.address, KNOWN):
        assert (await found(owner, question))[ours.address].name == "Docteur Claire MARTIN"
    assert await found(owner, "autre nom") == {}
    # Who is in no file stays.
    assert set(await found(owner, "valmont")) == {DOCTOR.address}
    assert set(await found(owner, "clinique essais")) == {TEAM.address}
    assert await gone(owner) == []
    # What the files of the next day say counts too.
    changed = [file.with_name(f"next_{file.name}") for file in files]
    for before, after in zip(files, changed, strict=True):
        text = before.read_text(encoding="utf-8")
        after.write_text(text.replace("MARTIN|Claire", "MARTIN|Clara"), encoding="utf-8")
    await load(owner, changed, NOW)
    assert (await found(owner, ours.address))[ours.address].name == "Docteur Clara MARTIN"
    # When ours leaves, the person stays, with what the files say.
    await withdraw(owner, [ours.address], NOW)
    assert set(await found(owner, "clara martin généraliste")) == {"claire.martin@msg.exemple.fr"}


async def test_our_word_on_an_address_of_ours_counts(owner: asyncpg.Connection, files: list[Path]) -> None:
    """The national files list our addresses too, as of yesterday."""
    told = named(
        OwnMailbox("claire.martin@msg.exemple.fr", MailboxKind.PER, f"8{KNOWN}", service="Remplacement", unlisted=True),
        "Dr Claire MARTIN",
    )
    await publish(owner, [told], NOW)
    await load(owner, files, NOW)
    await load(owner, files, NOW)
    row = await owner.fetchrow("SELECT * FROM directory.mailbox_entry WHERE address = $1", told.address)
    assert (row["source"], row["service"], row["unlisted"]) == ("own", "Remplacement", True)
    await publish(owner, [replace(told, unlisted=False)], NOW)
    assert told.address in await found(owner, "claire martin")


async def test_an_unlisted_mailbox_is_shown_to_nobody(owner: asyncpg.Connection) -> None:
    await publish(owner, [replace(DOCTOR, unlisted=True), replace(TEAM, unlisted=True)], NOW)
    for question in ("valmont", "aline valmont médecin", DOCTOR.address, "clinique des essais", "690000013"):
        assert await found(owner, question) == {}, question
    assert await nearest(owner, "a.valmomt@msg.exemple.fr", 3) == []
    lines, _ = await export(owner)
    assert len(lines) == 3  # the national directory is told, and told to hide it


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


ENTRIES = """
SELECT m.address, m.kind, m.national_id, m.profession_code, m.service, m.unlisted, p.last_name, p.first_name,
       p.civility, p.profession, o.finess, o.siret, o.name
  FROM directory.mailbox_entry m
  LEFT JOIN directory.professional p USING (national_id, profession_code)
  LEFT JOIN directory.organisation o ON o.organisation_id = m.organisation_id ORDER BY 1
"""


async def test_what_is_exported_makes_the_same_entries(owner: asyncpg.Connection, tmp_path: Path) -> None:
    practice = OwnMailbox("labo@msg.exemple.fr", MailboxKind.APP, siret="73282932000074", organisation="LABO | ESSAIS")
    await publish(owner, [DOCTOR, replace(TEAM, unlisted=True), practice], NOW)
    before = [tuple(row) for row in await owner.fetch(ENTRIES)]
    lines, counts = await export(owner)
    assert counts == {"CREATION": 3, "MODIFICATION": 0, "SUPPRESSION": 0}
    file = tmp_path / "Extraction_Correspondance_MSSante_202611010300.txt"
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    await owner.execute("DELETE FROM directory.own_mailbox; DELETE FROM directory.mailbox_entry")
    assert (await load(owner, [file], NOW, smallest_share=0)).left_out == 0
    after = [tuple(row) for row in await owner.fetch(ENTRIES)]
    assert [tuple("LABO | ESSAIS" if value == "LABO   ESSAIS" else value for value in row) for row in after] == before


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
