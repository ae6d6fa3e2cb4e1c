"""What a person asks: the words of a question, and which page of the answers."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from hashlib import blake2b

from directory.folding import words
from directory.index.queries import CANDIDATES
from directory.indexing import Field
from directory.synonyms import OPTIONAL, district_asked, written_out

QUESTION_CHARACTERS = 200  # nobody types more; each word costs look-ups
QUESTION_WORDS = 10
BEGUN_FROM = 2  # letters; a single one begins too many words
RESULTS = CANDIDATES  # at most, over all pages: a longer list is a question to make narrower


class BadCursor(ValueError):
    """`after` is not of this question."""


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


def readable(text: str) -> str:
    """The start of a question; what nobody types (NUL, lone surrogates) is a space, since no database takes it."""
    return "".join(c if c.isprintable() else " " for c in text[:QUESTION_CHARACTERS]).strip()


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


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of the answer is asked for: `limit` listings from `offset` on.

    `key` is the question's own, `stage` how far mistakes were allowed for the pages before, `ranked` how many are that
    fit in one way.
    """

    limit: int
    offset: int
    stage: int
    key: str
    ranked: int = RESULTS


_CURSOR = re.compile(r"([0-2])\.(\d{1,3})-(\w{12})", re.ASCII)


def page_of(limit: int, after: str, question: str) -> Page:
    key = blake2b(question.encode(), digest_size=6).hexdigest()
    if not after:
        return Page(min(max(1, limit), RESULTS), 0, 0, key)
    cursor = _CURSOR.fullmatch(after)
    if cursor is None or cursor[3] != key:
        raise BadCursor("this cursor is of another question")
    offset = min(int(cursor[2]), RESULTS)
    return Page(min(max(1, limit), RESULTS - offset), offset, int(cursor[1]), key)
