"""Two ways to read the files: whole, or only what differs from the last load.

Both give the rows for the stage tables and know the lines anew. A line that cannot be read is reported and left out;
it is not known afterwards, so that the next load reports it again. So is a line on an address of this operator's own.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field
from typing import Protocol

from directory.national.blocks import Readers
from directory.national.columns import Kind
from directory.national.difference import KnownLines, numbers_of
from directory.national.extract import RANKS, ExtractError, Source
from directory.national.lines import Line, LineReader, place_key, subject_number
from directory.national.stage import Scope, Stage

PROBLEMS_KEPT = 100  # damaged lines that a person may want to read
MOST_CHANGED = 0.04  # of the lines: past it reading all of them is quicker
FEW_CHANGED = 1_000

Rejected = Callable[[ExtractError, bytes], None]
_PEOPLE = (Kind.ACTIVITY, Kind.KNOW_HOW)


class Progress(Protocol):
    """Called with a stage's name and what is done of it: bytes of a file, of `total`, else rows."""

    def __call__(self, stage: str, done: int, total: int = 0) -> None: ...


class TooDifferent(Exception):
    """More lines differ than are worth comparing."""


@dataclass(slots=True)
class Problems:
    """Lines that were left out: how many, the first of them; all go to `rejected`."""

    rejected: Rejected | None = None
    count: int = 0
    kept: list[ExtractError] = field(default_factory=list)

    def report(self, error: ExtractError, line: bytes) -> None:
        self.count += 1
        if len(self.kept) < PROBLEMS_KEPT:
            self.kept.append(error)
        if self.rejected:
            self.rejected(error, line)


def whole(
    sources: list[Source],
    stage: Stage,
    known: dict[Kind, KnownLines],
    own: Set[str],
    problems: Problems,
    progress: Progress,
) -> Iterator[dict[str, bytes]]:
    """Read every line; gives the rows of each block for the stage tables. Raises ExtractError."""
    with Readers(sources, own) as readers:
        for source in sources:
            lines_known = known[source.kind]
            done = 0
            for number, size, block in readers.read(source):
                for place, reason, line in block.damaged:
                    problems.report(ExtractError(source.name, number + place, reason), line)
                lines_known.extend(block.known)
                stage.suspect(block.suspects)
                done += size
                progress(source.name, done, source.size)
                yield block.rows


class Difference:
    """The lines that came and went, and then all lines that speak of those concerned."""

    def __init__(
        self,
        sources: list[Source],
        known: dict[Kind, KnownLines],
        own: Set[str],
        problems: Problems,
        progress: Progress,
    ) -> None:
        self._sources = sources
        self._known = known
        self._own = own
        self._problems = problems
        self._progress = progress
        self._order: dict[Kind, array[int]] = {}
        self.lines = 0
        self.came: list[Line] = []
        self.went: list[tuple[Kind, KnownLines]] = []
        self.changed: set[Kind] = set()
        self.scope = Scope()
        self._damaged: list[tuple[ExtractError, bytes]] = []

    def find(self) -> None:
        """Fill `came` and `went`; `known` is of the present files then. Raises ExtractError, TooDifferent."""
        for source in self._sources:
            self._find(source)
        for error, text in self._damaged:
            self._problems.report(error, text)
        for line in self.came:
            self.scope.subjects.add(subject_number(line.subject))
        for _, lines in self.went:
            self.scope.subjects.update(lines.subjects)
        self.scope.subjects.discard(0)

    def _find(self, source: Source) -> None:
        lines_known = self._known[source.kind]
        before = set(lines_known.digests)
        most = max(FEW_CHANGED, MOST_CHANGED * len(before))
        order = self._order[source.kind] = array("Q")
        reader = LineReader(source.layout)
        came: dict[int, Line] = {}
        done = 0
        for number, lines in source.blocks():
            digests = numbers_of(lines)
            order.extend(digests)
            fresh = set(digests) - before
            for place, one in enumerate(digests):
                if one not in fresh or one in came:
                    continue
                try:
                    said = reader.read(lines[place])
                except ValueError as error:
                    self._damaged.append((ExtractError(source.name, number + place, str(error)), lines[place]))
                else:
                    if said.mailbox is None or said.mailbox[0] not in self._own:
                        came[one] = said
                if len(came) + len(self._damaged) > most:
                    raise TooDifferent
            done += sum(map(len, lines)) + len(lines)
            self._progress(source.name, done, source.size)
        self.lines += len(order)
        went = before.difference(order)
        if len(went) > most:
            raise TooDifferent
        taken = lines_known.take_out(went)
        # A structure is concerned by words about it that no unchanged line says.
        words = taken.words() | {said.place.key << 32 | said.place.words for said in came.values() if said.place}
        self.scope.places.update(number >> 32 for number in words - lines_known.words(words))
        for one, said in came.items():
            lines_known.add(one, said)
        self.came += came.values()
        self.went.append((source.kind, taken))
        if came or went:
            self.changed.add(source.kind)

    def concern(self, organisation_ids: Iterable[str]) -> None:
        """Structures by their keys are concerned as well."""
        self.scope.places.update(map(place_key, organisation_ids))

    def stage(self) -> Stage:
        """The rows of all lines that speak of those concerned. Raises ExtractError."""
        scope = self.scope
        while True:
            stage = Stage(scope)
            for source in self._sources:
                if source.kind in _PEOPLE:
                    self._put(source, stage, self._known[source.kind].of(scope.subjects, scope.places))
            # Who had or has one of these numbers may be told by another file, or tied to a mailbox.
            more = set(map(place_key, stage.numbers)) - scope.places
            scope.places |= more
            if not more & self._keys(Kind.ACTIVITY):
                break
        for source in self._sources:
            wanted = self._known[source.kind].of(scope.subjects, scope.places)
            if source.kind is Kind.MAILBOX:
                reader = LineReader(source.layout)
                scope.addresses.update(reader.address(line) for line in self._wanted(source, wanted))
                self._put(source, stage, wanted, scope.addresses)
            elif source.kind is Kind.FINESS:
                self._put(source, stage, wanted)
        return stage

    def _keys(self, kind: Kind) -> set[int]:
        lines = self._known.get(kind)
        return set(lines.places[::2]) if lines else set()

    def _put(self, source: Source, stage: Stage, wanted: set[int], addresses: Set[str] = frozenset()) -> None:
        reader, rank = LineReader(source.layout), RANKS[source.kind]
        for line in self._wanted(source, wanted, addresses):
            stage.put(reader.read(line), rank)

    def _wanted(self, source: Source, wanted: set[int], addresses: Set[str] = frozenset()) -> Iterator[bytes]:
        """The lines of these digests, and those on these addresses."""
        if not wanted and not addresses:
            return
        if addresses:
            reader = LineReader(source.layout)
            readable = set(self._known[source.kind].digests)
        order, start = self._order[source.kind], 0
        for _, lines in source.blocks():
            digests = order[start : start + len(lines)]
            start += len(lines)
            for one, line in zip(digests, lines, strict=True):
                if one in wanted or (addresses and one in readable and reader.address(line) in addresses):
                    yield line
