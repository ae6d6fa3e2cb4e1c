"""`caducee trust show | refresh | check | diff`: the trust space that is kept."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

import asyncpg
import typer
from rich.table import Table

from crypto.smime.anchors import TrustAnchors
from server.base import clock, log
from server.base.settings import Settings
from server.cli import private_space
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, err, out, run, settings_of
from server.db.pool import admin_dsn
from server.fetcher.refresh import Outcome, Refresher
from server.mail.addresses import ascii_domain
from server.trust.follow import Follower
from server.trust.members import DistinguishedNameError
from server.trust.space import TrustSpace
from server.trust.state import Changed, Seen, State, changes, seen, state

app = typer.Typer(no_args_is_help=True, help="The trust space: white list, revocation lists, and one of your own.")
private_space.register(app)


def _anchors(settings: Settings) -> TrustAnchors:
    return TrustAnchors.load([settings.path(anchor) for anchor in settings.trust.anchors])


@app.command()
def show(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """The white list that is kept, and how each source does."""
    settings = settings_of(home)

    async def work() -> State:
        async with Admin(settings) as admin:
            return await state(admin.connection)

    found = run(work())
    if as_json:
        answer_json({"members": settings.trust.members, **asdict(found)})
        return
    if found.kept is None:
        out.print("No white list is kept.")
    else:
        kept = found.kept
        out.print(f"White list of {kept.generated_at:%Y-%m-%d %H:%M} UTC: {kept.entries:,} rows.", markup=False)
        out.print(f"Accepted {kept.accepted_at:%Y-%m-%d %H:%M} from {kept.source}.", markup=False)
    if settings.trust.members:
        out.print(f"Beside it, the settings list {len(settings.trust.members)} domains.")
    if found.sources:
        table = Table("Kind", "Source", "Last good", "Ends", "Trouble")
        for one in found.sources:
            times = [f"{time:%Y-%m-%d %H:%M}" if time else "" for time in (one.good_at, one.valid_until)]
            table.add_row(one.kind, one.source, *times, one.failure)
        out.print(table)


@app.command()
def refresh(
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Take a white list that lost many domains: you know it is right.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch white list and revocation lists now. Status 1 when one is refused; the last good one stays then."""
    settings = settings_of(home)
    logger = log.configure("trust", level="ERROR")

    async def work() -> list[Outcome]:
        async with Admin(settings), asyncpg.create_pool(admin_dsn(settings), min_size=1, max_size=4) as pool:
            refresher = Refresher(pool, settings, _anchors(settings), logger)
            return await refresher.round(all_of_them=True, accept_loss=accept_loss)

    outcomes = run(work())
    if as_json:
        answer_json([_plain(one) for one in outcomes])
    elif not outcomes:
        out.print("There is nothing to fetch: set trust.white_list or trust.crls.")
    for one in [] if as_json else outcomes:
        if one.failure:
            err.print(f"[bold red]refused[/] {one.kind} ", end="")
            err.print(f"{one.source}: {one.failure}", markup=False)
        else:
            out.print(f"{'new' if one.changed else 'same'} {one.kind} {one.source}{_told(one)}", markup=False)
    if any(one.failure for one in outcomes):
        raise SystemExit(1)


def _plain(one: Outcome) -> dict[str, Any]:
    plain: dict[str, Any] = {"kind": one.kind, "source": one.source, "changed": one.changed, "failure": one.failure}
    if one.change is not None:
        plain |= {"added": one.change.added, "removed": one.change.removed, "left_out": one.change.left_out}
    return plain


def _told(one: Outcome) -> str:
    if one.change is None:
        return ""
    left_out = f", {one.change.left_out} that cannot be read" if one.change.left_out else ""
    return f": {len(one.change.added):,} rows added, {len(one.change.removed):,} removed{left_out}"


@app.command()
def check(
    domain: Annotated[str, typer.Argument(help="A domain, or an address in it.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who may speak for a domain, and the certificates they showed. Status 1 when nobody may."""
    settings = settings_of(home)
    wanted = ascii_domain(domain.rpartition("@")[2].strip()) or domain

    async def work() -> tuple[TrustSpace, list[Seen]]:
        async with Admin(settings) as admin, asyncpg.create_pool(admin_dsn(settings), min_size=1, max_size=2) as pool:
            try:
                follower = Follower(pool, settings.trust, _anchors(settings), log.configure("trust", level="ERROR"))
            except DistinguishedNameError as error:
                raise Failure(str(error)) from None
            await follower.look()
            return follower.space, await seen(admin.connection, follower.space, wanted, clock.now())

    space, certificates = run(work())
    kept = space.white_list.entries if space.white_list is not None else ()
    rows = [
        {"name": one.name, "from": "white list", "description": one.description} for one in kept if one.domain == wanted
    ]
    rows += [
        {"name": name, "from": "settings", "description": ""}
        for listed, names in settings.trust.members.items()
        if listed.lower() == wanted
        for name in names
    ]
    if as_json:
        shown = [asdict(one) for one in certificates]
        answer_json({"domain": wanted, "listed": space.lists(wanted), "names": rows, "certificates": shown})
    elif rows:
        out.print(f"{wanted} is in the trust space. For it speak:", markup=False)
        for row in rows:
            out.print(f"  {row['name']} ({row['from']}) {row['description']}".rstrip(), markup=False)
        for one in certificates:
            source = f" by {one.source}" if one.source else ""
            text = f"{one.serial} of {one.subject}, until {one.expires_at:%Y-%m-%d}: {one.standing}{source}"
            out.print(f"Certificate seen {one.seen_on}: {text}", markup=False)
    else:
        err.print(f"{wanted} is not in the trust space: its mail is refused and none leaves for it.", markup=False)
    if not rows:
        raise SystemExit(1)


@app.command()
def diff(
    days: Annotated[int, typer.Option(min=1, help="How far to look back.")] = 7,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """What new white lists added and removed lately."""
    settings = settings_of(home)

    async def work() -> list[Changed]:
        async with Admin(settings) as admin:
            return await changes(admin.connection, clock.now() - timedelta(days=days))

    found = run(work())
    if as_json:
        answer_json([asdict(one) for one in found])
        return
    moment = None
    for one in found:
        if one.accepted_at != moment:
            moment = one.accepted_at
            out.print(f"List of {one.generated_at:%Y-%m-%d %H:%M} UTC, accepted {moment:%Y-%m-%d %H:%M}", markup=False)
        out.print(f"  {'+' if one.added else '-'} {one.domain}  {one.name}", markup=False)
    if not found:
        out.print(f"No white list changed anything in the last {days} days.")
