"""`caducee directory export`: the file that tells the national directory of our mailboxes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from directory.own.export import export as lines_of
from server.cli.admin import Admin
from server.cli.common import HomeOption, err, run, settings_of


def export(
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Only what differs since the beginning of this day (UTC)."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to; standard output.", dir_okay=False)] = None,
    home: HomeOption = None,
) -> None:
    """Write our mailboxes for the national directory: the columns of its extract, and ours behind."""
    settings = settings_of(home)

    async def work() -> tuple[list[str], dict[str, int]]:
        async with Admin(settings) as admin:
            return await lines_of(admin.connection, since and since.replace(tzinfo=UTC))

    lines, counts = run(work())
    text = "".join(f"{line}\n" for line in lines)
    if out:
        out.write_text(text, encoding="utf-8")
    else:
        typer.echo(text, nl=False)
    err.print(", ".join(f"{count:,} {operation}" for operation, count in counts.items()))
