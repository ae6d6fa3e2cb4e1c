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
from hashlib import blake2b

import asyncpg

from directory.folding import distance, mistakes, near, sound, words
from directory.index import queries
from directory.index.queries import CANDIDATES, WEIGHTS, Branch
from directory.indexing import FIELDS, NAME, PLACE, PROFESSION, Field, field_of
from directory.places import Near, near_asked
from directory.queries import Connection
from directory.synonyms import OPTIONAL, district_asked, written_out

QUESTION_CHARACTERS = 200  # nobody types more; each word costs look-ups
QUESTION_WORDS = 10
RESULTS = CANDIDATES  # at most, over all pages: a longer list is a question to make narrower
COMPLETIONS = 8  # what fits under a field
BEGUN_FROM = 2  # letters; a single one begins too many words
NEAR_TERMS = 20  # of the words really near, the most used
FREQUENT = 20_000  # listings; when every word is in more, a tenth of the index answers

# Levels of `queries.WEIGHTS`.
_EQUAL, _FIRST, _WORKPLACE, _BEGUN, _NEAR, _FAR = range(len(WEIGHTS))
_EXACT = (_EQUAL, _FIRST, _NEAR, _FAR)  # mistakes of words that the index does not hold: there is nothing better
_ANY = tuple(range(len(WEIGHTS)))
_RINGS = (0.1, 0.25, 0.5, 1.001)  # shares of the distance asked, for the levels of _EXACT
_HOW = ("equal", "equal", "equal", "begun", "one mistake", "like it")
_IDENTIFIER = re.compile(r"[0-9][0-9AB][0-9]{7,12}", re.ASCII)


class BadCursor(ValueError):
    """`after` is not of this question."""


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


@dataclass(frozen=True, slots=True)
class Asked:
    """A word of the question, the fields it may stand in, and what it is when written as one with the particle before.

    `optional` words may match, and must not; `exact` ones are not begun.
    """

    word: str
    fields: tuple[Field, ...]
    optional: bool = False
    exact: bool = False
    joined: str = ""


@dataclass(slots=True, eq=False)
class _Ways:
    """Terms of the index that a word of the question stands for, by the levels of `queries.WEIGHTS`."""

    levels: tuple[list[int], ...] = field(default_factory=lambda: tuple([] for _ in WEIGHTS))
    uses: int = 0  # as they are, or mistyped
    begun_uses: int = 0
    dense: bool = False  # begins more words than are listed
    looked_near: bool = False
    rings: bool = False  # levels of this one are distances
    begun: list[int] = field(default_factory=list)

    def add(self, level: int, terms: Sequence[int], fields: tuple[Field, ...]) -> None:
        for term in terms:
            where = term & 7
            if where not in fields:
                continue
            kept = level
            if level == _EQUAL and where == Field.FIRST_NAME:
                kept = _FIRST
            elif level == _EQUAL and where == Field.WORKPLACE:
                kept = _WORKPLACE
            self.levels[kept].append(term)

    def allow_begun(self) -> None:
        """Take the word for the beginning of another: the last of a question, or one that the index does not hold."""
        self.levels[_BEGUN][:] = self.begun

    @property
    def known(self) -> bool:
        return self.dense or any(self.levels)

    @property
    def exact(self) -> bool:
        return any(self.levels[level] for level in _EXACT)


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
    text = _readable(question)
    page = _page(limit, after, f"{text}\n{near or ''}")
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
    texts = [_readable(text) for text in (name, profession, place)]
    page = _page(limit, after, "\n".join([*texts, str(near or "")]))
    asked = [
        one for text, fields in zip(texts, (NAME, PROFESSION, PLACE), strict=True) for one in asked_words(text, fields)
    ]
    return await _ranked(connection, asked[:QUESTION_WORDS], page, near=near, explain=explain)


async def complete(connection: Connection, text: str, limit: int = COMPLETIONS) -> list[Found]:
    """What a field for recipients proposes while one types: listings that hold all words as begun, mailboxes first.

    Mistakes are not looked for: who types goes on.
    """
    found = await _ranked(connection, asked_words(_readable(text), FIELDS), _page(limit, "", ""), mistakes_too=False)
    return sorted(found, key=lambda one: not one.mailboxes)


def _readable(text: str) -> str:
    """The start of a question; what nobody types (NUL, lone surrogates) is a space, since no database takes it."""
    return "".join(c if c.isprintable() else " " for c in text[:QUESTION_CHARACTERS]).strip()


@dataclass(frozen=True, slots=True)
class _Page:
    """Which part of the answer is asked for: `limit` listings from `offset` on.

    `key` is the question's own, `stage` how far mistakes were allowed for the pages before.
    """

    limit: int
    offset: int
    stage: int
    key: str


_CURSOR = re.compile(r"([0-2])\.(\d{1,3})-(\w{12})", re.ASCII)


