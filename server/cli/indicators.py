"""`caducee indicators`: what an operator reports each month."""

from __future__ import annotations

import csv
import io
import os
import re
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from server.audit.indicators import CARRIED, PROTOCOLS, Month, of_month
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, run, settings_of

_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
HEADER = ["month", "mailbox_type", "mailboxes", "unlisted", *CARRIED, *(f"connections_{name}" for name in PROTOCOLS)]


def indicators(
    month: Annotated[str, typer.Argument(help="Like 2026-11.")],
    file: Annotated[Path | None, typer.Option("--out", help="Write here instead of standard output.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Monthly indicators by type of mailbox, as CSV: mailboxes, messages in and out, patients, connections."""
    first = _first_day(month)
    settings = settings_of(home)

    async def work() -> list[Month]:
        async with Admin(settings) as admin:
            return await of_month(admin.connection, first)

    rows = [_row(month, one) for one in run(work())]
    if as_json:
        answer_json(rows)
        return
    text = io.StringIO()
    table = csv.DictWriter(text, HEADER, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    if file is None:
        out.file.write(text.getvalue())
        return
    try:
        _replace(file, text.getvalue())
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror}.") from None
    out.print(f"{len(rows)} types of mailbox in {file}.", markup=False)


def _first_day(month: str) -> date:
    try:
        if _MONTH.fullmatch(month):
            return date.fromisoformat(f"{month}-01")
    except ValueError:
        pass
    raise Failure("The month is written like 2026-11.")


def _row(month: str, one: Month) -> dict[str, str | int]:
    row: dict[str, str | int] = {
        "month": month,
        "mailbox_type": one.kind,
        "mailboxes": one.mailboxes,
        "unlisted": one.unlisted,
    }
    row |= {name: one.counts.get(name, 0) for name in CARRIED}
    return row | {f"connections_{name}": one.counts.get(name, 0) for name in PROTOCOLS}


def _replace(file: Path, text: str) -> None:
    """The file as a whole or not at all."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)
