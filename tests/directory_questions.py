"""Questions with mistakes, as people type them, each with the listing it means: made of what a directory holds.

The same directory and seed give the same questions. A mistake is one in a word: two letters exchanged, a letter
missing, doubled or wrong; accents, hyphens and particles dropped; first name and name swapped; a beginning; an everyday
word for the profession. A question says as much as a caller knows: a name and a place, often a profession.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from directory.search import Found
from directory.synonyms import OPTIONAL, of_profession, of_specialty

# SQL of a test: listings in the order of a hash, so that they are drawn from the whole directory.
LISTINGS = """
SELECT l.national_id, l.organisation_id, p.last_name, p.first_name, p.profession, p.profession_code, o.name, o.town,
       o.postcode,
       (SELECT label FROM directory.know_how h WHERE h.national_id = l.national_id ORDER BY code LIMIT 1) AS label
  FROM directory.listing l
  LEFT JOIN directory.professional p ON p.national_id = l.national_id AND p.profession_code = l.profession_code
  JOIN directory.organisation o ON o.organisation_id = l.organisation_id
 WHERE o.postcode <> '' AND (l.national_id <> '' OR o.name <> '')
 ORDER BY md5(l.national_id || l.organisation_id || $1) LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and whom it means (an organisation when `national_id` is empty)."""

    text: str
    mistake: str
    national_id: str
    organisation_id: str

    def is_meant(self, found: Found) -> bool:
        if self.national_id:
            return found.national_id == self.national_id
        return found.organisation_id == self.organisation_id


def plain(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def _word_with(change: Callable[[str, int, random.Random], str]) -> Callable[[str, random.Random], str]:
    """Change one of the longest words of a text, behind its first letter."""

    def mistaken(text: str, chance: random.Random) -> str:
        words = text.split(" ")
        at = max(range(len(words)), key=lambda place: len(words[place]))
        if len(words[at]) < 5:
            return text
        words[at] = change(words[at], chance.randrange(1, len(words[at]) - 1), chance)
        return " ".join(words)

    return mistaken


MISTAKES: dict[str, Callable[[str, random.Random], str]] = {
    "none": lambda text, chance: text,
    "exchanged": _word_with(lambda word, at, chance: word[:at] + word[at + 1] + word[at] + word[at + 2 :]),
    "missing": _word_with(lambda word, at, chance: word[:at] + word[at + 1 :]),
    "doubled": _word_with(lambda word, at, chance: word[:at] + word[at] + word[at:]),
    "wrong": _word_with(lambda word, at, chance: word[:at] + chance.choice("abcdefgilmnoprstu") + word[at + 1 :]),
    "begun": lambda text, chance: text[: max(4, len(text) - chance.randrange(1, 3))],
    "plain": lambda text, chance: plain(text),
    "hyphens": lambda text, chance: text.replace("-", " ").replace("'", " "),
    "joined": lambda text, chance: text.replace("-", "").replace("'", ""),
    "particles": lambda text, chance: (
        " ".join(word for word in text.split(" ") if word.lower() not in OPTIONAL) or text
    ),
}


def _question(row: asyncpg.Record, mistake: str, chance: random.Random) -> str:
    change = MISTAKES[mistake]
    place = row["postcode"] if chance.random() < 0.5 else row["town"]
    if not row["national_id"]:
        return f"{change(row['name'].lower(), chance)} {place}"
    last, first = row["last_name"].lower(), row["first_name"].lower()
    if chance.random() < 0.7 or mistake in {"begun", "particles"}:
        last = change(last, chance)
    else:
        first = change(first, chance)
    name = [last, first] if chance.random() < 0.5 else [first, last]
    if chance.random() < 0.5:
        everyday = of_profession(row["profession_code"]) + of_specialty(row["label"] or "") or (row["profession"],)
        return " ".join([*name, chance.choice(everyday), place])
    return " ".join([*name, place])


async def questions(connection: asyncpg.Connection, count: int, seed: int) -> list[Asked]:
    """`count` questions, each kind of mistake in turn."""
    chance = random.Random(seed)
    rows = await connection.fetch(LISTINGS, str(seed), count)
    kinds = list(MISTAKES)
    return [
        Asked(
            _question(row, kinds[number % len(kinds)], chance),
            kinds[number % len(kinds)],
            row["national_id"],
            row["organisation_id"],
        )
        for number, row in enumerate(rows)
    ]
