"""Replaces the directory by what the national files say, in one transaction.

Files → stage tables by COPY → difference with what is there. Until the commit everybody finds the old directory, and
when the files are refused it stays. Refused are: a file that cannot be read, too many damaged lines, or a directory so
much smaller than the last one that the files must have been cut off.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from directory import queries
from directory.extract import ExtractError, read
from directory.folding import near
from directory.indexing import index_words, sort_name
from directory.model import Activity, KnowHow, MailboxEntry, Organisation, Professional
from directory.queries import Connection, Table

BATCH = 5_000  # rows of a COPY: large enough to be fast, small enough for memory not to matter
PROBLEMS_KEPT = 100  # damaged lines that a person may want to read
WORST_SHARE = 0.01  # of the lines may be damaged; the national files have had none
SMALLEST_SHARE = 0.5  # of the last directory: no reform has halved the profession overnight, a cut download has
FEW_LINES = 20  # below this many damaged lines or old rows the shares say nothing

Progress = Callable[[str, int], None]


class LoadRefused(Exception):
    """The files were not loaded and the directory is as before; the text says why, `problems` where."""

    def __init__(self, reason: str, problems: Sequence[ExtractError] = ()) -> None:
        super().__init__(reason)
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the directory holds now (rows by table), and the lines that were left out."""

    counts: dict[str, int]
    lines: int
    left_out: int
    problems: tuple[ExtractError, ...]


@dataclass(slots=True)
class _Problems:
    count: int = 0
    kept: list[ExtractError] = field(default_factory=list)

    def report(self, error: ExtractError) -> None:
        self.count += 1
        if len(self.kept) < PROBLEMS_KEPT:
            self.kept.append(error)


def _quiet(stage: str, done: int) -> None:
    """Progress that nobody watches."""


async def load(
    connection: Connection,
    paths: Sequence[Path],
    now: datetime,
    *,
    progress: Progress = _quiet,
    smallest_share: float = SMALLEST_SHARE,
) -> Loaded:
    """Make the directory hold what the files say: give all of them, what is in none is removed.

    `connection` is the owner's of the schema `directory`; `progress` is called with the name of a stage and the rows
    done. `smallest_share` 0 accepts any shrinking. Raises LoadRefused.
    """
    problems = _Problems()
    async with connection.transaction():
        if not await connection.fetchval(queries.TRY_LOCK):
            raise LoadRefused("another import is at work")
        await connection.execute(queries.NO_TIMEOUT)
        before = {table.name: int(await connection.fetchval(table.count())) for table in queries.READ_TABLES}
        try:
            lines = await _stage(connection, paths, problems, progress)
        except ExtractError as error:
            raise LoadRefused(str(error), [*problems.kept, error]) from None
        total = lines + problems.count
        if problems.count > max(FEW_LINES, WORST_SHARE * total) or not lines:
            raise LoadRefused(f"{problems.count} of {total} lines cannot be read", problems.kept)
        counts = await _merge(connection, progress)
        for name, rows in counts.items():
            if before[name] > FEW_LINES and rows < smallest_share * before[name]:
                raise LoadRefused(f"{name}: {rows} rows where there were {before[name]}; the files look cut off")
        counts["listing"] = await _index(connection, progress)
        files = [path.name for path in paths]
        await connection.execute(queries.RECORD_LOAD, now, files, json.dumps(counts))
    return Loaded(counts, lines, problems.count, tuple(problems.kept))


class _Stage:
    """Rows on their way into a stage table, a COPY at a time."""

    def __init__(self, connection: Connection, table: str, columns: Sequence[str]) -> None:
        self._connection = connection
        self._table = table
        self._columns = list(columns)
        self._rows: list[tuple[Any, ...]] = []

    async def add(self, row: tuple[Any, ...]) -> None:
        self._rows.append(row)
        if len(self._rows) >= BATCH:
            await self.flush()

    async def flush(self) -> None:
        if self._rows:
            await self._connection.copy_records_to_table(self._table, records=self._rows, columns=self._columns)
            self._rows = []


