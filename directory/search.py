"""Finds professionals and structures: one box ("dr martin généraliste lyon 3"), or a name, a profession and a place.

Each word of the question must be in the listing found: as it is, begun, or mistyped; folded as the index is. A word
that the index does not hold is taken as mistyped; when nothing holds all words, mistakes are allowed in every word,
then one word may be missing. Two statements answer most questions: what the words are in the index, and who holds them.

Results are ranked by how well each word fits and where; equal ranks keep one order, so that the same question has the
same answer and pages follow each other. Of very many that fit equally well, those stored first are ranked: 100 at most.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import asyncpg

from directory.folding import words
from directory.index import queries
from directory.index.queries import WEIGHTS, Branch
from directory.index.ways import Ways, allow_mistakes, around, branches_of, ways_of
from directory.indexing import FIELDS, NAME, PLACE, PROFESSION, field_of
from directory.places import Near, near_asked
from directory.queries import Connection
from directory.question import QUESTION_WORDS, RESULTS, Asked, Page, asked_words, page_of, readable

COMPLETIONS = 8  # what fits under a field
_HOW = ("equal", "equal", "equal", "begun", "one mistake", "like it")
_IDENTIFIER = re.compile(r"[0-9][0-9AB][0-9]{7,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Match:
    """Why a listing was found: a word of the question, how it fits which word of which field, what that counts."""

    asked: str
    how: str
    word: str
    field: str
    points: int


@dataclass(frozen=True, slots=True)
class Found:
    """A person at a place, or an organisation (`national_id` empty).

    `mailboxes` are (type, address): a person's own, those of this place first; an organisation's. `place_mailboxes` are
    those of the organisation where a person practises. None of them is unlisted. `after` is the cursor of what follows
    in the order of the question; `matches` are told when asked for.
    """

    national_id: str
    identifier: str
    civility: str
    last_name: str
    first_name: str
    profession: str
    know_how: tuple[str, ...]
    organisation_id: str
    organisation: str
    finess: str
    street: str
    postcode: str
    town: str
    sector: str
    phone: str
    mailboxes: tuple[tuple[str, str], ...]
    place_mailboxes: tuple[tuple[str, str], ...]
    score: int = field(default=0, compare=False)
    after: str = field(default="", compare=False)
    matches: tuple[Match, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """What a screen shows first."""
        if self.national_id:
            return " ".join(part for part in (self.civility, self.first_name, self.last_name) if part)
        return self.organisation


async def search(
    connection: Connection,
    question: str,
    limit: int = 20,
    *,
    near: Near | None = None,
    after: str = "",
    explain: bool = False,
) -> list[Found]:
    """One box: names, profession, specialty, town, postcode in any order; or an RPPS, a FINESS, an address.

    `near` is where, else the question may end in it ("près de 69003 20 km"). `after` continues behind a listing found
    (`Found.after`). Raises BadCursor.
    """
    text = readable(question)
    page = page_of(limit, after, f"{text}\n{near or ''}")
    if (known := await _identified(connection, text)) is not None:
        return await _details(connection, known, page)
    asked = asked_words(text, FIELDS)
    if near is None:
        parts, near = near_asked(words(text))
        asked = asked_words(" ".join(parts), FIELDS) if near else asked
    return await _ranked(connection, asked, page, near=near, explain=explain)


async def search_fields(
    connection: Connection,
    *,
    name: str = "",
    profession: str = "",
    place: str = "",
    near: Near | None = None,
    limit: int = 20,
    after: str = "",
    explain: bool = False,
) -> list[Found]:
    """By field: a person's or structure's name, a profession or specialty, a town or postcode; empty ones are free."""
    texts = [readable(text) for text in (name, profession, place)]
    page = page_of(limit, after, "\n".join([*texts, str(near or "")]))
    asked = [
        one for text, fields in zip(texts, (NAME, PROFESSION, PLACE), strict=True) for one in asked_words(text, fields)
    ]
    return await _ranked(connection, asked[:QUESTION_WORDS], page, near=near, explain=explain)


async def complete(connection: Connection, text: str, limit: int = COMPLETIONS) -> list[Found]:
    """What a field for recipients proposes while one types: listings that hold all words as begun, mailboxes first.

    Mistakes are not looked for: who types goes on.
    """
    page = page_of(limit, "", "")
    if page.limit <= COMPLETIONS:  # there is no second page
        page = replace(page, ranked=3 * COMPLETIONS)
    found = await _ranked(connection, asked_words(readable(text), FIELDS), page, mistakes_too=False)
    return sorted(found, key=lambda one: not one.mailboxes)


async def _identified(connection: Connection, text: str) -> list[tuple[str, str, str]] | None:
    """The keys that an identifier or address stands for; None when the question is neither."""
    bare = re.sub(r"\s", "", text).upper()
    if "@" in text:
        rows = await connection.fetch(queries.BY_ADDRESS, text.lower(), RESULTS)
    elif _IDENTIFIER.fullmatch(bare) is None:
        return None
    elif len(bare) in {11, 12}:
        rows = await connection.fetch(queries.BY_NATIONAL_ID, [bare, f"8{bare}"], RESULTS)
    else:
        rows = await connection.fetch(queries.BY_NATIONAL_ID, [f"0{bare}"], RESULTS)
        rows += await connection.fetch(queries.BY_STRUCTURE, bare, RESULTS)
    return [(row[0], row[1], row[2]) for row in rows][:RESULTS]


async def _ranked(
    connection: Connection,
    asked: Sequence[Asked],
    page: Page,
    *,
    near: Near | None = None,
    mistakes_too: bool = True,
    explain: bool = False,
) -> list[Found]:
    required = [one for one in asked if not one.optional]
    if not (required or near) or page.limit < 1:
        return []
    ways, extra = await ways_of(connection, asked) if asked else ([], [])
    if near:
        if not (place := await around(connection, near)).known:
            return []
        required.insert(0, Asked(near.place, PLACE, exact=True))
        ways.insert(0, place)
    if mistakes_too:
        await allow_mistakes(connection, required, ways, [way for way in ways if not way.known])
    for stage in range(3 if mistakes_too else 1):
        if stage == 1:
            await allow_mistakes(connection, required, ways, [way for way in ways if not way.looked_near])
            for way in ways:
                way.allow_begun()
        branches = branches_of(ways, stage)
        if not branches or (page.offset and stage != page.stage):
            continue
        rows = await _find(connection, required, ways, extra, branches, page)
        if rows or page.offset:
            found = [_found(row, f"{stage}.{page.offset + place}-{page.key}") for place, row in enumerate(rows, 1)]
            return await _explained(connection, required, ways, found, rows) if explain else found
    return []


async def _find(
    connection: Connection,
    required: Sequence[Asked],
    ways: Sequence[Ways],
    extra: list[int],
    branches: tuple[Branch, ...],
    page: Page,
) -> list[asyncpg.Record]:
    levels = [terms for way in ways for terms in way.levels]
    texts = [one.word for one in required]
    need = page.offset + page.limit
    statement = queries.find(len(ways), branches, page.ranked)
    return list(await connection.fetch(statement, *levels, *texts, extra, need, page.limit, page.offset))


async def _explained(
    connection: Connection,
    required: Sequence[Asked],
    ways: Sequence[Ways],
    found: Sequence[Found],
    rows: Sequence[asyncpg.Record],
) -> list[Found]:
    """The same listings, each with why it was found."""
    numbers = list({term // 8 for row in rows for term in row["words"]})
    names = {row["word_id"]: row["word"] for row in await connection.fetch(queries.NAMES_OF_WORDS, numbers)}

    def matches(terms: set[int]) -> Iterator[Match]:
        for one, way in zip(required, ways, strict=True):
            for level, some in enumerate(way.levels):
                if fitting := sorted(terms.intersection(some)):
                    word = names.get(fitting[0] // 8, "").removeprefix("=")
                    where = field_of(fitting[0]).name.lower()
                    how = "near" if way.rings else _HOW[level]
                    yield Match(one.word, how, word, where, WEIGHTS[level])
                    break

    return [replace(one, matches=tuple(matches(set(row["words"])))) for one, row in zip(found, rows, strict=True)]


async def _details(connection: Connection, keys: Sequence[tuple[str, str, str]], page: Page) -> list[Found]:
    some = keys[page.offset : page.offset + page.limit]
    if not some:
        return []
    rows = await connection.fetch(queries.DETAILS, *(list(column) for column in zip(*some, strict=True)))
    return [_found(row, f"0.{page.offset + place}-{page.key}") for place, row in enumerate(rows, 1)]


def _found(row: asyncpg.Record, after: str) -> Found:
    return Found(
        national_id=row["national_id"],
        identifier=row["identifier"] or "",
        civility=row["civility"] or "",
        last_name=row["last_name"] or "",
        first_name=row["first_name"] or "",
        profession=row["profession"] or "",
        know_how=tuple(dict.fromkeys(row["know_how"])),
        organisation_id=row["organisation_id"],
        organisation=row["name"] or row["sign"] or "",
        finess=row["finess"] or "",
        street=row["street"] or "",
        postcode=row["postcode"] or "",
        town=row["town"] or "",
        sector=row["sector"] or "",
        phone=row["phone"] or "",
        mailboxes=_mailboxes(row["own_mailboxes" if row["national_id"] else "place_mailboxes"]),
        place_mailboxes=_mailboxes(row["place_mailboxes"]),
        score=row["score"],
        after=after,
    )


def _mailboxes(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    parts = (text.partition(" ") for text in texts)
    return tuple((kind, address) for kind, _, address in parts)
