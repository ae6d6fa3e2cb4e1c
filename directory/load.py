"""Makes the directory what the national files say, in one transaction.

Files → stage tables by COPY → difference with what is there. The files of the next day are read for what differs from
the last ones (`national/difference.py`), and nothing else is compared. Until the commit everybody finds the old
directory, and when the files are refused it stays. Refused are: a file that cannot be read or was cut, too many damaged
lines, or a directory so much smaller than the last one that the files must have been cut off.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from directory.listing import refresh
from directory.national import merge, queries
from directory.national.columns import Kind
from directory.national.difference import KnownLines, header_of
from directory.national.extract import ExtractError, Source, sources
from directory.national.lines import place_key, subject_number
from directory.national.merge import Changes, ScopeTexts
from directory.national.reading import Difference, Problems, Progress, Rejected, TooDifferent, whole
from directory.national.stage import Stage, copy
from directory.own.mailboxes import settle
from directory.queries import Connection

WORST_SHARE = 0.01  # of the lines may be damaged; the national files have had none
SMALLEST_SHARE = 0.5  # of the last directory: no reform has halved the profession overnight, a cut download has
FEW_LINES = 20  # below this many damaged lines or old rows the shares say nothing
DETAILS = 1_000  # rows of a table that were added, changed or removed, each: what a person may want to read


class LoadRefused(Exception):
    """The files were not loaded and the directory is as before; the text says why, `problems` where."""

    def __init__(self, reason: str, problems: Sequence[ExtractError] = ()) -> None:
        super().__init__(reason)
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the directory holds now (rows by table), what of it changed, and the lines that were left out.

    `details` are (table, "added" | "changed" | "removed", key), for `preview` alone. `suspects` counts numbers whose
    check digit does not hold among the rows that were read anew: RPPS, FINESS, SIRET.
    """

    counts: dict[str, int]
    changes: Changes
    details: tuple[tuple[str, str, str], ...]
    lines: int
    left_out: int
    problems: tuple[ExtractError, ...]
    suspects: dict[str, int]


def _quiet(stage: str, done: int, total: int = 0) -> None:
    """Progress that nobody watches."""


async def load(
    connection: Connection,
    paths: Sequence[Path],
    now: datetime,
    *,
    progress: Progress = _quiet,
    smallest_share: float = SMALLEST_SHARE,
    rejected: Rejected | None = None,
) -> Loaded:
    """Make the directory hold what the files say: give all of them, what is in none is removed.

    `connection` is the owner's of the schema `directory`. Lines that are left out go to `rejected` with the reason.
    `smallest_share` 0 accepts any shrinking. Raises LoadRefused.
    """
    async with connection.transaction():
        work = _Load(connection, now, progress, Problems(rejected))
        return await work.load(paths, smallest_share)