def _page(limit: int, after: str, question: str) -> _Page:
    key = blake2b(question.encode(), digest_size=6).hexdigest()
    if not after:
        return _Page(min(max(1, limit), RESULTS), 0, 0, key)
    cursor = _CURSOR.fullmatch(after)
    if cursor is None or cursor[3] != key:
        raise BadCursor("this cursor is of another question")
    offset = min(int(cursor[2]), RESULTS)
    return _Page(min(max(1, limit), RESULTS - offset), offset, int(cursor[1]), key)


def asked_words(text: str, fields: tuple[Field, ...]) -> list[Asked]:
    """The words of a question, with "lyon 3" understood as the arrondissement."""
    asked: list[Asked] = []
    seen = [written_out(word) for word in words(text)]
    place = 0
    while place < len(seen):
        word = seen[place]
        before = seen[place - 1] if place else ""
        place += 1
        joined = before + word if before in OPTIONAL else ""
        asked.append(Asked(word, fields, optional=word in OPTIONAL, joined=joined))
        if place < len(seen) and Field.TOWN in fields and (number := district_asked(word, seen[place])):
            asked.append(Asked(number, (Field.TOWN,), exact=True))
            place += 1
    if len(asked) > 1 and len(asked[-1].word) < BEGUN_FROM:  # one letter, of a word that is being typed
        asked[-1] = replace(asked[-1], optional=True)
    if all(one.optional for one in asked):  # "Le", a family name, asked alone
        asked = [Asked(one.word, one.fields) for one in asked]
    return list(dict.fromkeys(asked))[:QUESTION_WORDS]


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
    page: _Page,
    *,
    near: Near | None = None,
    mistakes_too: bool = True,
    explain: bool = False,
) -> list[Found]:
    required = [one for one in asked if not one.optional]
    if not (required or near) or page.limit < 1:
        return []
    ways, extra = await _ways(connection, asked) if asked else ([], [])
    if near:
        if not (around := await _around(connection, near)).known:
            return []
        required.insert(0, Asked(near.place, PLACE, exact=True))
        ways.insert(0, around)
    if mistakes_too:
        await _mistyped(connection, required, ways, [way for way in ways if not way.known])
    for stage in range(3 if mistakes_too else 1):
        if stage == 1:
            await _mistyped(connection, required, ways, [way for way in ways if not way.looked_near])
            for way in ways:
                way.allow_begun()
        branches = _branches(ways, stage)
        if not branches or (page.offset and stage != page.stage):
            continue
        rows = await _find(connection, required, ways, extra, branches, page)
        if rows or page.offset:
            found = [_found(row, f"{stage}.{page.offset + place}-{page.key}") for place, row in enumerate(rows, 1)]
            return await _explained(connection, required, ways, found, rows) if explain else found
    return []


def _branches(ways: Sequence[_Ways], stage: int) -> tuple[Branch, ...]:
    """The ways to find: all words as asked (stage 0), mistakes in one of them or in all (1), or one missing (2)."""
    everywhere = tuple(range(len(ways)))
    unknown = [place for place in everywhere if not ways[place].known]
    if stage == 2:
        if len(ways) == 1 or len(unknown) > 1:
            return ()
        left_out = unknown or [place for place in everywhere if not ways[place].rings]
        rests = [tuple(place for place in everywhere if place != missing) for missing in left_out]
        return tuple(_wide(ways, rest, 0)[0] for rest in rests)
    if unknown:
        return ()
    if stage == 1:
        one_wrong = [_wide(ways, everywhere, 0, wrong)[0] for wrong in everywhere]
        return (*one_wrong, replace(_wide(ways, everywhere, 1, *everywhere)[0], fallback=True))
    branches: list[Branch] = []
    if all(way.exact for way in ways):
        if len(ways) == 1 and ways[0].levels[_EQUAL] and ways[0].levels[_FIRST]:
            branches.append(Branch(everywhere, ((_EQUAL,),)))
        branches += _wide(ways, everywhere, 1)
    # Names are read for a beginning of very many words, unless those of half a nation would have to be.
    last = ways[-1]
    named = Branch(everywhere, tuple(_ANY for _ in ways), named=True)
    if last.dense and len(ways) == 1:
        branches.append(replace(named, tier=3))
    if any(way.levels[_WORKPLACE] or way.levels[_BEGUN] for way in ways):
        branches += _wide(ways, everywhere, 4, *everywhere)
    if last.dense and len(ways) > 1 and min(way.uses for way in ways[:-1]) < FREQUENT:
        branches.append(replace(named, tier=6))
    return tuple(_by_rings(branches)) if ways[0].rings else tuple(branches)


def _by_rings(branches: Sequence[Branch]) -> Iterator[Branch]:
    """Each branch ring after ring around the place that is the first word, so that the nearest are met first."""
    for branch in branches:
        if not branch.sample:
            for ring in range(1, len(_EXACT) + 1):
                tier = branch.tier * len(_EXACT) + ring
                yield replace(branch, levels=(_EXACT[:ring], *branch.levels[1:]), tier=tier)


