"""The operator's guide and the command line are in step: a command that nobody reads of does not exist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup

from server.cli.main import app

GUIDE = (Path(__file__).parents[3] / "docs" / "operator.md").read_text(encoding="utf-8")


def commands(group: TyperGroup, path: str) -> Iterator[tuple[str, TyperCommand]]:
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{path} {name}")
        elif isinstance(command, TyperCommand):
            yield f"{path} {name}", command


ALL = list(commands(typer.main.get_group(app), "caducee"))


@pytest.mark.parametrize("path", [path for path, _ in ALL])
def test_every_command_is_in_the_operators_guide(path: str) -> None:
    assert path in GUIDE


@pytest.mark.parametrize(("path", "command"), ALL)
def test_every_command_says_what_it_does(path: str, command: TyperCommand) -> None:
    assert (command.help or "").strip().endswith("."), path