async def preview(
    connection: Connection, paths: Sequence[Path], now: datetime, *, progress: Progress = _quiet
) -> Loaded:
    """What `load` would do: it is done, but for the index, and undone. Raises LoadRefused."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        return await _Load(connection, now, progress, Problems()).load(paths, 0, keep=False)
    finally:
        await transaction.rollback()


class _Load:
    """One import, inside of its transaction."""

    def __init__(self, connection: Connection, now: datetime, progress: Progress, problems: Problems) -> None:
        self._connection = connection
        self._now = now
        self._progress = progress
        self._problems = problems
        self._lines = 0
        self._changed: set[Kind] | None = None  # None: everything
        self._known: dict[Kind, KnownLines] = {}

    async def load(self, paths: Sequence[Path], smallest_share: float, keep: bool = True) -> Loaded:
        connection = self._connection
        if not await connection.fetchval(queries.TRY_LOCK):
            raise LoadRefused("another import is at work")
        await connection.execute(queries.SETTINGS)
        before = {name: int(await connection.fetchval(table.count())) for name, table in queries.TABLES.items()}
        own = {row["address"] for row in await connection.fetch(queries.OWN_ADDRESSES)}
        try:
            files = await asyncio.to_thread(sources, paths)
            stage, changes = await self._bring(files, before, own)
        except ExtractError as error:
            raise LoadRefused(str(error), [*self._problems.kept, error]) from None
        counts = {
            name: rows + changes.get(name, {}).get("added", 0) - changes.get(name, {}).get("removed", 0)
            for name, rows in before.items()
        }
        for name, rows in counts.items():
            if before[name] > FEW_LINES and rows < smallest_share * before[name]:
                raise LoadRefused(f"{name}: {rows} rows where there were {before[name]}; the files look cut off")
        details: list[Any] = []
        if keep:
            await self._keep(files, counts, paths)
        else:
            details = await connection.fetch(queries.SOME_CHANGES, DETAILS)
        return Loaded(
            counts,
            changes,
            tuple((row["name"], row["what"], row["key"]) for row in details),
            self._lines,
            self._problems.count,
            tuple(self._problems.kept),
            stage.suspects_by_kind(),
        )

    async def _bring(self, files: list[Source], before: dict[str, int], own: set[str]) -> tuple[Stage, Changes]:
        """Read the files and bring the tables to what they say."""
        await merge.create_stage(self._connection)
        if await self._know(files, before):
            difference = Difference(files, self._known, own, self._problems, self._progress)
            try:
                await asyncio.to_thread(difference.find)
            except TooDifferent:
                pass
            else:
                self._changed = difference.changed
                self._lines = difference.lines - self._problems.count
                self._check_lines()
                return await self._bring_difference(difference, own)
        self._known = {source.kind: KnownLines() for source in files}
        stage = Stage()
        await self._copy(whole(files, stage, self._known, own, self._problems, self._progress))
        self._lines = sum(len(lines.digests) for lines in self._known.values())
        self._check_lines()
        if own or any(before.values()):
            return stage, await merge.compare(self._connection, self._now, self._progress, None)
        return stage, await merge.fill(self._connection, self._now, self._progress, self._lines)

    def _check_lines(self) -> None:
        total, damaged = self._lines + self._problems.count, self._problems.count
        if damaged > max(FEW_LINES, WORST_SHARE * total) or not self._lines:
            raise LoadRefused(f"{damaged} of {total} lines cannot be read", self._problems.kept)

    async def _know(self, files: list[Source], before: dict[str, int]) -> bool:
        """Whether the lines of the last load are known, and were of files like these."""
        connection = self._connection
        headers = {row["file"]: row["header"] for row in await connection.fetch(queries.KNOWN_HEADERS)}
        if headers != {source.kind.value: header_of(source) for source in files}:
            return False
        last = await connection.fetchval(queries.LAST_COUNTS)
        # Somebody else may have taken an entry for his own meanwhile.
        if last is None or json.loads(last).get("mailbox_entry") != before["mailbox_entry"]:
            return False
        for source in files:
            lines = self._known[source.kind] = KnownLines()
            async for row in connection.cursor(queries.KNOWN_PARTS, source.kind.value, prefetch=4):
                lines.add_part(row["digests"], row["persons"], row["places"])
        return True

    async def _copy(self, rows: Iterator[dict[str, bytes]]) -> None:
        """Copy into the stage what `rows` gives, while the next lines are read."""
        copying: asyncio.Task[None] | None = None
        try:
            while (taken := await asyncio.to_thread(next, rows, None)) is not None:
                if copying:
                    await copying
                copying = asyncio.create_task(copy(self._connection, taken))
        finally:
            if copying:
                await copying

    async def _bring_difference(self, difference: Difference, own: set[str]) -> tuple[Stage, Changes]:
        connection, scope, texts = self._connection, difference.scope, ScopeTexts()
        for line in difference.came:
            (texts.addresses if "@" in line.subject else texts.persons).add(line.subject)
            if line.mailbox is not None:
                texts.addresses.add(line.mailbox[0])
            if line.place is not None and line.place.key in scope.places:
                texts.organisations.add(line.place.row[0])
        await self._name_subjects(scope.subjects, texts)
        persons, addresses = list(texts.persons), list(texts.addresses)
        for row in (
            *await connection.fetch(queries.ORGANISATIONS_OF, persons, addresses),
            *await connection.fetch(queries.TOLD_BY_OTHERS),
        ):
            if place_key(row[0]) in scope.places:
                texts.organisations.add(row[0])
        if any(kind is Kind.FINESS and lines.digests for kind, lines in difference.went) or any(
            line.subject == "" for line in difference.came
        ):
            for row in await connection.fetch(queries.WITH_FINESS):
                if place_key(row["finess"]) in scope.places:
                    texts.organisations |= {row["finess"], row["organisation_id"]}
        rows = await connection.fetch(queries.NUMBERS_OF, list(texts.organisations))
        texts.organisations |= {row["number"] for row in rows}
        difference.concern(texts.organisations)
        texts.addresses |= {row[0] for row in await connection.fetch(queries.ADDRESSES_OF, persons, addresses)}
        scope.addresses |= texts.addresses
        stage = await asyncio.to_thread(difference.stage)
        texts.addresses |= scope.addresses | own
        texts.organisations |= stage.organisations | stage.numbers
        await copy(connection, stage.taken())
        return stage, await merge.compare(connection, self._now, self._progress, texts)

    async def _name_subjects(self, numbers: set[int], texts: ScopeTexts) -> None:
        """The texts behind numbers of subjects."""
        others = {number for number in numbers if number >> 63}
        texts.persons |= {str(number) for number in numbers - others}
        if others - set(map(subject_number, texts.persons | texts.addresses)):
            for row in await self._connection.fetch(queries.OTHER_SUBJECTS):
                if subject_number(row[0]) in others:
                    (texts.addresses if "@" in row[0] else texts.persons).add(row[0])

    async def _keep(self, files: list[Source], counts: dict[str, int], paths: Sequence[Path]) -> None:
        """Index what changed, remember the lines and the load."""
        connection = self._connection
        await settle(connection)
        await connection.execute(queries.FORGET_GONE)
        counts["listing"] = await refresh(connection, self._progress, whole=self._changed is None)
        if self._changed is None:
            await connection.execute(queries.FORGET_ALL_LINES)
        for source in files:
            if self._changed is not None and source.kind not in self._changed:
                continue
            lines, header = self._known[source.kind], header_of(source)
            await connection.execute(queries.FORGET_LINES, source.kind.value)
            await connection.executemany(
                queries.KEEP_LINES,
                [(source.kind.value, part, header, *numbers) for part, numbers in enumerate(lines.parts())],
            )
        await connection.execute(queries.RECORD_LOAD, self._now, [path.name for path in paths], json.dumps(counts))
