"""Finding in a small nation: with the mistakes that people make, page after page, and what changed since."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import asyncpg
import pytest

from directory.folding import near, words
from directory.listing import refresh
from directory.load import load
from directory.question import BadCursor
from directory.search import Found, complete, search, search_fields
from server.db.embedded import EmbeddedPostgres
from tests.bench.nation import write
from tests.conftest import Database, drop_database, make_database
from tests.directory_questions import LISTINGS, MISTAKES, questions

NOW = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def nation(cluster: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Some thousand lines of the fictitious nation, imported once."""
    files = write(tmp_path_factory.mktemp("nation"), share=0.002)
    files = [path for path in files if "Dipl_AutExerc" not in path.name]

    async def fill() -> Database:
        database = await make_database(cluster)
        owner = await database.connect()
        await load(owner, files, NOW)
        await owner.close()
        return database

    database = asyncio.run(fill())
    yield database
    asyncio.run(drop_database(database))


@pytest.fixture
async def reader(nation: Database) -> AsyncIterator[asyncpg.Connection]:
    """What a web worker may do."""
    connection = await nation.connect("web")
    yield connection
    await connection.close()


@pytest.fixture
async def owner(nation: Database) -> AsyncIterator[asyncpg.Connection]:
    """The owner, in a transaction that leaves nothing."""
    connection = await nation.connect()
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


def keys(found: list[Found]) -> list[tuple[str, str]]:
    return [(one.national_id, one.organisation_id) for one in found]


async def test_questions_with_mistakes_find_who_is_meant_among_the_first_five(reader: asyncpg.Connection) -> None:
    missed = Counter[str]()
    asked = await questions(reader, 200, seed=7)
    for one in asked:
        if not any(one.is_meant(found) for found in await search(reader, one.text, 5)):
            missed[one.mistake] += 1
    assert len(asked) == 200
    assert sum(missed.values()) <= 4, missed


async def test_everybody_is_found_by_their_words_a_beginning_and_one_mistake(reader: asyncpg.Connection) -> None:
    chance = random.Random(11)
    for row in await reader.fetch(LISTINGS, "property", 40):
        name = f"{row['last_name']} {row['first_name']}" if row["national_id"] else row["name"]
        me = row["national_id"], row["organisation_id"]
        by_name = {"name": name, "place": row["postcode"], "limit": 100}
        assert me in keys(await search_fields(reader, **by_name)), name
        last = words(name)[-1]
        if len(last) > 3:
            begun = name[: len(name) - 1]
            assert me in keys(await search_fields(reader, **by_name | {"name": begun})), begun
        mistaken = MISTAKES["exchanged"](name.lower(), chance)
        found = await search_fields(reader, **by_name | {"name": mistaken})
        # Who is called as the mistake is found before.
        assert me in keys(found) or any(mistaken.split(" ")[0] in words(one.name) for one in found), mistaken


async def test_the_index_holds_the_keys_that_a_question_is_looked_up_by(owner: asyncpg.Connection) -> None:
    rows = await owner.fetch(
        "SELECT w.word, array_agg(DISTINCT n.key) AS keys FROM directory.word w JOIN directory.near_word n"
        " USING (word_id) GROUP BY 1 ORDER BY md5(w.word) LIMIT 500"
    )
    assert [(row["word"], sorted(row["keys"])) for row in rows] == [(row["word"], near(row["word"])) for row in rows]


async def test_pages_follow_each_other_and_belong_to_their_question(reader: asyncpg.Connection) -> None:
    for question in ("infirmière", "medecin", "cabinet", "matrin"):
        whole = await search(reader, question, 100)
        pages: list[Found] = []
        after = ""
        while page := await search(reader, question, 7, after=after):
            pages += page
            after = page[-1].after
        assert keys(pages) == keys(whole)
        assert len(set(keys(pages))) == len(pages) <= 100
    for wrong in (whole[0].after + "0", "0.9999-" + "0" * 12, "x", "é", "0.5-zzz\0"):
        with pytest.raises(BadCursor):
            await search(reader, "cabinet", after=wrong)
    with pytest.raises(BadCursor):
        await search(reader, "medecin", after=whole[0].after)


async def test_why_each_was_found_is_told(reader: asyncpg.Connection) -> None:
    row = (await reader.fetch(LISTINGS, "why", 20))[0]
    name = (row["last_name"] or row["name"]).lower()
    found = await search(reader, f"{name} {row['postcode']}", 1, explain=True)
    (first,) = found
    assert first.score >= sum(match.points for match in first.matches) > 0
    assert {match.asked for match in first.matches} >= {row["postcode"]}
    (place,) = (match for match in first.matches if match.asked == row["postcode"])
    assert (place.how, place.word, place.field, place.points) == ("equal", row["postcode"], "postcode", 10)


