"""The signature of a message's words: a bitmap of the groups of three octets that its folded text holds.

A text can stand in the message only where all its groups do, so a signature without one of them proves that the message
need not be opened. The other way round nothing is proven: a quarter of the bits at most is set by chance. Groups are
those of single words with the spaces around them; what spans a space would tell little and cost much.
"""

from __future__ import annotations

from collections.abc import Sequence

_SMALLEST, _LARGEST = 8, 16  # powers of two: 256 bits for some words, 65,536 for a book
_BITS_A_GROUP = 4  # a word of eight letters has six groups: 1/4**6 of those without it look as if they held it
_SPREAD = 2_654_435_761  # Knuth's multiplicative hash: 2**32 over the golden ratio, whose top bits are well spread
_KEPT = 32  # characters of a word whose groups are remembered; longer ones seldom come twice
ANYTHING = b"\xff" * (1 << _SMALLEST - 3)  # of a message that was not read: rules nothing out


def _groups(text: str) -> frozenset[int]:
    octets = text.encode("utf-8", "replace")
    found = set(zip(octets, octets[1:], octets[2:], strict=False))
    return frozenset([(a << 16 | b << 8 | c) * _SPREAD & 0xFFFFFFFF for a, b, c in found])


class Signer:
    """Signs the texts of some messages; it remembers their words while it lives, as letters use the same ones."""

    def __init__(self) -> None:
        self._known: dict[str, frozenset[int]] = {}

    def sign(self, text: str) -> bytes:
        """The bitmap of a folded text, of the size that leaves three of four bits unset."""
        found: set[int] = set()
        known = self._known
        for word in set(text.split(" ")):
            groups = known.get(word)
            if groups is None:
                groups = _groups(f" {word} ")
                if len(word) <= _KEPT:
                    known[word] = groups
            found |= groups
        power = min(max((len(found) * _BITS_A_GROUP).bit_length(), _SMALLEST), _LARGEST)
        bits = bytearray(1 << power - 3)
        shift = 32 - power
        for group in found:
            at = group >> shift
            bits[at >> 3] |= 1 << (at & 7)
        return bytes(bits)


class Question:
    """A folded text searched for, to be asked of many signatures."""

    def __init__(self, text: str) -> None:
        words = text.split(" ")
        last = len(words) - 1
        # It may begin and end in the middle of a word: a space is known only between two of its own.
        edged = [(" " if at else "") + word + (" " if at < last else "") for at, word in enumerate(words)]
        self._groups = frozenset().union(*map(_groups, edged))
        self._asked: dict[int, list[tuple[int, int]]] = {}  # octets of a signature → where it must have which bit

    def may_stand_in(self, signatures: Sequence[bytes]) -> list[bool]:
        """False: the text with this signature does not hold it. An unknown size of signature answers True."""
        asked, answers = self._asked, []
        for signature in signatures:
            size = len(signature)
            bits = asked.get(size)
            if bits is None:
                bits = asked[size] = self._of(size)
            for at, bit in bits:  # most fail at the first or the second
                if not signature[at] & bit:
                    answers.append(False)
                    break
            else:
                answers.append(True)
        return answers

    def _of(self, size: int) -> list[tuple[int, int]]:
        power = size.bit_length() + 2
        if size != 1 << power - 3 or not _SMALLEST <= power <= _LARGEST:
            return []
        bits = [group >> 32 - power for group in self._groups]
        return [(bit >> 3, 1 << (bit & 7)) for bit in bits]
