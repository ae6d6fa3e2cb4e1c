"""Whatever came and went: the difference applied is the new files loaded afresh."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from directory import load as loading
from directory.load import load
from tests.conftest import Database

NOW = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)
TABLES = ("professional", "know_how", "organisation", "activity", "mailbox_entry")
ACTIVITY = (
    "Identification nationale PP|Nom d'exercice|Prénom d'exercice|Code profession|Libellé profession|Code savoir-faire|"
    "Libellé savoir-faire|Code mode exercice|Libellé mode exercice|Numéro SIRET site|Numéro FINESS site|"
    "Identifiant technique de la structure|Raison sociale site|Code postal (coord. structure)|Libellé commune|"
)
KNOW_HOW = (
    "Identification nationale PP|Nom d'exercice|Prénom d'exercice|Code profession|Libellé profession|"
    "Code type savoir-faire|Code savoir-faire|Libellé savoir-faire|"
)
MAILBOX = (
    "Type de BAL|Adresse BAL|Identification nationale PP|Type identifiant structure|Identification Structure|"
    "Service de rattachement|Nom d'exercice|Prénom d'exercice|Code Profession|Libellé Profession|"
    "Raison Sociale structure BAL|L6LIGNEACHEMINEMENT|Code postal"
)
F1, F2, F3, S1, S2 = "690000011", "750000028", "130000039", "99000001000019", "99000002000017"
# Few persons, structures and addresses, so that lines meet: numbers shared, moved, told by one file or by two.
person = st.sampled_from(["889990000013|A", "889990000013|B", "889990000021|C", "0123456789|D", "5ABC/7|E"])
profession = st.sampled_from(["10|Médecin", "60|Infirmier"])
know_how = st.sampled_from(["|", "SM54|Générale", "SM54|Autre", "SM04|Cardiologie"])
structure = st.sampled_from(
    [
        f"{S1}|{F1}|R1|X",
        f"{S1}|{F1}|R1|Y",
        f"|{F2}|R1|X",
        f"|{F1}|R2|Z",
        f"{S1}||R3|Z",
        f"|{F2}||V",
        f"{S1}|||W",
        "||||",
    ]
)
activity = st.builds(
    lambda who, what, how, mode, where: f"{who}|P|{what}|{how}|{mode}|{where.removesuffix('|')}|69003|Lyon|",
    person,
    profession,
    know_how,
    st.sampled_from(["L|Libéral", "S|Salarié", "S|salarié"]),
    structure,
)
specialty = st.builds(
    lambda who, what, how: f"{who}|P|{what}|S|{how}|", person, profession, know_how.filter(lambda how: how != "|")
)
address = st.sampled_from(["a@b.example", "c@b.example", "d@b.example"])
number = st.sampled_from([f"1|1{F1}", f"1|1{F2}", f"1|1{F3}", f"3|3{S1}", f"3|3{S2}", "4|4X"])
own_box = st.builds(
    lambda at, who, where, what, name: (
        f"PER|{at}|{who.split('|')[0]}|{where}||{who[-1]}|P|{what}|{name}|69003 LYON|69003"
    ),
    address,
    person,
    st.one_of(number, st.just("|")),
    profession,
    st.sampled_from(["M", "N"]),
)
service_box = st.builds(
    lambda at, where, service, name: f"ORG|{at}||{where}|{service}|||||{name}|75001 PARIS|",
    address,
    number,
    st.sampled_from(["Urgences", "Accueil"]),
    st.sampled_from(["M", "N"]),
)
registered = st.builds(
    lambda number, legal, name: f"structureet;{number};{legal};{name};{name};" + ";" * 26,
    st.sampled_from([F1, F2, F3]),
    st.sampled_from(["", "690000999", "750000999"]),
    st.sampled_from(["I", "J"]),
)
nation = st.tuples(
    st.lists(activity, min_size=1, max_size=6),
    st.lists(specialty, max_size=3),
    st.lists(st.one_of(own_box, service_box), max_size=6),
    st.lists(registered, max_size=2),
)
Nation = tuple[list[str], list[str], list[str], list[str]]


def write(folder: Path, said: Nation) -> list[Path]:
    folder.mkdir()
    paths = []
    for name, header, lines in zip("abcd", (ACTIVITY, KNOW_HOW, MAILBOX, "finess;etalab;93"), said, strict=True):
        paths.append(folder / f"{name}.txt")
        paths[-1].write_text("".join(f"{line}\n" for line in (header, *lines)))
    return paths


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await database.connect()
    yield connection
    await connection.close()


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index has its own tests."""

    async def refresh(*_: object, whole: bool) -> int:
        return 0

    monkeypatch.setattr(loading, "refresh", refresh)


async def rows(connection: asyncpg.Connection) -> dict[str, list[str]]:
    found = {}
    for name in TABLES:
        some = await connection.fetch(
            f"SELECT (to_jsonb(t) - 'changed_at' - 'activity_id')::text FROM directory.{name} t"
        )
        found[name] = sorted(row[0] for row in some)
    return found


async def empty(connection: asyncpg.Connection) -> None:
    names = ", ".join(f"directory.{name}" for name in (*TABLES, "gone", "load", "loaded_line"))
    await connection.execute(f"TRUNCATE {names}")


HEALTH = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.usefixtures("no_index")
@settings(max_examples=6, deadline=None, suppress_health_check=HEALTH)
@given(days=st.lists(nation, min_size=2, max_size=3))
async def test_difference_is_the_new_files(owner: asyncpg.Connection, days: list[Nation]) -> None:
    await differs(owner, days)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("no_index")
@settings(max_examples=500, deadline=None, suppress_health_check=HEALTH)
@given(days=st.lists(nation, min_size=2, max_size=3))
async def test_difference_is_the_new_files_at_length(owner: asyncpg.Connection, days: list[Nation]) -> None:
    await differs(owner, days)


async def differs(owner: asyncpg.Connection, days: list[Nation]) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        await empty(owner)
        await load(owner, write(folder / "first", days[0]), NOW, smallest_share=0)
        patch.setattr(loading, "whole", None)  # from here on only what differs is read
        for number, day in enumerate(days[1:], 1):
            moment = NOW + timedelta(days=number)
            await load(owner, write(folder / str(number), day), moment, smallest_share=0)
        differed = await rows(owner)
        patch.undo()
        await empty(owner)
        await load(owner, write(folder / "fresh", days[-1]), NOW, smallest_share=0)
        assert differed == await rows(owner)
