"""`caducee directory …`: the national directory of professionals and structures."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from directory.question import BadCursor
from directory.search import Found
from directory.search import search as search_directory
from server.cli import export, national
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, run, settings_of

app = typer.Typer(no_args_is_help=True, help="The national directory of professionals and structures.")
app.command("import")(national.import_)
app.command()(national.diff)
app.command()(national.status)
app.command()(national.show)
app.command()(export.export)


@app.command()
def search(
    question: Annotated[list[str], typer.Argument(help="A name, a profession, a town or postcode, in any order.")],
    limit: int = 20,
    after: Annotated[
        str, typer.Option(help="Go on behind a listing: the cursor that the page before ended with.")
    ] = "",
    explain: Annotated[
        bool, typer.Option(help="Tell which word of the question matched how, and what it counts.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find professionals and structures, as one would type it: `pharmacie du centre 69003`."""
    settings = settings_of(home)

    async def work() -> list[Found]:
        async with Admin(settings) as admin:
            text = " ".join(question)
            return await search_directory(admin.connection, text, limit, after=after, explain=explain)

    try:
        found = run(work())
    except BadCursor as error:
        raise Failure(f"--after: {error}") from None
    if as_json:
        answer_json([asdict(listing) for listing in found])
        return
    if not found:
        out.print("Nobody else was found." if after else "Nobody was found: try fewer words.")
        return
    table = Table("Name", "Profession", "Place", "MSSanté", *(["Why"] if explain else []))
    for listing in found:
        place = " ".join(part for part in (listing.organisation, listing.postcode, listing.town) if part)
        boxes = listing.mailboxes or listing.place_mailboxes
        row = [listing.name, listing.profession, place, "\n".join(address for _, address in boxes)]
        table.add_row(*(escape(cell) for cell in row), *([_why(listing)] if explain else []))
    out.print(table)
    if len(found) == limit:
        out.print(f"More: --after {found[-1].after}", markup=False)


def _why(listing: Found) -> str:
    """`matrin: one mistake, martin (last name) 4`, a line a word; the last line is the sum."""
    lines = [
        f"{match.asked}: {match.how}, {match.word} ({match.field.replace('_', ' ')}) {match.points}"
        for match in listing.matches
    ]
    return escape("\n".join([*lines, f"= {listing.score}"]))
