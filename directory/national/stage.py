"""Rows on their way into the stage tables, as the text of COPY; and who is concerned, where not everybody is."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

from directory.identifiers import is_finess, is_rpps, is_siret
from directory.national.lines import Line, Place, Row, subject_number
from directory.national.queries import TABLES
from directory.queries import Connection

SUSPECTS_KEPT = 100_000


@dataclass(slots=True)
class Scope:
    """Whose rows are read anew, by the numbers of `lines`; mailboxes by their address."""

    subjects: set[int] = field(default_factory=set)
    places: set[int] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)


class Stage:
    """Gathers the rows of lines by table.

    `suspects` are numbers that were met whose check digit does not hold. With a scope, `organisations` are the keys of
    the structures met, `numbers` their FINESS and SIRET.
    """

    def __init__(self, scope: Scope | None = None) -> None:
        self.scope = scope
        self.suspects: set[str] = set()
        self.organisations: set[str] = set()
        self.numbers: set[str] = set()
        self._rows: dict[str, list[str]] = {name: [] for name in TABLES}
        self._seen: set[int] = set()
        self._last: Row | None = None

    def put(self, line: Line, rank: int) -> None:
        """The rows of a line of a file of this rank, as far as somebody concerned is meant."""
        scope = self.scope
        if scope is None or subject_number(line.subject) in scope.subjects:
            if line.person is not None and line.person is not self._last:
                self._last = line.person
                self._add("professional", line.person, rank)
                number = line.person[2]
                if line.person[0][0] == "8" and not is_rpps(number):
                    self.suspect({number})
            if line.know_how is not None:
                self._add("know_how", line.know_how, rank)
            if line.activity is not None:
                self._add("activity", line.activity, rank)
        if line.place is not None:
            self._place(line.place, rank)
        if line.mailbox is not None and (scope is None or line.mailbox[0] in scope.addresses):
            self._add("mailbox_entry", line.mailbox, rank)

    def _place(self, place: Place, rank: int) -> None:
        number = (place.key << 32 | place.words) << 2 | rank
        if number in self._seen:
            return
        self._seen.add(number)
        finess, siret = place.row[1], place.row[3]
        if self.scope is not None:
            if place.key not in self.scope.places:
                return
            self.organisations.add(place.row[0])
            self.numbers.update(filter(None, (finess, siret)))
        self._add("organisation", place.row, rank)
        if finess and not is_finess(finess):
            self.suspect({finess})
        if siret and not is_siret(siret):
            self.suspect({siret})

    def suspects_by_kind(self) -> dict[str, int]:
        """How many numbers do not hold, by what they are."""
        lengths = {"rpps": 11, "finess": 9, "siret": 14}
        return {name: sum(len(one) == length for one in self.suspects) for name, length in lengths.items()}

    def suspect(self, numbers: set[str]) -> None:
        """Add some numbers to the suspects."""
        if len(self.suspects) < SUSPECTS_KEPT:
            self.suspects |= numbers

    def _add(self, table: str, row: Row, rank: int) -> None:
        text = "\t".join(row)
        if "\\" in text:
            text = text.replace("\\", "\\\\")
        self._rows[table].append(f"{text}\t{rank}\n")

    def taken(self) -> dict[str, bytes]:
        """What has gathered, by table; it is gone from here."""
        found = {name: "".join(rows).encode() for name, rows in self._rows.items() if rows}
        self._rows = {name: [] for name in TABLES}
        return found


async def copy(connection: Connection, rows: dict[str, bytes]) -> None:
    """Bring what `Stage.taken` gave into the stage tables."""
    for name, text in rows.items():
        await connection.copy_to_table(TABLES[name].stage, source=io.BytesIO(text), columns=TABLES[name].stage_columns)
