"""`caducee identity bind|unbind|status`: whose mailboxes open by an identity provider, and who is to lose them."""

from __future__ import annotations

from typing import Annotated

import typer

from directory.identifiers import is_rpps
from server.base import clock
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, run, settings_of
from server.identity import holders, queries
from server.identity.holders import WARNING, Binding
from server.mail.addresses import normalise
from server.mailbox.store import Store


def bind(
    address: str,
    rpps: Annotated[str | None, typer.Argument(help="11 digits; the mailbox's own RPPS number when left out.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a professional open a mailbox by their identity provider; `mailbox add` does it for new ones with an RPPS."""
    settings = settings_of(home)
    if rpps is not None and not is_rpps(rpps):
        raise Failure("The RPPS number is 11 digits whose last is a Luhn key; this one does not pass.")

    async def work() -> None:
        async with Admin(settings) as admin:
            owner_id = await admin.owner_of(normalise(address))
            mailbox = await Store(admin.pool, admin.edge, admin.keyring).open(owner_id)
            number = rpps or (await mailbox.identity()).rpps
            if mailbox.kind not in holders.PROFESSIONALS:
                raise Failure(f"{address} is of type {mailbox.kind}: delegate it, or make an app password.")
            if not number:
                raise Failure(f"{address} has no RPPS number: name the one of who holds it.")
            binding = Binding(owner_id, normalise(address), holders.of_rpps(number))
            await holders.bind(admin.connection, admin.edge, [binding])

    run(work())
    if as_json:
        answer_json({"address": address, "bound": True})
    else:
        out.print(f"{address} opens for its professional at the identity provider.", markup=False)


def unbind(address: str, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Let nobody open a mailbox by an identity provider any more; sessions that are open end by themselves."""
    settings = settings_of(home)

    async def work() -> int:
        async with Admin(settings) as admin:
            return await holders.unbind(admin.connection, admin.edge, await admin.owner_of(normalise(address)))

    ended = run(work())
    if not ended:
        raise Failure(f"Nobody is bound to {address}.")
    if as_json:
        answer_json({"address": address, "bound": False})
    else:
        out.print(f"Nobody opens {address} by an identity provider any more.", markup=False)


def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Tell which providers are configured, how many people are bound, and whom the directory lists no more."""
    settings = settings_of(home)

    async def work() -> tuple[int, list[tuple[str, str, str]]]:
        async with Admin(settings) as admin:
            rows = await admin.connection.fetch(queries.MISSING)
            missing = [
                (bound.address, f"{row['missing_since']:%Y-%m-%d}", f"{row['missing_since'] + WARNING:%Y-%m-%d}")
                for row in rows
                if (bound := holders.opened(admin.edge, row)) is not None
            ]
            return await admin.connection.fetchval(queries.COUNT_HOLDERS), missing

    people, missing = run(work())
    providers = settings.identity.providers
    if as_json:
        listed = [{"address": address, "since": since, "until": until} for address, since, until in missing]
        answer_json({"providers": sorted(providers), "people": people, "missing": listed})
        return
    for name, one in providers.items():
        software = f"; software: {', '.join(one.software)}" if one.software else ""
        out.print(f"{name}  {one.issuer}  ({one.kind}, at least {one.acr}{software})", markup=False)
    if not providers:
        out.print("No identity provider: [identity.providers.<name>] in the settings makes one.", markup=False)
    out.print(f"{people} people are bound to mailboxes.")
    today = f"{clock.now():%Y-%m-%d}"
    for address, since, until in missing:
        ends = f"opens until {until}" if until > today else "no longer opens"
        out.print(f"{address}  not in the directory since {since}; {ends}", markup=False)


def register(app: typer.Typer) -> None:
    """Put these commands under `caducee identity`."""
    for command in (bind, unbind, status):
        app.command()(command)
