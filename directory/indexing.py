"""Which words a listing is found by, and in which field each stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from directory.folding import fold, joined, words
from directory.synonyms import district, of_profession, of_specialty, written_out

# Fields of a word, as the table `directory.word` keeps them.
NAME, WORKPLACE, PROFESSION, TOWN, POSTCODE = "n", "w", "p", "t", "z"
FIELDS = (NAME, WORKPLACE, PROFESSION, TOWN, POSTCODE)
WORDS_OF_A_LISTING = (
    200  # names, labels and services are short; past it a row is an accident and would slow every search
)

Row = Mapping[str, Any]


def index_words(row: Row) -> list[tuple[str, str]]:
    """(field, word) of a row of `queries.LISTED`, each once, in order; at most WORDS_OF_A_LISTING."""
    found: dict[tuple[str, str], None] = {}

    def add(field: str, some: Iterable[str]) -> None:
        for word in some:
            found[field, word] = None
            found[field, written_out(word)] = None

    def add_names(field: str, *texts: str | None) -> None:
        for text in texts:
            if text:
                add(field, words(text))
                add(field, joined(text))

    if row["national_id"]:
        add_names(NAME, row["last_name"], row["first_name"])
        add(PROFESSION, words(row["profession"] or ""))
        add(PROFESSION, of_profession(row["profession_code"]))
        for label in row["know_how"]:
            add(PROFESSION, words(label))
            add(PROFESSION, of_specialty(label))
        add_names(WORKPLACE, row["name"], row["sign"])
    else:
        add_names(NAME, row["name"], row["sign"])
        # "pharmacie", "hôpital", "laboratoire": what an organisation is stands in its name as often as in its sector.
        add(PROFESSION, words(row["name"] or ""))
        add(PROFESSION, words(row["sector"] or ""))
        add_names(WORKPLACE, *row["services"])
    town, postcode = row["town"] or "", row["postcode"] or ""
    add_names(TOWN, town)
    if number := district(postcode, town):
        add(TOWN, (number,))
    add(POSTCODE, words(postcode))
    return list(found)[:WORDS_OF_A_LISTING]


def sort_name(row: Row) -> str:
    """What listings of equal rank are ordered by: the name, then the town."""
    name = f"{row['last_name']} {row['first_name']}" if row["national_id"] else row["name"] or ""
    return " ".join(words(f"{name} {fold(row['town'] or '')}"))
