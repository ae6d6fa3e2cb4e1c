"""How words are compared: without case, accents, hyphens or apostrophes, by prefix, and within a typing mistake or two.

All of it is done here, in Python, so that any PostgreSQL serves (no pg_trgm, no unaccent) and the index and the query
cannot disagree.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

# Letters that have no decomposition, as French sorts them.
_LETTERS = str.maketrans({"œ": "oe", "æ": "ae", "ß": "ss", "ø": "o", "đ": "d", "ł": "l", "ı": "i", "ð": "d", "þ": "th"})
_WORD = re.compile(r"[a-z0-9]+")
LONGEST_WORD = 40  # characters; longer "words" are no names, and would make the index of mistakes large
NEAR_PREFIX = 8  # letters of a word that the index of mistakes looks at: slips after it are found by the prefix
TWO_MISTAKES_FROM = 8  # letters: in a shorter word two mistakes make another word (martin, marion)
ONE_MISTAKE_FROM = 4


@lru_cache(maxsize=65_536)  # national files repeat their words: towns, professions, first names
def fold(text: str) -> str:
    """Lower case without accents; what is no letter or digit stays as it is."""
    if text.isascii():
        return text.lower()
    # Decomposed before lower case (㎊ holds a capital) and after it (İ becomes two signs).
    lowered = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).lower())
    return "".join(c for c in lowered if not unicodedata.combining(c)).translate(_LETTERS)


def words(text: str) -> list[str]:
    """The folded words of a text, in order, cut at everything that is no letter or digit."""
    return [word[:LONGEST_WORD] for word in _WORD.findall(fold(text))]


def joined(text: str) -> list[str]:
    """Neighbours written as one: "Jean-Pierre" jeanpierre, "L'Hôpital" lhopital, "Le Goff" legoff."""
    parts = words(text)
    pairs = [left + right for left, right in pairwise(parts)]
    return [pair for pair in pairs if len(pair) <= LONGEST_WORD and not pair.isdigit()]


def near(word: str) -> list[str]:
    """Keys under which a word is found despite a mistake: its start with none or one letter left out.

    Two words within one mistake of each other (a letter more, less, other, or two exchanged) share a key, so an
    equality index finds them; `distance` then decides. Empty for words too short and for numbers, which are exact.
    (`index.queries.MAKE_NEAR` makes the same of the words of the index.)
    """
    if len(word) < ONE_MISTAKE_FROM or any(c.isdigit() for c in word):
        return []
    start = word[:NEAR_PREFIX]
    return sorted({start, *(start[:place] + start[place + 1 :] for place in range(len(start)))})


# What is written in several ways and heard in one, in French, in this order.
_SOUNDS = tuple(
    (re.compile(pattern), heard)
    for pattern, heard in (
        (r"ph", "f"),
        (r"y", "i"),
        (r"eaux?|aux?", "o"),
        (r"qu?|k|c(?![hei])", "k"),
        (r"c(?=[ei])", "s"),
        (r"g(?=[ei])", "j"),
        (r"gu(?=[ei])", "g"),
        (r"(?<!c)h", ""),
        (r"[ae]?i[mn](?=[^aeiou]|$)", "1"),
        (r"[ae][mn](?=[^aeiou]|$)", "2"),
        (r"ai|ei|oe|ae", "e"),
        (r"z", "s"),
        (r"(.)\1+", r"\1"),
        (r"(?<=..)[dtsxe]+$", ""),
    )
)


def sound(word: str) -> str:
    """How a name is heard, roughly: philippe and filip, mathieu and matieu are one. Empty where nothing is heard."""
    if len(word) < ONE_MISTAKE_FROM or any(c.isdigit() for c in word):
        return ""
    for pattern, heard in _SOUNDS:
        word = pattern.sub(heard, word)
    return word


def mistakes(word: str) -> int:
    """How many typing mistakes a word of this length may hold."""
    if len(word) < ONE_MISTAKE_FROM:
        return 0
    return 2 if len(word) >= TWO_MISTAKES_FROM else 1


def distance(left: str, right: str, limit: int) -> int:
    """Mistakes between two words (a letter more, less or other, two neighbours exchanged); `limit` + 1 for more."""
    if abs(len(left) - len(right)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        before, previous, row = row, before, [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, previous[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return min(row[-1], limit + 1)
