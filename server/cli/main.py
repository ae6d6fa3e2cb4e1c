"""`caducee …`: the one command of the product.

Only the file of the command that runs is imported: a command line that took a second to find its own words would take
it from everybody, at each call.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, Final

import typer
from rich.markup import escape
from typer.core import TyperGroup
from typer.main import get_command, get_group

from crypto.errors import CryptoError
from server.base.errors import CaduceeError
from server.base.settings import HOME_VARIABLE, SettingsError
from server.cli.common import Failure, HomeOption, err
from server.db.confinement import EmbeddedError
from server.db.migrate import MigrationError

# Where each command is, and each group of commands (`app` there), in the order of --help; all in server.cli.
COMMANDS: Final = {
    **dict.fromkeys(("init", "serve", "demo", "doctor", "check"), "operate"),
    "dns": "dns",
    "trace": "trace",
    "indicators": "indicators",
}
GROUPS: Final = {
    **{name: name for name in ("mailbox", "message", "identity", "queue", "prescription", "keys", "pki")},
    "db": "database",
    "directory": "directory",
    "trust": "trust",
    "operator": "operators",
}


class _Commands(TyperGroup):
    """Imports the file of a command when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*COMMANDS, *GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        one = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        if cmd_name in COMMANDS:
            one.command(cmd_name)(getattr(import_module(f"server.cli.{COMMANDS[cmd_name]}"), cmd_name))
            return get_command(one)
        if cmd_name in GROUPS:
            one.add_typer(import_module(f"server.cli.{GROUPS[cmd_name]}").app, name=cmd_name)
            return get_group(one).commands[cmd_name]
        return None


app = typer.Typer(
    name="caducee",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Secure health messaging with the patient's record. Start with `caducee init DIR --domain D`, then "
    "`caducee serve`. Every command takes `--home DIR` or the variable CADUCEE_HOME.",
)


@app.callback()
def everywhere(home: HomeOption = None) -> None:
    if home is not None:
        os.environ[HOME_VARIABLE] = str(home)


def main() -> None:
    """Run the command line; trouble that we understand ends with one clear line and status 1."""
    try:
        app()
    except (SettingsError, Failure, MigrationError, EmbeddedError, CryptoError) as error:
        err.print(f"[bold red]caducee:[/] {escape(str(error))}")
        sys.exit(1)
    except CaduceeError as error:
        err.print(f"[bold red]caducee:[/] {escape(error.sentence)}")
        sys.exit(1)
