"""Finds the lines that came and went since the last load, without reading what the others say.

Of each line the last load read there are three things in the database: its digest, whose it is, which structure it
tells and in which words. A line whose digest is known is unchanged. Who is concerned by the others is read anew from
all lines that tell of them.
"""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import compress

from directory.national.extract import Source
from directory.national.lines import DIGEST_BYTES, Line, subject_number

VERSION = b"1\n"  # of how a line is understood: a newer one reads all lines again
PART_LINES = 65_536  # lines of a row of `loaded_line`: 1.5 MB


def _numbers() -> array[int]:
    return array("Q")


def _places() -> array[int]:
    return array("I")


@dataclass(slots=True)
class KnownLines:
    """The lines of one kind of file. `places` holds two numbers a line (`Place.key`, `Place.words`)."""

    digests: array[int] = field(default_factory=_numbers)
    subjects: array[int] = field(default_factory=_numbers)
    places: array[int] = field(default_factory=_places)

    def add(self, number: int, line: Line) -> None:
        self.digests.append(number)
        self.subjects.append(subject_number(line.subject))
        place = line.place
        self.places.append(place.key if place else 0)
        self.places.append(place.words if place else 0)

    def extend(self, other: KnownLines) -> None:
        """Add the lines of another."""
        self.digests.extend(other.digests)
        self.subjects.extend(other.subjects)
        self.places.extend(other.places)

    def add_part(self, digests: bytes, subjects: bytes, places: bytes) -> None:
        """A part as `parts` gives it."""
        self.digests.frombytes(digests)
        self.subjects.frombytes(subjects)
        self.places.frombytes(places)

    def parts(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        """All lines, some at a time, as bytes; at least one part."""
        for start in range(0, len(self.digests) or 1, PART_LINES):
            end = start + PART_LINES
            yield (
                self.digests[start:end].tobytes(),
                self.subjects[start:end].tobytes(),
                self.places[2 * start : 2 * end].tobytes(),
            )

    def take_out(self, gone: set[int]) -> KnownLines:
        """Remove the lines with these digests; returns them."""
        taken = KnownLines()
        if gone:
            out = [number in gone for number in self.digests]
            taken = self._chosen(out)
            rest = self._chosen([not one for one in out])
            self.digests, self.subjects, self.places = rest.digests, rest.subjects, rest.places
        return taken

    def _chosen(self, lines: list[bool]) -> KnownLines:
        places = self.places
        twice = [0] * (2 * len(lines))
        twice[::2] = twice[1::2] = lines
        return KnownLines(
            array("Q", compress(self.digests, lines)),
            array("Q", compress(self.subjects, lines)),
            array("I", compress(places, twice)),
        )

    def words(self, among: Container[int] | None = None) -> set[int]:
        """Structures in the words of some line (`key << 32 | words`), all or those of `among`."""
        pairs = zip(self.places[::2], self.places[1::2], strict=True)
        return {number for key, words in pairs if (number := key << 32 | words) and (among is None or number in among)}

    def of(self, subjects: set[int], keys: set[int]) -> set[int]:
        """The digests of all lines of these subjects and structures."""
        triples = zip(self.digests, self.subjects, self.places[::2], strict=True)
        return {number for number, subject, key in triples if subject in subjects or key in keys}


def numbers_of(lines: list[bytes]) -> array[int]:
    """The digests of lines, as numbers."""
    found = _numbers()
    found.frombytes(b"".join([blake2b(line, digest_size=DIGEST_BYTES).digest() for line in lines]))
    return found


def header_of(source: Source) -> bytes:
    """What the digests of a file depend on besides the lines."""
    return VERSION + source.header
