"""`caducee mailbox show|set|refuse|accept-mail`: on which terms a mailbox takes mail."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Annotated

import typer

from server.base import clock
from server.base.limits import MB
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, run, settings_of
from server.mail.addresses import normalise
from server.mailbox.keys import Keys
from server.mailbox.public.entry import publish
from server.mailbox.terms import Standing, Terms, change, standing

_SIZE = re.compile(r"([0-9]{1,9})(MB|GB)")
_UNITS = {"MB": MB, "GB": 1_000 * MB}


def show(address: str, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show a mailbox's type, state, room and terms; nothing of what is in it."""
    settings = settings_of(home)

    async def work() -> Standing:
        async with Admin(settings) as admin:
            return await standing(admin.connection, await admin.owner_of(normalise(address)))

    _answer(address, run(work()), settings.transport.quota_bytes, as_json)


def set_(
    address: str,
    quota: Annotated[
        str | None, typer.Option(help='Room: "500MB", "2GB", "none" for no limit, "default" for the setting\'s.')
    ] = None,
    open_to_patients: Annotated[
        bool | None, typer.Option(help="Whether patients may write first: a pharmacy's ORG mailbox.")
    ] = None,
    unlisted: Annotated[
        bool | None,
        typer.Option("--unlisted/--listed", help="Whether the directory leaves the address out (liste rouge)."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a mailbox's room, open it to patients, or keep it out of the directory."""
    room = None if quota is None else _octets(quota)

    def changed(terms: Terms) -> Terms:
        if quota is not None:
            terms = replace(terms, quota_bytes=room)
        if open_to_patients is not None:
            terms = replace(terms, open_to_patients=open_to_patients)
        return terms if unlisted is None else replace(terms, unlisted=unlisted)

    _change(address, changed, home, as_json)


def refuse(address: str, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Record that the holder opposes messages: whoever writes is told so and the message is not taken."""
    _change(address, lambda terms: replace(terms, refuses_mail=True), home, as_json)


def accept_mail(address: str, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """End the holder's opposition to messages."""
    _change(address, lambda terms: replace(terms, refuses_mail=False), home, as_json)


def register(app: typer.Typer) -> None:
    """Put these commands under `caducee mailbox`."""
    app.command()(show)
    app.command("set")(set_)
    app.command()(refuse)
    app.command("accept-mail")(accept_mail)


def _change(address: str, changed: Callable[[Terms], Terms], home: HomeOption, as_json: bool) -> None:
    settings = settings_of(home)

    async def work() -> Standing:
        async with Admin(settings) as admin:
            owner_id = await admin.owner_of(normalise(address))
            before = await standing(admin.connection, owner_id)
            after = changed(before.terms)
            async with admin.connection.transaction():
                await change(admin.connection, admin.edge, owner_id, after, "operator")
                if after.unlisted != before.terms.unlisted and before.is_public:
                    await publish(admin.connection, Keys(admin.keyring), owner_id, clock.now())
            return await standing(admin.connection, owner_id)

    _answer(address, run(work()), settings.transport.quota_bytes, as_json)


def _answer(address: str, now: Standing, usual_quota: int, as_json: bool) -> None:
    if as_json:
        answer_json(
            {"address": address, "type": now.kind, "state": now.state, "used_bytes": now.used}
            | asdict(now.terms)
            | {"entrusted_keys": now.entrusted}
        )
        return
    quota = usual_quota if now.terms.quota_bytes is None else now.terms.quota_bytes
    room = f"{quota / MB:,.0f} MB" if quota else "no limit"
    out.print(f"{address} ({now.kind.value}, {now.state.value}): {now.used / MB:,.1f} MB of {room}", markup=False)
    out.print("refuses messages" if now.terms.refuses_mail else "takes messages")
    if now.terms.open_to_patients:
        out.print("patients may write first")
    if now.entrusted:
        out.print(f"what comes encrypted is opened: {now.entrusted} S/MIME key(s) entrusted")
    if now.terms.unlisted:
        out.print("not to be published in the directory")


def _octets(quota: str) -> int | None:
    """Raises Failure: no size."""
    if quota in ("none", "default"):
        return 0 if quota == "none" else None
    match = _SIZE.fullmatch(quota.upper())
    if match is None or not int(match[1]):
        raise Failure('The quota is a size like 500MB or 2GB, or "none", or "default".')
    return int(match[1]) * _UNITS[match[2]]
