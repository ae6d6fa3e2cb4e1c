"""How values are compared. People type names without accents, hyphens or case, so names are compared without them too.

Where RFC 4517 has one rule (caseIgnoreMatch), this directory is wider: "jean pierre lefevre" equals "Jean-Pierre
LEFÈVRE". And a piece of a substring filter that may stand anywhere counts where it begins a word: `*mart*` finds
Claire MARTIN and pierre.martin@…, not Lemartin. That is how people look for names, and what an index can answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import Enum

from directory.folding import distance, fold, mistakes, words

_NOT_DIALLED = re.compile(r"[^0-9+]")


def plain(text: str) -> str:
    """Without case, accents and superfluous spaces: names of entries, numbers, codes."""
    return " ".join(fold(text).split())


def worded(text: str) -> str:
    """The folded words, parted by one space."""
    return " ".join(words(text))


def dialled(text: str) -> str:
    """RFC 4517 §4.2.30: telephone numbers without spaces, points and hyphens."""
    return _NOT_DIALLED.sub("", text)


class Form(Enum):
    """What of a value is compared."""

    WORDS = "words"
    PLAIN = "plain"
    ADDRESS = "address"
    DIALLED = "dialled"
    NAME = "name"  # of an entry
    OBJECT_CLASS = "class"
    BINARY = "binary"  # present or not; no rule of ours compares it


def lowered(text: str) -> str:
    """An address: without case."""
    return text.strip().lower()


PREPARED: dict[Form, Callable[[str], str]] = {
    Form.WORDS: worded,
    Form.PLAIN: plain,
    Form.ADDRESS: lowered,
    Form.DIALLED: dialled,
}


def stands_in(value: str, initial: str, anywhere: Sequence[str], final: str) -> bool:
    """Whether the pieces stand in the value in this order, not one over the other (RFC 4517 §4.2.13).

    Of an address a piece without "@" is looked for before it: nobody is called by the operator's domain.
    """
    if not value.startswith(initial):
        return False
    place = len(initial)
    local = value.find("@") if "@" in value else len(value)
    for piece in anywhere:
        found = _begun(value, piece, place, len(value) if "@" in piece else local)
        if found < 0:
            return False
        place = found + len(piece)
    last = len(value) - len(final)
    return not final or (last >= place and value.endswith(final) and _begins(value, final, last))


def _begun(value: str, piece: str, place: int, end: int) -> int:
    while (place := value.find(piece, place, end)) >= 0:
        if _begins(value, piece, place):
            return place
        place += 1
    return -1


def _begins(value: str, piece: str, place: int) -> bool:
    return place == 0 or not piece[:1].isalnum() or not value[place - 1].isalnum()


def about(value: str, asserted: Sequence[str]) -> bool:
    """Whether each folded word asserted is one of the value's: as it is, begun, or with a typing mistake or two."""
    held = words(value)
    return all(any(_about(one, word) for one in held) for word in asserted)


def _about(held: str, word: str) -> bool:
    limit = 0 if word[:1].isdigit() else mistakes(word)
    return held.startswith(word) or distance(word, held, limit) <= limit
