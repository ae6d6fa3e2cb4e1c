"""`caducee queue …`: what waits for other operators, and what to do with it. It works while `serve` runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from server.base import clock
from server.base.log import Pseudonyms
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, run, settings_of
from server.mail.addresses import normalise
from server.sender.orders import Choice, Done, Listed, Order, give, listed, resolve

app = typer.Typer(
    no_args_is_help=True,
    help="Mail that waits for other operators. People stand there by their pseudonyms, as in the logs.",
)
SHORT = 12  # digits of an id that are shown; two messages that share them are not met in practice
ALL = 1_000_000

Ids = Annotated[list[str] | None, typer.Argument(help="Messages, by the beginning of their id.", show_default=False)]
Domain = Annotated[str | None, typer.Option(help="Only what goes to this domain.", show_default=False)]
Everything = Annotated[bool, typer.Option("--all", help="All that is in the queue.")]
_DONE = {
    Order.RETRY: "will be tried at once",
    Order.HOLD: "held until you release them",
    Order.RELEASE: "released",
    Order.CANCEL: "taken out; nobody is told",
    Order.BOUNCE: "will be given back to who wrote them, at once if `caducee serve` runs",
}


@app.command("list")
def list_(
    domain: Domain = None,
    to: Annotated[
        str | None, typer.Option(help="Only what goes to this address: finds its pseudonym.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Recipients shown, the oldest first.")] = 100,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the recipients that are still to be served, the oldest first."""

    def choice(admin: Admin) -> Choice:
        return Choice(None, domain, Pseudonyms(admin.edge.pseudonym).of(normalise(to)) if to else None)

    _show(None, choice, limit, home, as_json)


@app.command()
def show(message: str, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show one message of the queue: every recipient, its attempts, and what the other server said."""
    _show([message], None, ALL, home, as_json)


@app.command()
def retry(
    ids: Ids = None,
    domain: Domain = None,
    everything: Everything = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try now what waits after a failed attempt, even where its domain is being left alone."""
    _give(Order.RETRY, ids, domain, everything, home, as_json)


@app.command()
def hold(
    ids: Ids = None,
    domain: Domain = None,
    everything: Everything = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep messages back until `release`; they do not expire meanwhile."""
    _give(Order.HOLD, ids, domain, everything, home, as_json)


@app.command()
def release(
    ids: Ids = None,
    domain: Domain = None,
    everything: Everything = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let go what was held."""
    _give(Order.RELEASE, ids, domain, everything, home, as_json)


@app.command()
def cancel(
    ids: Ids = None,
    domain: Domain = None,
    everything: Everything = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take messages out of the queue for good; nobody is told. `bounce` tells the sender."""
    _give(Order.CANCEL, ids, domain, everything, home, as_json)


@app.command()
def bounce(
    ids: Ids = None,
    domain: Domain = None,
    everything: Everything = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give messages back to who wrote them, with a notification that they were not delivered."""
    _give(Order.BOUNCE, ids, domain, everything, home, as_json)


def _show(
    ids: list[str] | None, chosen: Callable[[Admin], Choice] | None, limit: int, home: HomeOption, as_json: bool
) -> None:
    settings = settings_of(home)

    async def work() -> tuple[list[Listed], dict[str, int]]:
        async with Admin(settings) as admin:
            choice = Choice(await resolve(admin.connection, ids)) if chosen is None and ids else None
            return await listed(admin.connection, choice or (chosen(admin) if chosen else Choice(None)), limit)

    rows, counts = run(work())
    if as_json:
        answer_json({"recipients": [asdict(row) for row in rows], "counts": counts})
    elif not counts:
        out.print("Nothing waits for other operators.")
    else:
        _print(rows, counts, whole=ids is not None)


def _print(rows: list[Listed], counts: dict[str, int], *, whole: bool) -> None:
    """Three lines a recipient, as narrow as a terminal of 80 columns: pseudonyms are long."""
    now = clock.now()
    for row in rows:
        name = row.id if whole else row.id[:SHORT]
        out.print(f"[bold]{name}[/]  {_span(now, row.queued_at)} old, {row.size / 1_000:,.0f} KB, {_state(row, now)}")
        out.print(f"    {row.sender or '<>'} → {row.recipient}", markup=False)
        if row.last_status:
            out.print(f"    {row.last_status} {row.last_reply}", markup=False)
    total = sum(counts.values())
    more = f"; {total - len(rows)} more are not shown (--limit)" if total > len(rows) else ""
    out.print(f"{total} recipients: {', '.join(f'{count} {state}' for state, count in sorted(counts.items()))}{more}.")


def _state(row: Listed, now: datetime) -> str:
    tries = f", tried {row.attempts} times" if row.attempts else ""
    when = "" if row.state in ("held", "trying") else f", next {_span(row.next_attempt, now, 'in ')}"
    wish = {"try": ", to be tried now", "return": ", to be given back"}.get(row.wish, "")
    return row.state + tries + (" and may have arrived" if row.unsure else "") + (wish or when)


def _span(late: datetime, early: datetime, before: str = "") -> str:
    """Like "5 min", "3 h", "2 d", with a word before it; of less than a minute "now" where there is such a word."""
    minutes = (late - early).total_seconds() / 60
    if minutes < 1:
        return "now" if before else "1 min"
    if minutes < 120:
        return f"{before}{minutes:.0f} min"
    return before + (f"{minutes / 60:.0f} h" if minutes < 48 * 60 else f"{minutes / 1_440:.0f} d")


def _give(
    order: Order, ids: list[str] | None, domain: str | None, everything: bool, home: HomeOption, as_json: bool
) -> None:
    if not ids and domain is None and not everything:
        raise Failure(f"Say which messages to {order}: ids as `caducee queue list` shows them, --domain, or --all.")
    if ids and everything:
        raise Failure("Give ids, or --all, not both.")
    settings = settings_of(home)

    async def work() -> Done:
        async with Admin(settings) as admin:
            messages = await resolve(admin.connection, ids) if ids else None
            return await give(admin.connection, admin.edge, order, Choice(messages, domain), "operator")

    done = run(work())
    if as_json:
        answer_json(asdict(done))
        return
    trying = f" {done.trying} are being tried at this moment and were left alone: ask again." if done.trying else ""
    if not done.recipients:
        raise Failure(f"Nothing to {order} in what you chose.{trying or ' `caducee queue list` shows what there is.'}")
    out.print(f"{done.recipients} recipients of {len(done.messages)} messages: {_DONE[order]}.{trying}")
