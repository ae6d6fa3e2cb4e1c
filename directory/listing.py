"""Makes the index of the directory: what can be found, and by which words.

Texts are folded here, each once; listings are put together of them by the database, which holds the tables. What came
by an import of the day, or by a mailbox of our own, is indexed alone (`stage_touched`); the first time, all of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice

from directory.folding import sound
from directory.index import queries
from directory.indexing import KINDS, Vocabulary, folded, words_of
from directory.national.reading import Progress
from directory.places import position, town_key
from directory.queries import Connection, filling

BATCH = 20_000  # rows of a COPY: large enough to be fast, small enough for memory not to matter
SAMPLED = 100_000  # listings that tell how often a word is used


async def refresh(connection: Connection, progress: Progress, whole: bool) -> int:
    """Index what the TEMP table `stage_touched` names, or everything; returns how many listings there are.

    In the caller's transaction, as the owner of the schema. A row of `stage_touched` with a national_id touches all
    listings of that person; one without touches its organisation's own. With `whole`, or where no index was ever made,
    it is not read. It is dropped at the end.
    """
    await connection.execute(queries.MEMORY)
    await connection.execute(queries.NO_SCOPE)
    empty = bool(await connection.fetchval(queries.IS_EMPTY))
    whole = whole or empty
    await connection.execute(queries.stage_place(whole))
    vocabulary = await _terms(connection, whole, empty, progress)
    await connection.execute(queries.stage_terms(whole))
    if empty:
        await connection.execute(queries.CREATE_NEXT)
        await connection.execute(queries.insert_listings("directory.listing_next"))
        for statement in queries.INDEX_NEXT:
            await connection.execute(statement)
        await connection.execute(queries.SWAP)
    else:
        if not whole:
            await connection.execute(queries.TOUCHED_WORDS)
        await connection.execute(queries.CREATE_STAGE)
        await connection.execute(queries.insert_listings("stage_listing"))
        await connection.execute(queries.merge(whole))
    listings = int(await connection.fetchval(queries.COUNT_LISTINGS))
    progress("listings", listings)
    await _words(connection, vocabulary, whole, empty, listings)
    await connection.execute(queries.FORGET_STAGES)
    progress("index", listings)
    return listings


async def _terms(connection: Connection, whole: bool, empty: bool, progress: Progress) -> Vocabulary:
    """Fold every text of what is indexed into stage_term; returns the words met, with the numbers they have."""
    await connection.execute(queries.CREATE_TERMS)
    vocabulary = Vocabulary(int(await connection.fetchval(queries.LAST_WORD)))
    if whole and not empty:
        for row in await connection.fetch(queries.ALL_WORDS):
            vocabulary.know(row["word"], row["word_id"], row["terms"])
    done = 0
    for kind, make in KINDS.items():
        async for rows in _batches(connection, kind, whole):
            if not whole:
                some = [word for word in words_of(kind, rows) if word not in vocabulary.numbers]
                for row in await connection.fetch(queries.SOME_WORDS, some):
                    vocabulary.know(row["word"], row["word_id"], row["terms"])
            records = [(kind, text, beside, folded(text), *make(vocabulary, text, beside)) for text, beside in rows]
            await connection.copy_records_to_table("stage_term", records=records)
            if kind == "place":
                await _places(connection, rows)
            done += len(records)
            progress("words", done)
    await connection.execute(queries.ANALYZE_TERMS)
    return vocabulary


async def _places(connection: Connection, rows: Sequence[tuple[str, str]]) -> None:
    """Say where towns are, by the middle of their communes."""
    known = [(town_key(town), postcode, found) for town, postcode in rows if (found := position(town, postcode))]
    if known:
        columns = zip(*((town, postcode, *where) for town, postcode, where in known), strict=True)
        await connection.execute(queries.PLACES, *map(list, columns))


async def _batches(connection: Connection, kind: str, whole: bool) -> AsyncIterator[Sequence[tuple[str, str]]]:
    statement = queries.texts(kind, whole)
    if not whole:  # few; and a cursor would hold stage_place to the end of the transaction
        yield [(row[0], row[1]) for row in await connection.fetch(statement)]
        return
    cursor = await connection.cursor(statement)
    while rows := await cursor.fetch(BATCH):
        yield [(row[0], row[1]) for row in rows]


async def _words(connection: Connection, vocabulary: Vocabulary, whole: bool, empty: bool, listings: int) -> None:
    """Bring the words of the index to what the vocabulary says."""
    uses: dict[int, int] = {}
    if whole:
        percent = min(100.0, 100 * SAMPLED / max(1, listings))
        rows = await connection.fetch(queries.uses("directory.listing", percent))
        uses = {row["term"]: round(row["uses"] * 100 / percent) for row in rows}
    await connection.execute(queries.CREATE_WORDS)
    records = _records(vocabulary, uses, 1 if whole else 0)
    while some := list(islice(records, BATCH)):
        await connection.copy_records_to_table("stage_word", records=some)
    for statement in queries.MERGE_WORDS:
        await connection.execute(statement)
    await connection.execute(queries.DROP_UNUSED_WORDS if whole else queries.DROP_OLD_WORDS)
    if empty:
        async with filling(connection, "directory.near_word", len(vocabulary.numbers)):
            await connection.execute(queries.MAKE_NEAR)
    else:
        await connection.execute(queries.MAKE_NEAR)
    if whole:
        await connection.execute(queries.ANALYZE_WORDS)


def _records(
    vocabulary: Vocabulary, uses: dict[int, int], least: int
) -> Iterator[tuple[str, int, list[int], int, str]]:
    """Rows of `directory.word`: of the words that lead to a term."""
    for word, number in vocabulary.numbers.items():
        if terms := vocabulary.terms(number):
            often = sum(uses.get(term, least) for term in terms)
            yield word, number, terms, often, sound(word) if vocabulary.is_name(number) else ""