async def test_completion_goes_on_as_one_types(reader: asyncpg.Connection) -> None:
    rows = await reader.fetch(
        "SELECT l.national_id, p.last_name, p.first_name, o.town FROM directory.listing l"
        " JOIN directory.professional p USING (national_id) JOIN directory.organisation o USING (organisation_id)"
        " WHERE l.mailboxes > 0 ORDER BY md5(l.national_id) LIMIT 15"
    )
    for row in rows:
        text = f"{row['last_name']} {row['first_name']} {row['town']}".lower()
        for length in (2, 4, len(row["last_name"]) + 2):
            proposed = await complete(reader, text[:length])
            assert 0 < len(proposed) <= 8, text[:length]
            boxes = [bool(one.mailboxes) for one in proposed]
            assert boxes == sorted(boxes, reverse=True)
        assert row["national_id"] in [one.national_id for one in await complete(reader, text)]
    assert await complete(reader, "qzxw") == []


HOSTILE = (
    "é" * 10_000,
    "martin " * 1_000,
    "'; DROP TABLE directory.listing; --",
    "%_%_ .* [a-z]+ (?:x)",
    "a\0b martin",
    "\ud800 martin",
    "@\ud800\0",
    "x@" + "y" * 10_000,
    "\u202e\u0000\ufffe",
    "~~~ = =qzxw",
    "2B9\0999999",
    "1" * 14,
    " ".join(f"mot{number}" for number in range(1_000)),
)


@pytest.mark.parametrize("question", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_questions_are_answered(reader: asyncpg.Connection, question: str) -> None:
    """Bounded, and nobody is found by what is no word."""
    for found in (
        await search(reader, question),
        await search_fields(reader, name=question, profession=question, place=question),
        await complete(reader, question),
    ):
        assert len(found) <= 20
        assert all("martin" in question for _ in found)


async def test_unlisted_mailboxes_are_neither_found_nor_shown(owner: asyncpg.Connection) -> None:
    row = await owner.fetchrow(
        "SELECT m.address, m.national_id, m.organisation_id FROM directory.mailbox_entry m"
        " WHERE kind = 'PER' ORDER BY md5(address) LIMIT 1"
    )
    assert [one.national_id for one in await search(owner, row["address"])] == [row["national_id"]]
    await owner.execute("UPDATE directory.mailbox_entry SET unlisted = true WHERE national_id = $1", row["national_id"])
    await touch(owner, (row["national_id"], ""))
    assert await search(owner, row["address"]) == []
    found = await search(owner, row["national_id"])
    assert all(one.mailboxes == () for one in found)
    counted = "SELECT sum(mailboxes) FROM directory.listing WHERE national_id = $1"
    assert not await owner.fetchval(counted, row["national_id"])


async def touch(connection: asyncpg.Connection, *keys: tuple[str, str]) -> None:
    """Have the index follow what a test changed."""
    await connection.execute(
        "CREATE TEMP TABLE stage_touched (national_id text, profession_code text, organisation_id text) ON COMMIT DROP"
    )
    await connection.executemany("INSERT INTO stage_touched VALUES ($1, '', $2)", keys)
    await refresh(connection, lambda stage, done: None, whole=False)


async def listings(connection: asyncpg.Connection) -> dict[tuple[str, str, str], set[str]]:
    """Every listing with the words it is found by."""
    rows = await connection.fetch(
        "SELECT l.national_id, l.profession_code, l.organisation_id, l.sort_name || l.mailboxes AS shown,"
        " ARRAY(SELECT w.word || (t & 7) FROM unnest(l.words) t JOIN directory.word w ON w.word_id = t >> 3) AS words"
        " FROM directory.listing l"
    )
    return {(row[0], row[1], row[2]): {row["shown"], *row["words"]} for row in rows}


async def test_what_was_touched_is_indexed_as_if_all_were(owner: asyncpg.Connection) -> None:
    """A person with a new name, an organisation that moves, another that leaves."""
    before = await listings(owner)
    person = await owner.fetchval("SELECT max(national_id) FROM directory.professional")
    renamed = "UPDATE directory.professional SET last_name = 'DE LA NOUVEAUTÉ' WHERE national_id = $1"
    await owner.execute(renamed, person)
    moved, gone = await owner.fetchrow(
        "SELECT max(organisation_id), min(organisation_id) FROM directory.organisation WHERE sector_code <> 'SA07'"
    )
    elsewhere = "UPDATE directory.organisation SET town = 'Étretat', postcode = '76790' WHERE organisation_id = $1"
    await owner.execute(elsewhere, moved)
    moving = await owner.fetch(
        "SELECT national_id FROM directory.mailbox_entry WHERE organisation_id = ANY($1)"
        " UNION SELECT national_id FROM directory.activity WHERE organisation_id = ANY($1)",
        [moved, gone],
    )
    for table in ("activity", "mailbox_entry", "organisation"):
        await owner.execute(f"DELETE FROM directory.{table} WHERE organisation_id = $1", gone)
    await touch(owner, (person, ""), ("", moved), ("", gone), *((row[0], "") for row in moving if row[0]))
    assert person in [one.national_id for one in await search(owner, "nouveaute")]
    assert moved in [one.organisation_id for one in await search(owner, "etretat 76")]
    part = await listings(owner)
    await owner.execute("TRUNCATE directory.listing, directory.word, directory.near_word")
    await refresh(owner, lambda stage, done: None, whole=True)
    assert await listings(owner) == part != before
