"""Which terms a text of the national files stands for: its folded words, each with the field it was seen in.

A listing's terms are those of its texts put together, so that each text that many listings share (a town, a first name,
a label) is folded once. A label (profession, specialty, sector) is one term, and the words of it and their synonyms
lead to that term: a listing stays short, and a synonym costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum

from directory.folding import fold, joined, words
from directory.synonyms import OPTIONAL, department, district, of_profession, of_specialty, written_out


class Field(IntEnum):
    """Where a word stands, as the terms of `directory.word` and `directory.listing` keep it."""

    LAST_NAME = 0
    FIRST_NAME = 1
    OWN_NAME = 2  # of an organisation, in its own listing
    WORKPLACE = 3  # the name of the organisation where a person practises; services of an organisation
    LABEL = 4  # profession, specialty, sector
    TOWN = 5
    POSTCODE = 6


FIELDS = tuple(Field)
# What a person who asks by field means. "Pharmacie" stands in names of organisations as often as in their sector.
NAME = (Field.LAST_NAME, Field.FIRST_NAME, Field.OWN_NAME, Field.WORKPLACE)
PROFESSION = (Field.LABEL, Field.OWN_NAME)
PLACE = (Field.TOWN, Field.POSTCODE)

WORDS_OF_A_TEXT = 60  # names are short; past it a line is an accident and would slow every search


def field_of(term: int) -> Field:
    """The field that a term was seen in."""
    return Field(term & 7)


def label_word(label: str) -> str:
    """The word of the index that stands for a whole label; no question holds it, since "=" is no part of a word."""
    return f"={' '.join(words(label))}"


def is_telling(word: str, fields: Iterable[Field], *, begun: bool) -> bool:
    """Whether every text of these fields that holds the word (or one that begins so) has it in the index."""
    if all(field in (Field.LAST_NAME, Field.FIRST_NAME, Field.LABEL, Field.POSTCODE) for field in fields):
        return True
    return not any(particle.startswith(word) for particle in OPTIONAL) if begun else word not in OPTIONAL


class Vocabulary:
    """The words of the index while it is made: numbers stay those that are known, the fields of each are gathered.

    A nation has 600,000 words: what is kept of each is small.
    """

    def __init__(self, last: int = 0) -> None:
        self._last = last
        self.numbers: dict[str, int] = {}
        self._fields: dict[int, int] = {}  # word → bits of fields
        self._labels: dict[int, set[int]] = {}  # word → terms of the labels that it leads to

    def know(self, word: str, number: int, terms: Iterable[int]) -> None:
        """A word that the index holds already."""
        self.numbers[word] = number
        self._last = max(self._last, number)
        for term in terms:
            if term // 8 == number:
                self._fields[number] = self._fields.get(number, 0) | 1 << (term & 7)
            else:
                self._labels.setdefault(number, set()).add(term)

    def number(self, word: str) -> int:
        """The number of a word, a new one for a new word."""
        number = self.numbers.get(word)
        if number is None:
            self._last = number = self.numbers[word] = self._last + 1
        return number

    def terms(self, number: int) -> list[int]:
        """All terms that a word leads to."""
        fields = self._fields.get(number, 0)
        own = [number * 8 + field for field in FIELDS if fields & 1 << field]
        return own + sorted(self._labels.get(number, ()))

    def is_name(self, number: int) -> bool:
        """Whether persons are called so."""
        return self._fields.get(number, 0) & (1 << Field.LAST_NAME | 1 << Field.FIRST_NAME) != 0

    def add(self, field: Field, some: Iterable[str]) -> list[int]:
        """The terms of words in a field."""
        bit, fields, found = 1 << field, self._fields, []
        for word in some:
            number = self.number(word)
            fields[number] = fields.get(number, 0) | bit
            found.append(number * 8 + field)
        return found

    def label(self, label: str, synonyms: Iterable[str]) -> list[int]:
        """The one term of a label, to which its words and synonyms lead."""
        term = self.add(Field.LABEL, [label_word(label)])
        for word in (*_all_words(label), *synonyms):
            self._labels.setdefault(self.number(word), set()).update(term)
        return term


def _all_words(text: str) -> Iterable[str]:
    """Each word, as it is and written out, and neighbours written as one: "LE GOFF" le, goff, legoff."""
    parts = words(text)
    found = dict.fromkeys(parts)
    found |= dict.fromkeys(map(written_out, parts))
    if len(parts) > 1:
        found |= dict.fromkeys(joined(text))
    return list(found)[:WORDS_OF_A_TEXT]


def _telling_words(text: str) -> Iterable[str]:
    """Words of a name or town less the particles, those written as one with the word behind: "L'Hôpital" lhopital."""
    found: dict[str, None] = {}
    particle = ""
    for part in words(text):
        if part in OPTIONAL:
            particle = part
            continue
        found[part] = found[written_out(part)] = None
        if particle:
            found[particle + part] = None
            particle = ""
    return list(found)[:WORDS_OF_A_TEXT]


Terms = tuple[list[int], list[int]]


def _last_name(vocabulary: Vocabulary, name: str, _: str) -> Terms:
    return vocabulary.add(Field.LAST_NAME, _all_words(name)), []


def _first_name(vocabulary: Vocabulary, name: str, _: str) -> Terms:
    return vocabulary.add(Field.FIRST_NAME, _all_words(name)), []


def _organisation(vocabulary: Vocabulary, name: str, sign: str) -> Terms:
    telling = dict.fromkeys([*_telling_words(name), *(_telling_words(sign) if sign not in ("", name) else ())])
    return vocabulary.add(Field.OWN_NAME, telling), vocabulary.add(Field.WORKPLACE, telling)


def _place(vocabulary: Vocabulary, town: str, postcode: str) -> Terms:
    names = [*_telling_words(town), *joined(town)[:WORDS_OF_A_TEXT]]
    if number := district(postcode, town):
        names.append(number)
    numbers = [*words(postcode)[:2], *filter(None, [department(postcode)])]
    return vocabulary.add(Field.TOWN, dict.fromkeys(names)) + vocabulary.add(Field.POSTCODE, dict.fromkeys(numbers)), []


def _profession(vocabulary: Vocabulary, label: str, code: str) -> Terms:
    return vocabulary.label(label, of_profession(code)), []


def _specialty(vocabulary: Vocabulary, label: str, _: str) -> Terms:
    return vocabulary.label(label, of_specialty(label)), []


def _sector(vocabulary: Vocabulary, label: str, _: str) -> Terms:
    return vocabulary.label(label, ()), []


def _service(vocabulary: Vocabulary, name: str, _: str) -> Terms:
    return [], vocabulary.add(Field.WORKPLACE, _telling_words(name))


# Kinds of texts: from (text, what stands beside it) to the terms of its own listing, and for an organisation those of
# the listings of who practises there.
KINDS: Mapping[str, Callable[[Vocabulary, str, str], Terms]] = {
    "last_name": _last_name,
    "first_name": _first_name,
    "organisation": _organisation,
    "place": _place,
    "profession": _profession,
    "know_how": _specialty,
    "sector": _sector,
    "service": _service,
}


def folded(text: str) -> str:
    """What listings of equal rank are ordered by."""
    return " ".join(words(text)) or fold(text)[:1]


def words_of(kind: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    """Every word of the index that texts of a kind lead to."""
    vocabulary = Vocabulary()
    for text, beside in rows:
        KINDS[kind](vocabulary, text, beside)
    return list(vocabulary.numbers)
