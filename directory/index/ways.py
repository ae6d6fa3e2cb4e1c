"""What the words of a question may stand for in the index, and the ways to find by them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from directory.folding import distance, mistakes, near, sound
from directory.index import queries
from directory.index.queries import WEIGHTS, Branch
from directory.indexing import Field
from directory.places import Near
from directory.queries import Connection
from directory.question import BEGUN_FROM, Asked

NEAR_TERMS = 20  # of the words really near, the most used
FREQUENT = 20_000  # listings; when every word is in more, a tenth of the index answers

# Levels of `queries.WEIGHTS`.
_EQUAL, _FIRST, _WORKPLACE, _BEGUN, _NEAR, _FAR = range(len(WEIGHTS))
_EXACT = (_EQUAL, _FIRST, _NEAR, _FAR)  # mistakes of words that the index does not hold: there is nothing better
_ANY = tuple(range(len(WEIGHTS)))
_RINGS = (0.1, 0.25, 0.5, 1.001)  # shares of the distance asked, for the levels of _EXACT


@dataclass(slots=True, eq=False)
class Ways:
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


def branches_of(ways: Sequence[Ways], stage: int) -> tuple[Branch, ...]:
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
    # Names are read for a beginning that stands alone, and for one of very many words unless half a nation's would be.
    last = ways[-1]
    named = Branch(everywhere, tuple(_ANY for _ in ways), named=True)
    if last.begun and len(ways) == 1:
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


def _wide(ways: Sequence[Ways], places: tuple[int, ...], tier: int, *wrong: int) -> tuple[Branch, ...]:
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


async def ways_of(connection: Connection, asked: Sequence[Asked]) -> tuple[list[Ways], list[int]]:
    """What the words of a question are in the index: those that must match, and terms that count one more each."""
    ways: list[Ways] = []
    extra: list[int] = []
    equal: list[str] = []
    begun: list[str] = []
    owners: list[tuple[Ways | None, Asked]] = []
    for one in asked:
        way = None if one.optional else Ways()
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
            # Beginnings of a workplace's words would double the terms; who types goes on.
            way.begun = [term for term in row["terms"] if term & 7 in one.fields and term & 7 != Field.WORKPLACE]
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


async def around(connection: Connection, near: Near) -> Ways:
    """The postcodes near a place, as a word whose levels are rings around it: nearer ones count more."""
    ways = Ways(looked_near=True, rings=True)
    for row in await connection.fetch(queries.NEAR_PLACES, near.place, near.kilometres):
        share = row["kilometres"] / near.kilometres
        ways.levels[next(level for level, most in zip(_EXACT, _RINGS, strict=True) if share <= most)].append(
            row["term"]
        )
        ways.uses += row["uses"]
    return ways


async def allow_mistakes(
    connection: Connection, required: Sequence[Asked], ways: Sequence[Ways], some: Sequence[Ways]
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
