"""Finds professionals and structures: one box ("dr martin généraliste lyon 3"), or a name, a profession and a place.

Each word of the question must be in the listing found: as it is, begun, or mistyped; folded as the index is. When
nothing holds all words, mistakes are allowed in every word, then one word may be missing. Results are ranked by how
well each word fits and where, equal ranks keep one order: the same question has the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from directory import queries
from directory.folding import distance, mistakes, near, words
from directory.indexing import FIELDS, NAME, POSTCODE, PROFESSION, TOWN, WORKPLACE
from directory.queries import Connection
from directory.synonyms import district_asked, written_out

QUESTION_CHARACTERS = 200  # nobody types more; each word costs look-ups
QUESTION_WORDS = 10
RESULTS = 100  # at most: a longer list is a question to make narrower
COMPLETIONS = 8  # what fits under a field
BEGUN_FROM = 2  # letters; a single one begins too many words
BEGUN_WORDS = 300  # of the words that a start stands for, the most used
NEAR_CANDIDATES = 2_000  # words that share a key with a mistyped one, before their distance is counted
NEAR_WORDS = 50  # of those that are really near, for each number of mistakes

# Words that say nothing of who is looked for: they may match, and must not.
_CIVILITIES = "dr docteur docteure pr professeur m mr mme mlle monsieur madame mademoiselle maitre"
_PARTICLES = "a au aux chez d de des du en et l la le les pour sur sous arrondissement cedex"
_OPTIONAL = frozenset(f"{_CIVILITIES} {_PARTICLES}".split())
_IDENTIFIER = re.compile(r"[0-9][0-9AB][0-9]{7,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Found:
    """A person at a place, or an organisation (`national_id` empty).

    `mailboxes` are (type, address): a person's own, those of this place first; an organisation's. `place_mailboxes` are
    those of the organisation where a person practises.
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

    @property
    def name(self) -> str:
        """What a screen shows first."""
        if self.national_id:
            return " ".join(part for part in (self.civility, self.first_name, self.last_name) if part)
        return self.organisation


@dataclass(frozen=True, slots=True)
class _Asked:
    """A word of the question and the fields it may stand in."""

    word: str
    fields: tuple[str, ...]
    optional: bool = False
    exact: bool = False


@dataclass(frozen=True, slots=True)
class _Ways:
    """Numbers of the index's words that a word of the question stands for, by the levels of `queries.WEIGHTS`."""

    levels: tuple[list[int], ...]

    @property
    def all(self) -> list[int]:
        return [number for level in self.levels for number in level]


async def search(connection: Connection, question: str, limit: int = 20) -> list[Found]:
    """One box: names, profession, specialty, town, postcode in any order; or an RPPS, a FINESS, an address."""
    text = question[:QUESTION_CHARACTERS].strip()
    limit = _bounded(limit)
    if (known := await _identified(connection, text, limit)) is not None:
        return await _details(connection, known)
    return await _ranked(connection, asked_words(text, FIELDS), limit)


async def search_fields(
    connection: Connection, *, name: str = "", profession: str = "", place: str = "", limit: int = 20
) -> list[Found]:
    """By field: a person's or structure's name, a profession or specialty, a town or postcode; empty ones are free."""
    asked = [
        *asked_words(name[:QUESTION_CHARACTERS], (NAME, WORKPLACE)),
        *asked_words(profession[:QUESTION_CHARACTERS], (PROFESSION,)),
        *asked_words(place[:QUESTION_CHARACTERS], (TOWN, POSTCODE)),
    ]
    return await _ranked(connection, asked, _bounded(limit))


async def complete(connection: Connection, text: str, limit: int = COMPLETIONS) -> list[Found]:
    """What a field for recipients proposes while one types: listings that hold all words as begun, mailboxes first."""
    found = await search(connection, text, RESULTS)
    return sorted(found, key=lambda one: not one.mailboxes)[: _bounded(limit)]


def _bounded(limit: int) -> int:
    return max(1, min(limit, RESULTS))


def asked_words(text: str, fields: tuple[str, ...]) -> list[_Asked]:
    """The words of a question, with "lyon 3" understood as the arrondissement."""
    asked: list[_Asked] = []
    seen = [written_out(word) for word in words(text)]
    place = 0
    while place < len(seen):
        word = seen[place]
        place += 1
        asked.append(_Asked(word, fields, optional=word in _OPTIONAL))
        if place < len(seen) and TOWN in fields and (number := district_asked(word, seen[place])):
            asked.append(_Asked(number, (TOWN,), exact=True))
            place += 1
    if all(one.optional for one in asked):  # "Le", a family name, asked alone
        asked = [_Asked(one.word, one.fields) for one in asked]
    return list(dict.fromkeys(asked))[:QUESTION_WORDS]