def _wide(ways: Sequence[_Ways], places: tuple[int, ...], tier: int, *wrong: int) -> tuple[Branch, ...]:
    """A branch, behind the same in the sample of the index where every word is in very many listings.

    Words at the places `wrong` may be whatever they may stand for, others what they are.
    """
    every = {place: place in wrong or not ways[place].exact for place in places}
    uses = {place: ways[place].uses + (ways[place].begun_uses if every[place] else 0) for place in places}
    # What the index spends on a word grows with the terms that it may be: two words lead to few enough listings.
    rarest = sorted(places, key=lambda place: (every[place], uses[place]))
    read = tuple(place for place in rarest[2:] if every[place])
    branch = Branch(places, tuple(_ANY if every[place] else _EXACT for place in places), tier + 1, read=read)
    return (replace(branch, tier=tier, sample=True), branch) if min(uses.values()) >= FREQUENT else (branch,)


async def _ways(connection: Connection, asked: Sequence[Asked]) -> tuple[list[_Ways], list[int]]:
    """What the words of a question are in the index: those that must match, and terms that count one more each."""
    ways: list[_Ways] = []
    extra: list[int] = []
    equal: list[str] = []
    begun: list[str] = []
    owners: list[tuple[_Ways | None, Asked]] = []
    for one in asked:
        way = None if one.optional else _Ways()
        if way:
            ways.append(way)
        for word in filter(None, (one.word, "" if one.optional else one.joined)):
            equal.append(word)
            may_go_on = way and word == one.word and not one.exact and len(word) >= BEGUN_FROM
            begun.append(word if may_go_on else "")
            owners.append((way, one))
    for row in await connection.fetch(queries.WORDS, equal, begun):
        way, one = owners[row["place"] - 1]
        if way is None:
            extra += row["terms"]
        elif row["how"] == "begun":
            way.begun = [term for term in row["terms"] if term & 7 in one.fields]
            way.begun_uses = row["uses"]
            way.dense = not row["complete"] and Field.LAST_NAME in one.fields and one is asked[-1]
        else:
            way.add(_EQUAL, row["terms"], one.fields)
            way.uses += row["uses"]
            if row["word"] != one.word:
                extra += row["terms"]
    for way in ways:
        if way is ways[-1] or not way.exact:
            way.allow_begun()
    return ways, extra


async def _around(connection: Connection, near: Near) -> _Ways:
    """The postcodes near a place, as a word whose levels are rings around it: nearer ones count more."""
    around = _Ways(looked_near=True, rings=True)
    for row in await connection.fetch(queries.NEAR_PLACES, near.place, near.kilometres):
        share = row["kilometres"] / near.kilometres
        around.levels[next(level for level, most in zip(_EXACT, _RINGS, strict=True) if share <= most)].append(
            row["term"]
        )
        around.uses += row["uses"]
    return around


async def _mistyped(
    connection: Connection, required: Sequence[Asked], ways: Sequence[_Ways], some: Sequence[_Ways]
) -> None:
    """Add to `some` of the words what they may be with a mistake or two, or heard alike."""
    places, keys, sounds = [], [], []
    for place, (one, way) in enumerate(zip(required, ways, strict=True)):
        if way in some:
            way.looked_near = True
            if not one.exact and (key := near(one.word)):
                places.append(place)
                keys.append(" ".join(key))
                sounds.append(sound(one.word))
    if not places:
        return
    rows = await connection.fetch(queries.NEAR, places, keys, sounds)
    for row in sorted(rows, key=lambda row: -row["uses"]):
        one, way = required[row["place"]], ways[row["place"]]
        gap = distance(one.word, row["word"], mistakes(one.word))
        if gap == 0:
            continue
        level = _NEAR if gap == 1 else _FAR
        if (gap <= mistakes(one.word) or row["alike"]) and len(way.levels[level]) < NEAR_TERMS:
            way.add(level, row["terms"], one.fields)
            way.uses += row["uses"]


async def _find(
    connection: Connection,
    required: Sequence[Asked],
    ways: Sequence[_Ways],
    extra: list[int],
    branches: tuple[Branch, ...],
    page: _Page,
) -> list[asyncpg.Record]:
    levels = [terms for way in ways for terms in way.levels]
    texts = [one.word for one in required]
    need = page.offset + page.limit
    statement = queries.find(len(ways), branches)
    return list(await connection.fetch(statement, *levels, *texts, extra, need, page.limit, page.offset))


async def _explained(
    connection: Connection,
    required: Sequence[Asked],
    ways: Sequence[_Ways],
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


async def _details(connection: Connection, keys: Sequence[tuple[str, str, str]], page: _Page) -> list[Found]:
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