async def _stage(connection: Connection, paths: Sequence[Path], problems: _Problems, progress: Progress) -> int:
    """Copy every file into the stage tables; returns the lines read."""
    stages: dict[str, _Stage] = {}
    for table in queries.READ_TABLES:
        await connection.execute(table.create_stage())
        stages[table.name] = _Stage(connection, table.stage, table.stage_columns)
    lines = 0
    for path in paths:
        for record in read(path, problems.report):
            for table, row in _rows(record):
                await stages[table.name].add(row)
            lines += 1
            if lines % BATCH == 0:
                progress(path.name, lines)
    for stage in stages.values():
        await stage.flush()
    progress("files read", lines)
    return lines


def _row(table: Table, source: object, *more: object) -> tuple[Table, tuple[Any, ...]]:
    return table, (*(getattr(source, column) for column in table.columns), *more)


def _rows(record: Activity | KnowHow | MailboxEntry) -> Iterable[tuple[Table, tuple[Any, ...]]]:
    """The stage rows of a record. The professionals' file (source 0) is believed before the mailbox file (source 1)."""
    if isinstance(record, KnowHow):
        yield _row(queries.KNOW_HOW, record, 0)
        return
    person: Professional | None = record.professional
    place: Organisation | None = record.organisation
    source = 0 if isinstance(record, Activity) else 1
    if person:
        yield _row(queries.PROFESSIONAL, person, source)
    if place:
        yield _row(queries.ORGANISATION, place, source)
    if record.know_how:
        yield _row(queries.KNOW_HOW, record.know_how, source)
    key = (person.national_id, person.profession_code) if person else ("", "")
    organisation_id = place.organisation_id if place else ""
    if isinstance(record, Activity):
        how = (record.mode_code, record.role_code, record.mode, record.role)
        yield queries.ACTIVITY, (*key, organisation_id, *how, source)
    else:
        numbers = (place.finess, place.siret) if place else ("", "")
        whose = (record.address, record.kind, *key, organisation_id, record.service, record.paperless)
        yield queries.MAILBOX_ENTRY, (*whose, *numbers, source)


async def _merge(connection: Connection, progress: Progress) -> dict[str, int]:
    """Bring the tables to what the stage says; returns their rows."""
    await connection.execute(queries.ANALYZE_STAGE)
    for statement in (*queries.JOIN_MAILBOXES, *queries.DROP_TOLD_TWICE):
        await connection.execute(statement)
    counts: dict[str, int] = {}
    for table in queries.READ_TABLES:
        await _replace(connection, table)
        counts[table.name] = int(await connection.fetchval(table.count()))
        progress(table.name, counts[table.name])
    return counts


async def _replace(connection: Connection, table: Table) -> None:
    for statement in (table.merge(), table.remove_missing(), table.analyze()):
        await connection.execute(statement)


async def _index(connection: Connection, progress: Progress) -> int:
    """Index the words of everything that can be found; returns how many listings there are."""
    known = {(row["field"], row["word"]): row["word_id"] for row in await connection.fetch(queries.WORDS)}
    last = max(known.values(), default=0)
    numbers: dict[tuple[str, str], int] = {}
    uses: dict[int, int] = {}
    await connection.execute(queries.LISTING.create_stage())
    stage = _Stage(connection, queries.LISTING.stage, queries.LISTING.stage_columns)
    done = 0
    async for row in connection.cursor(queries.LISTED, prefetch=BATCH):
        chosen = []
        for key in index_words(row):
            number = numbers.get(key)
            if number is None:
                number = known.get(key)
                if number is None:
                    last = number = last + 1
                numbers[key] = number
            uses[number] = uses.get(number, 0) + 1
            chosen.append(number)
        keys = (row["national_id"], row["profession_code"], row["organisation_id"])
        await stage.add((*keys, sort_name(row), len(row["services"]), sorted(chosen), 0))
        done += 1
        if done % BATCH == 0:
            progress("index", done)
    await stage.flush()
    await connection.execute(queries.CREATE_STAGE_WORD)
    words = _Stage(connection, "stage_word", ("word_id", "field", "word", "uses", "near"))
    for (name, word), number in numbers.items():
        await words.add((number, name, word, uses[number], None if (name, word) in known else near(word)))
    await words.flush()
    for statement in queries.MERGE_WORDS:
        await connection.execute(statement)
    await _replace(connection, queries.LISTING)
    progress("index", done)
    return done