async def _identified(connection: Connection, text: str, limit: int) -> list[tuple[str, str, str]] | None:
    """The keys that an identifier or address stands for; None when the question is neither."""
    bare = re.sub(r"\s", "", text).upper()
    if "@" in text:
        rows = await connection.fetch(queries.BY_ADDRESS, text.lower(), limit)
    elif _IDENTIFIER.fullmatch(bare) is None:
        return None
    elif len(bare) in {11, 12}:
        rows = await connection.fetch(queries.BY_NATIONAL_ID, [bare, f"8{bare}"], limit)
    else:
        rows = await connection.fetch(queries.BY_NATIONAL_ID, [f"0{bare}"], limit)
        rows += await connection.fetch(queries.BY_STRUCTURE, bare, limit)
    return [(row[0], row[1], row[2]) for row in rows][:limit]


async def _ranked(connection: Connection, asked: Sequence[_Asked], limit: int) -> list[Found]:
    required = [one for one in asked if not one.optional]
    if not required:
        return []
    optional = [await _ways(connection, one, mistyped=False) for one in asked if one.optional]
    strict = [await _ways(connection, one, mistyped=False) for one in required]
    # A word that the index does not hold at all is mistyped; those it holds are believed.
    ways = [
        way if way.all else await _ways(connection, one, mistyped=True)
        for one, way in zip(required, strict, strict=True)
    ]
    keys = await _find(connection, ways, optional, limit)
    if not keys:
        ways = [await _ways(connection, one, mistyped=True) for one in required]
        keys = await _find(connection, ways, optional, limit)
    if not keys and len(ways) > 1:
        found: dict[tuple[str, str, str], int] = {}
        for missing in range(len(ways)):
            rest = [way for number, way in enumerate(ways) if number != missing]
            for key, score in await _find(connection, rest, optional, limit):
                found[key] = max(score, found.get(key, 0))
        keys = sorted(found.items(), key=lambda row: -row[1])[:limit]
    return await _details(connection, [key for key, _ in keys])


async def _ways(connection: Connection, asked: _Asked, *, mistyped: bool) -> _Ways:
    equal: list[int] = []
    workplace: list[int] = []
    begun: list[int] = []
    close: list[list[int]] = [[], []]
    word, fields = asked.word, list(asked.fields)
    for row in await connection.fetch(queries.EQUAL_WORDS, word, fields):
        (workplace if row["field"] == WORKPLACE else equal).append(row["word_id"])
    if not asked.exact and not asked.optional and len(word) >= BEGUN_FROM:
        # "~" sorts after every letter and digit of a folded word.
        rows = await connection.fetch(queries.BEGUN_WORDS, word, word + "~", fields, BEGUN_WORDS)
        begun = [row["word_id"] for row in rows]
        if mistyped and (keys := near(word)):
            limit = mistakes(word)
            rows = await connection.fetch(queries.NEAR_WORDS, keys, fields, NEAR_CANDIDATES)
            for row in rows:
                gap = distance(word, row["word"], limit)
                if 0 < gap <= limit and len(close[gap - 1]) < NEAR_WORDS:
                    close[gap - 1].append(row["word_id"])
    return _Ways((equal, workplace, begun, *close))


async def _find(
    connection: Connection, required: Sequence[_Ways], optional: Sequence[_Ways], limit: int
) -> list[tuple[tuple[str, str, str], int]]:
    if not all(way.all for way in required):
        return []
    arrays: list[list[int]] = []
    for way in required:
        arrays += [way.all, *way.levels[:-1]]
    arrays += [way.all for way in optional]
    rows = await connection.fetch(queries.find(len(required), len(optional)), *arrays, limit)
    return [((row[0], row[1], row[2]), row["score"]) for row in rows]


async def _details(connection: Connection, keys: Sequence[tuple[str, str, str]]) -> list[Found]:
    if not keys:
        return []
    rows = await connection.fetch(queries.DETAILS, *(list(column) for column in zip(*keys, strict=True)))
    return [
        Found(
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
        )
        for row in rows
    ]


def _mailboxes(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    parts = (text.partition(" ") for text in texts)
    return tuple((kind, address) for kind, _, address in parts)
