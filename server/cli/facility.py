"""Which facilities open a mailbox for the people whom they sign in themselves: part of `caducee mailbox`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.base import clock
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, run, settings_of
from server.cli.rights import end_of, ending, read_certificate, rights_of, words_of
from server.identity.facility import bindings
from server.mail.addresses import normalise


def facility(
    address: str,
    certificate: Annotated[
        Path, typer.Option(help="The facility's client certificate, PEM; no key is needed.", dir_okay=False)
    ],
    rights: Annotated[str, typer.Option(help="Of read, send and manage, with commas.")] = "read,send",
    until: Annotated[
        str | None, typer.Option(help="Last day, like 2027-06-30 (UTC); else until removed, but for PER.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a facility open a mailbox of type ORG, CAB or PER for its people, in place of what it was given before.

    Its server shows this certificate and gets a token for each person it signed in (`[facility]` of the settings).
    """
    settings = settings_of(home)
    shown, given, end = read_certificate(settings, certificate), rights_of(rights), end_of(until)

    async def work() -> None:
        async with Admin(settings) as admin:
            owner_id = await admin.owner_of(normalise(address))
            await bindings.bind(admin.connection, admin.edge, owner_id, shown, given, end)

    run(work())
    if as_json:
        answer_json({"address": address, "subject": shown.subject, "rights": words_of(given), "until": end})
    else:
        out.print(f"{shown.subject} may {', '.join(words_of(given))} at {address}, {ending(end)}.", markup=False)
        if not settings.facility.workers:
            out.print("No facility is given a token yet: set workers = 1 in the section [facility].", markup=False)


def list_facilities(address: str, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the facilities that open a mailbox for their people."""
    settings = settings_of(home)

    async def work() -> list[bindings.Bound]:
        async with Admin(settings) as admin:
            return await bindings.of_mailbox(admin.connection, admin.edge, await admin.owner_of(normalise(address)))

    bound = run(work())
    if as_json:
        facts = ("subject", "not_after", "until")
        answer_json(
            [
                {"number": one.facility_id, "rights": words_of(one.rights)}
                | {name: getattr(one, name) for name in facts}
                for one in bound
            ]
        )
        return
    now = clock.now()
    for one in bound:
        ended = "; its certificate is no longer valid" if one.not_after < now else ""
        rights = ", ".join(words_of(one.rights))
        out.print(f"{one.facility_id}  {one.subject}  {rights}  {ending(one.until)}{ended}", markup=False)
    if not bound:
        out.print("None: `caducee mailbox facility ADDRESS --certificate FILE.pem` lets one open this mailbox.")


def remove_facility(
    address: str,
    number: Annotated[int, typer.Argument(help="As `caducee mailbox facilities` lists it.")],
    home: HomeOption = None,
) -> None:
    """Open a mailbox to a facility no more: no new session opens, no message leaves, with the tokens it has neither."""
    settings = settings_of(home)

    async def work() -> bool:
        async with Admin(settings) as admin:
            owner_id = await admin.owner_of(normalise(address))
            return await bindings.remove(admin.connection, admin.edge, owner_id, number)

    if not run(work()):
        raise Failure(f"{address} has no facility {number}: `caducee mailbox facilities {address}` lists them.")
    out.print(f"Facility {number} opens {address} no more.", markup=False)


def register(app: typer.Typer) -> None:
    """Put these commands under `caducee mailbox`."""
    app.command()(facility)
    app.command("facilities")(list_facilities)
    app.command("remove-facility")(remove_facility)
