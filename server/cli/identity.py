"""`caducee identity …`: the development provider that stands in for Pro Santé Connect while one tries out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from directory.identifiers import is_rpps
from server.base.settings import Settings
from server.cli import holders, practice
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, run, settings_of
from server.mail.addresses import normalise
from server.mailbox.store import Store
from server.provider.clients import SOFTWARE
from server.provider.people import RPPS, file_of, read_people

app = typer.Typer(no_args_is_help=True, help="Identity providers.")
holders.register(app)


@app.callback()
def everything() -> None:
    """Commands on who people are."""


@app.command()
def people(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List who can sign in at the development provider: its own people, and who has a mailbox here with an RPPS."""
    known = read_people(_provided(settings_of(home)))
    if as_json:
        answer_json([asdict(person) for person in known.values()])
        return
    for person in known.values():
        rights = f"profession {person.profession}" if person.profession else "no profession"
        out.print(f"{person.national_id}  {person.name}  {rights}", markup=False)


@app.command()
def token(
    person: Annotated[str, typer.Argument(help="A mailbox's address, an RPPS number or a national identifier.")],
    client: Annotated[str, typer.Option(help="The practice software that asks.")] = SOFTWARE,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Get an access token of the development provider, for XOAUTH2 and OAUTHBEARER; it counts for two minutes.

    As practice software gets it, by CIBA; the person agrees at once.
    """
    settings = settings_of(home)
    _provided(settings)
    given = practice.tokens(settings, _national_id(settings, person), client)
    if as_json:
        answer_json(given)
    else:
        out.print(given["access_token"], markup=False)


def _provided(settings: Settings) -> Path:
    """The file of the people. Raises Failure where there is no development provider."""
    if not settings.provider.workers:
        raise Failure("There is no development provider here: provider.workers is 0.")
    if not (file := file_of(settings)).exists():
        raise Failure(f"{file} is not there: `caducee init` makes it.")
    return file


def _national_id(settings: Settings, person: str) -> str:
    """Of an address, an RPPS number, or the identifier itself."""
    if "@" not in person:
        return RPPS + person if is_rpps(person) else person

    async def work() -> str:
        async with Admin(settings) as admin:
            store = Store(admin.pool, admin.edge, admin.keyring)
            return (await (await store.open(await admin.owner_of(normalise(person)))).identity()).rpps

    rpps = run(work())
    if not rpps:
        raise Failure(f"{person} has no RPPS number.")
    return RPPS + rpps
