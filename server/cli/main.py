"""`caducee …`: the one command of the product."""

from __future__ import annotations

import os
import sys

import typer
from rich.markup import escape

from crypto.errors import CryptoError
from server.base.errors import CaduceeError
from server.base.settings import HOME_VARIABLE, SettingsError
from server.cli import (
    database,
    directory,
    dns,
    entrust,
    identity,
    indicators,
    keys,
    mailbox,
    message,
    operate,
    pki,
    prescription,
    private_space,
    queue,
    rights,
    terms,
    trace,
    trust,
)
from server.cli.common import Failure, HomeOption, err
from server.cli.migrate.command import migrate
from server.db.confinement import EmbeddedError
from server.db.migrate import MigrationError

app = typer.Typer(
    name="caducee",
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


operate.register(app)
app.command()(dns.dns)
app.command()(trace.trace)
app.command()(indicators.indicators)
terms.register(mailbox.app)
rights.register(mailbox.app)
entrust.register(mailbox.app)
mailbox.app.command()(migrate)
app.add_typer(mailbox.app, name="mailbox")
app.add_typer(message.app, name="message")
app.add_typer(identity.app, name="identity")
app.add_typer(queue.app, name="queue")
app.add_typer(prescription.app, name="prescription")
app.add_typer(keys.app, name="keys")
app.add_typer(pki.app, name="pki")
app.add_typer(database.app, name="db")
app.add_typer(directory.app, name="directory")
private_space.register(trust.app)
app.add_typer(trust.app, name="trust")


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
