"""What every command shares: where the data is, how it answers people and scripts, how it ends on trouble."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from server.base.settings import HOME_VARIABLE, Settings, find_home, load

T = TypeVar("T")

HomeOption = Annotated[
    Path | None, typer.Option("--home", envvar=HOME_VARIABLE, help="Data directory made by `caducee init`.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON document, for scripts.")]

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class Failure(Exception):
    """A command cannot do what was asked; the text says what happened and what to do."""


def settings_of(home: Path | None) -> Settings:
    """The settings of the data directory given or named by CADUCEE_HOME; raises SettingsError."""
    return load(find_home(home))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run one command's asynchronous work to its end."""
    return asyncio.run(work)


def answer_json(document: object) -> None:
    """One JSON document on standard output."""
    out.print(json.dumps(document, ensure_ascii=False, indent=2, default=str), markup=False)


def progress() -> Progress:
    """A progress bar on standard error, gone when done, silent where nobody watches."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
