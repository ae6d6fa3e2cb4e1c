"""The directory from the published files to the answer of a search, on a real PostgreSQL."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from directory.load import LoadRefused, load
from directory.places import Near
from directory.search import Found, complete, search, search_fields
from tests.conftest import Database
from tests.directory_sample import write

NOW = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)
TABLES = ("professional", "know_how", "organisation", "activity", "mailbox_entry", "word", "listing", "load")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write(tmp_path_factory.mktemp("national"))


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await database.connect()
    yield connection
    await connection.close()


@pytest.fixture
async def loaded(owner: asyncpg.Connection, files: list[Path]) -> asyncpg.Connection:
    await load(owner, files, NOW)
    return owner


async def contents(connection: asyncpg.Connection) -> dict[str, list[str]]:
    """Every row of the directory, as text."""
    rows = {name: await connection.fetch(f"SELECT t::text FROM directory.{name} t") for name in TABLES}
    return {name: sorted(row[0] for row in some) for name, some in rows.items()}


def names(found: list[Found]) -> list[str]:
    return [one.name for one in found]


def addresses(one: Found) -> list[str]:
    return [address for _, address in one.mailboxes]


async def test_load_tells_what_it_holds(owner: asyncpg.Connection, files: list[Path]) -> None:
    told: list[tuple[str, int]] = []
    done = await load(owner, files, NOW, progress=lambda stage, rows, total=0: told.append((stage, rows)))
    assert done.left_out == 0
    assert done.counts["professional"] == 306
    assert done.counts["mailbox_entry"] == files[2].read_text().count("\n") - 1
    assert told[-1] == ("index", done.counts["listing"])
    for name, rows in done.counts.items():
        assert await owner.fetchval(f"SELECT count(*) FROM directory.{name}") == rows


async def test_mailboxes_are_tied_to_the_structures_of_the_other_file(loaded: asyncpg.Connection) -> None:
    loose = await loaded.fetchval(
        "SELECT count(*) FROM directory.mailbox_entry m WHERE organisation_id <> '' AND NOT EXISTS"
        " (SELECT FROM directory.organisation o WHERE o.organisation_id = m.organisation_id)"
    )
    assert loose == 0
    tied = await loaded.fetchval(
        "SELECT organisation_id FROM directory.mailbox_entry WHERE address = 'claire.martin@msg.exemple.fr'"
    )
    assert tied.startswith("R10")


async def test_one_box_finds_the_pharmacy(loaded: asyncpg.Connection) -> None:
    first = (await search(loaded, "pharmacie du centre 69003"))[0]
    assert (first.name, first.postcode) == ("PHARMACIE DU CENTRE", "69003")
    assert first.mailboxes == (("ORG", "pharmacie.centre@msg.exemple.fr"),)


async def test_one_box_finds_the_doctor(loaded: asyncpg.Connection) -> None:
    found = await search(loaded, "dr martin généraliste lyon 3")
    assert names(found) == ["Docteur Claire MARTIN"]
    assert addresses(found[0]) == ["claire.martin@msg.exemple.fr"]
    assert found[0].know_how == ("Médecine générale",)


FIRST = {
    "MARTIN Claire": "Docteur Claire MARTIN",
    "claire martin médecin": "Docteur Claire MARTIN",
    "martin medecin lyon 3e": "Docteur Claire MARTIN",
    "martin medecin lyon 3ème arrondissement": "Docteur Claire MARTIN",
    "martin infirmière lyon": "Zoé MARTIN",
    "zoe martin": "Zoé MARTIN",
    "zoé mart": "Zoé MARTIN",
    "martin paris 11": "Docteur Louis MARTIN",
    "le goff cardiologue saint-étienne": "Docteur Jean-Pierre LE GOFF",
    "legoff cardio st etienne": "Docteur Jean-Pierre LE GOFF",
    "jean pierre goff 42": "Docteur Jean-Pierre LE GOFF",
    "jeanpierre legoff loire cardiologie": "Docteur Jean-Pierre LE GOFF",  # "loire" is missing: a word may be
    "matrineau medecin lyon 8": "Docteur Anaïs MARTINEAU",  # two letters exchanged
    "martinau lyon": "Docteur Anaïs MARTINEAU",  # a letter less
    "jean pierre le goff cardiolgue": "Docteur Jean-Pierre LE GOFF",
    "pharmacie centre grenoble": "PHARMACIE DU CENTRE",
    "pharmacie du cenrte 38000": "PHARMACIE DU CENTRE",
    "89990000013": "Docteur Claire MARTIN",
    "8 89990000013": "Docteur Claire MARTIN",
    "claire.martin@msg.exemple.fr": "Docteur Claire MARTIN",
    "Pharmacie.Centre@MSG.exemple.fr": "PHARMACIE DU CENTRE",
}


async def test_one_box(loaded: asyncpg.Connection) -> None:
    assert {question: "".join(names(await search(loaded, question))[:1]) for question in FIRST} == FIRST


async def test_near_a_place(loaded: asyncpg.Connection) -> None:
    """Lyon and Grenoble are 95 km apart, Saint-Étienne and Lyon 50."""
    question = "pharmacie du centre près de"
    for near in ("69003", "Saint-Étienne 60 km"):
        assert {one.postcode for one in await search(loaded, f"{question} {near}")} == {"69003"}
    both = await search(loaded, "pharmacie du centre", near=Near("lyon", 120))
    assert [one.postcode for one in both if not one.national_id] == ["69003", "38000"]
    # There is no such pharmacy in Brest, but there are others: a word may be missing, the place not.
    assert {one.town for one in await search(loaded, f"{question} Brest")} == {"Brest"}
    assert await search(loaded, f"{question} Nulle-Part") == []
    assert {one.town for one in await search_fields(loaded, profession="kiné", near=Near("brest", 5))} == {"Brest"}
    (told, *_) = (await search(loaded, "kiné autour de Brest", 1, explain=True))[0].matches
    assert (told.asked, told.how, told.word) == ("brest", "near", "29200")


async def test_a_structure_is_found_by_its_number(loaded: asyncpg.Connection) -> None:
    pharmacy = (await search(loaded, "pharmacie du centre 69003"))[0]
    assert [one.organisation_id for one in await search(loaded, pharmacy.finess)] == [pharmacy.organisation_id]


async def test_fields_narrow_each_its_own(loaded: asyncpg.Connection) -> None:
    found = await search_fields(loaded, name="martin", profession="médecin", place="69003")
    assert names(found) == ["Docteur Claire MARTIN"]
    assert names(await search_fields(loaded, name="centre", profession="pharmacie", place="lyon 3"))[0] == (
        "PHARMACIE DU CENTRE"
    )
    everyone = await search_fields(loaded, profession="orthophoniste", place="rennes", limit=100)
    assert everyone
    assert {(one.profession, one.town) for one in everyone} == {("Orthophoniste", "Rennes")}
    # A town is no name: nobody is called Lyon.
    assert "Lyon" not in {one.town.split(" ")[0] for one in await search_fields(loaded, name="grenoble")}


async def test_completion_proposes_who_can_be_written_to_first(loaded: asyncpg.Connection) -> None:
    assert names(await complete(loaded, "claire mar"))[0] == "Docteur Claire MARTIN"
    proposed = await complete(loaded, "dr leg", 8)
    assert 0 < len(proposed) <= 8
    reachable = [bool(one.mailboxes) for one in proposed]
    assert reachable == sorted(reachable, reverse=True)


async def test_order_is_stable_and_limits_hold(loaded: asyncpg.Connection) -> None:
    first = await search(loaded, "cabinet", 100)
    assert len(first) == 100
    assert await search(loaded, "cabinet", 100) == first
    assert await search(loaded, "cabinet", 5) == first[:5]
    assert len(await search(loaded, "cabinet", 10_000)) == 100


async def test_odd_questions_find_nothing_and_break_nothing(loaded: asyncpg.Connection) -> None:
    for question in [
        "",
        "   ",
        "|",
        "%",
        "'; DROP SCHEMA directory; --",
        "\0",
        "é" * 10_000,
        "a " * 500,
        "zzzzqqqq xxxxwwww",
        "٣",
    ]:
        assert await search(loaded, question) == []
        assert await search_fields(loaded, name=question, profession=question, place=question) == []


async def test_the_same_files_again_change_nothing(loaded: asyncpg.Connection, files: list[Path]) -> None:
    before = await contents(loaded)
    touched = "SELECT sum(n_tup_upd + n_tup_del) FROM pg_stat_xact_user_tables WHERE schemaname = 'directory'"
    async with loaded.transaction():
        await load(loaded, files, NOW)
        assert await loaded.fetchval(touched) == 0
    after = await contents(loaded)
    assert len(after.pop("load")) == len(before.pop("load")) + 1
    assert after == before


async def test_a_person_who_left_is_gone(loaded: asyncpg.Connection, files: list[Path], tmp_path: Path) -> None:
    fewer = [tmp_path / path.name for path in files]
    for old, new in zip(files, fewer, strict=True):
        lines = old.read_text().splitlines(keepends=True)
        new.write_text("".join(line for line in lines if "89990000013" not in line))
    await load(loaded, fewer, NOW)
    assert await search(loaded, "89990000013") == []
    assert "Docteur Claire MARTIN" not in names(await search(loaded, "dr martin généraliste lyon 3"))
    assert await loaded.fetchval("SELECT count(*) FROM directory.word WHERE word = 'claire'") == 0


async def test_the_zip_is_read_as_it_is(owner: asyncpg.Connection, files: list[Path], tmp_path: Path) -> None:
    archive = tmp_path / "PS_LibreAcces.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(files[0], files[0].name)
        packed.write(files[1], files[1].name)
        packed.writestr(
            "PS_LibreAcces_Dipl_AutExerc_20261101020000.txt", "Type d'identifiant PP|Code diplôme obtenu|\n8|D1|\n"
        )
    await load(owner, [archive, files[2]], NOW)
    assert names(await search(owner, "dr martin généraliste lyon 3")) == ["Docteur Claire MARTIN"]


async def test_the_mailbox_file_alone_is_a_directory(owner: asyncpg.Connection, files: list[Path]) -> None:
    await load(owner, files[2:], NOW)
    first = (await search(owner, "pharmacie du centre 69003"))[0]
    assert addresses(first) == ["pharmacie.centre@msg.exemple.fr"]
    assert names(await search(owner, "dr martin généraliste lyon 3")) == ["Docteur Claire MARTIN"]


async def test_a_mailbox_without_a_number_of_its_structure_has_its_place(
    owner: asyncpg.Connection, files: list[Path], tmp_path: Path
) -> None:
    """Found by the address of the line; with an activity of the person known, that place counts alone."""
    header, martin = files[2].read_text().splitlines()[:2]
    bare = tmp_path / files[2].name
    fields = martin.split("|")
    bare.write_text("\n".join([header, "|".join([*fields[:5], "", "", *fields[7:]]), ""]))
    await load(owner, [bare], NOW)
    assert [one.town for one in await search(owner, "dr martin généraliste lyon 3")] == ["LYON"]
    assert await search(owner, "cabinet du docteur martin") == await search(owner, "claire martin")
    await load(owner, [*files[:2], bare], NOW, smallest_share=0)
    assert [one.town for one in await search(owner, "claire martin lyon")] == ["Lyon 3e Arrondissement"]
    by_address = await search(owner, "claire.martin@msg.exemple.fr")
    assert [addresses(one) for one in by_address] == [["claire.martin@msg.exemple.fr"]]


class TestRefusal:
    """Files that cannot be believed leave the directory as it was."""

    async def test_columns_missing(self, loaded: asyncpg.Connection, files: list[Path], tmp_path: Path) -> None:
        wrong = tmp_path / files[0].name
        wrong.write_text(files[0].read_text().replace("Code profession", "Code metier", 1))
        await self.refused(loaded, [wrong, *files[1:]], r'line 1: the column "code profession" is missing')

    async def test_too_many_damaged_lines(self, loaded: asyncpg.Connection, files: list[Path], tmp_path: Path) -> None:
        wrong = tmp_path / files[2].name
        lines = files[2].read_text().splitlines()
        wrong.write_text("\n".join([lines[0], *(line.replace("|", "", 1) for line in lines[1:60]), *lines[60:], ""]))
        error = await self.refused(loaded, [*files[:2], wrong], "59 of 7.. lines cannot be read")
        assert error.problems[0].line == 2
        assert "30 fields, the header has 31" in str(error.problems[0])

    async def test_a_cut_download(self, loaded: asyncpg.Connection, files: list[Path], tmp_path: Path) -> None:
        cut = tmp_path / files[0].name
        cut.write_bytes(files[0].read_bytes()[:40_000])
        await self.refused(loaded, [cut], "the last line has no end: the file was cut")
        cut.write_bytes(cut.read_bytes().rpartition(b"\n")[0] + b"\n")
        await self.refused(loaded, [cut], "look cut off")
        await load(loaded, [cut], NOW, smallest_share=0)
        assert 0 < await loaded.fetchval("SELECT count(*) FROM directory.professional") < 150

    async def test_no_line(self, loaded: asyncpg.Connection, files: list[Path], tmp_path: Path) -> None:
        empty = tmp_path / files[0].name
        empty.write_text(files[0].read_text().splitlines()[0] + "\n")
        await self.refused(loaded, [empty], "0 of 0 lines")

    async def test_no_such_file(self, loaded: asyncpg.Connection, tmp_path: Path) -> None:
        await self.refused(loaded, [tmp_path / "absent.txt"], "absent.txt: No such file")

    async def test_a_damaged_zip(self, loaded: asyncpg.Connection, files: list[Path], tmp_path: Path) -> None:
        archive = tmp_path / "PS_LibreAcces.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.write(files[0], files[0].name)
        data = bytearray(archive.read_bytes())
        data[2_000:2_040] = bytes(40)
        archive.write_bytes(data)
        await self.refused(loaded, [archive], "PS_LibreAcces")

    async def test_two_at_once(self, database: Database, loaded: asyncpg.Connection, files: list[Path]) -> None:
        other = await database.connect()
        try:
            async with loaded.transaction():
                await load(loaded, files, NOW)
                with pytest.raises(LoadRefused, match="another import"):
                    await load(other, files, NOW)
        finally:
            await other.close()

    async def refused(self, connection: asyncpg.Connection, paths: list[Path], reason: str) -> LoadRefused:
        before = await contents(connection)
        with pytest.raises(LoadRefused, match=reason) as raised:
            await load(connection, paths, NOW)
        assert await contents(connection) == before
        return raised.value


async def test_readers_see_the_old_directory_until_the_commit(
    database: Database, loaded: asyncpg.Connection, files: list[Path], tmp_path: Path
) -> None:
    reader = await database.connect("imap")
    try:
        async with loaded.transaction():
            await load(loaded, files[:1], NOW, smallest_share=0)
            assert addresses((await search(reader, "dr martin généraliste lyon 3"))[0])
        assert addresses((await search(reader, "dr martin généraliste lyon 3"))[0]) == []
    finally:
        await reader.close()


async def test_roles_read_and_do_not_write(database: Database, loaded: asyncpg.Connection) -> None:
    for role in ("relay", "submission", "imap", "web", "ldap", "jobs"):
        connection = await database.connect(role)
        try:
            assert names(await search(connection, "dr martin généraliste lyon 3")) == ["Docteur Claire MARTIN"], role
            for table in TABLES:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(f"DELETE FROM directory.{table}")
        finally:
            await connection.close()


def test_the_sample_is_the_same_for_the_same_seed(files: list[Path], tmp_path: Path) -> None:
    again = write(tmp_path)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]
    shutil.rmtree(tmp_path)
    assert write(tmp_path, seed=2)[0].read_bytes() != files[0].read_bytes()
