"""`caducee directory import`, `diff`, `status`, `show`: the national files, and what the directory took from them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from directory.load import Loaded, LoadRefused, load, preview
from directory.national import standing
from directory.national.extract import ExtractError
from server.base import clock
from server.base.settings import Settings
from server.base.tls import client_context
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, err, out, run, settings_of
from server.cli.download import Downloaded, NotDownloaded, download

REJECTED = "directory-rejected.txt"
REJECTED_BYTES = 16 << 20  # past it lines are counted, no longer kept
FOLDER = "directory"  # what is downloaded stays until the next version comes

Files = Annotated[
    list[str],
    typer.Argument(
        help="PS_LibreAcces, Correspondance_MSSante and FINESS files, their ZIP, or https:// addresses of them: all of "
        "them at once."
    ),
]


class Bars:
    """A progress bar for each stage of the work, on a terminal."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int = 0) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=None)
        self._bars.update(self._tasks[stage], completed=done, total=total or None)


@contextmanager
def _bars() -> Iterator[Bars]:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}"), TimeRemainingColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:
        yield Bars(bars)


class Rejected:
    """The file of lines that were left out. They are public, and name people: they go into no log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        self._size = 0

    def __call__(self, error: ExtractError, line: bytes) -> None:
        text = f"{error}\t".encode() + line[:1024].replace(b"\r", b"") + b"\n"
        self._size += len(text)
        if self._size <= REJECTED_BYTES:
            with open(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
                file.write(text)


def import_(files: Files, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Make the directory what the files say, in one transaction; refused files leave the old one."""
    settings = settings_of(home)
    with _bars() as bars:
        brought = _brought(settings, files, bars)
        rejected = Rejected(settings.home / REJECTED)

        async def work() -> Loaded | None:
            async with Admin(settings) as admin:
                last = await standing.standing(admin.connection)
                names = {file.path.name for file in brought}
                if last and set(last.files) == names and not any(file.is_new for file in brought):
                    return None
                paths = [file.path for file in brought]
                return await load(admin.connection, paths, clock.now(), progress=bars, rejected=rejected)

        loaded = _answered(run, work(), rejected)
    if loaded is None:
        answer_json({"new": False}) if as_json else out.print("Nothing new: these files were loaded already.")
        return
    _forget_others(settings, brought)
    _tell(loaded, as_json, {"new": True}, rejected)


def diff(files: Files, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """What an import of the files would change; nothing is changed."""
    settings = settings_of(home)
    with _bars() as bars:
        brought = _brought(settings, files, bars)

        async def work() -> Loaded:
            async with Admin(settings) as admin:
                return await preview(admin.connection, [file.path for file in brought], clock.now(), progress=bars)

        loaded = _answered(run, work(), None)
    details: dict[str, dict[str, list[str]]] = {}
    for table, what, key in loaded.details:
        details.setdefault(table, {}).setdefault(what, []).append(key)
    _tell(loaded, as_json, {"details": details}, None)


def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """When the directory was loaded last, from which files, what it holds and how large it is."""
    settings = settings_of(home)

    async def work() -> standing.Standing | None:
        async with Admin(settings) as admin:
            return await standing.standing(admin.connection)

    found, now = run(work()), clock.now()
    if as_json:
        answer_json(asdict(found) | {"old": found.is_old(now)} if found else None)
        return
    if found is None:
        out.print("No national file was ever loaded: caducee directory import FILE …")
        return
    age = now - found.loaded_at
    out.print(f"Loaded {found.loaded_at:%Y-%m-%d %H:%M} UTC, {age.days} days ago, from:", markup=False)
    for name in found.files:
        out.print(f"  {name}", markup=False)
    out.print(", ".join(f"{count:,} {name}" for name, count in found.counts.items()), markup=False)
    out.print(f"{found.size / 1e6:,.0f} MB, {found.index_size / 1e6:,.0f} MB of it the index.", markup=False)
    if found.is_old(now):
        err.print(f"Older than {standing.OLD.days} days: is the daily import at work?")


def show(
    key: Annotated[str, typer.Argument(help="An RPPS or national id, a FINESS, SIRET or technical id, an address.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Everything the directory says of one person, structure or mailbox."""
    settings = settings_of(home)

    async def work() -> dict[str, list[dict[str, Any]]]:
        async with Admin(settings) as admin:
            return await standing.show(admin.connection, key)

    found = run(work())
    if as_json:
        answer_json(found)
    elif not any(found.values()):
        raise Failure("The directory knows nobody by this.")
    else:
        for name, rows in found.items():
            for row in rows:
                table = Table("", name, show_header=True)
                for column, value in row.items():
                    if value not in {"", None}:
                        table.add_row(column, str(value))
                out.print(table)


def _brought(settings: Settings, files: list[str], bars: Bars) -> list[Downloaded]:
    """Each file here; those of the web are downloaded. A file given by its path counts as new."""
    tls = client_context(*(settings.path(anchor) for anchor in settings.trust.anchors))
    tls.load_default_certs()
    found = []
    for file in files:
        if "://" in file:
            try:
                found.append(download(file, settings.home / FOLDER, tls, bars))
            except NotDownloaded as refusal:
                raise Failure(f"The directory is as before. {file}: {refusal}.") from None
        else:
            found.append(Downloaded(Path(file), True))
    return found


def _forget_others(settings: Settings, brought: list[Downloaded]) -> None:
    """Files of earlier days that were downloaded."""
    kept = {path.name for file in brought for path in (file.path, file.path.with_name(f"{file.path.name}.version"))}
    for path in (settings.home / FOLDER).glob("*"):
        if path.name not in kept:
            path.unlink()


def _answered(work: Any, coroutine: Any, rejected: Rejected | None) -> Any:
    try:
        return work(coroutine)
    except LoadRefused as refusal:
        lines = "".join(f"\n  {problem}" for problem in refusal.problems)
        where = f"\nThe lines are in {rejected.path}." if rejected and rejected.path.exists() else ""
        raise Failure(f"The directory is as before: {refusal}{lines}{where}") from None


def _tell(loaded: Loaded, as_json: bool, more: dict[str, Any], rejected: Rejected | None) -> None:
    if as_json:
        keys = ("counts", "changes", "lines", "left_out", "suspects")
        answer_json({key: getattr(loaded, key) for key in keys} | more)
        return
    for problem in loaded.problems:
        err.print(str(problem), markup=False)
    if rejected and rejected.path.exists():
        err.print(f"The lines that were left out are in {rejected.path}.", markup=False)
    doubtful = ", ".join(f"{count:,} {name.upper()}" for name, count in loaded.suspects.items() if count)
    if doubtful:
        err.print(f"Numbers whose check digit does not hold, kept as they are: {doubtful}.", markup=False)
    table = Table("", "added", "changed", "removed", "in all")
    for name, count in loaded.counts.items():
        changes = loaded.changes.get(name, {})
        table.add_row(name, *(f"{changes.get(what, 0):,}" for what in ("added", "changed", "removed")), f"{count:,}")
    out.print(table)
    out.print(f"{loaded.lines:,} lines read, {loaded.left_out:,} left out.", markup=False)
