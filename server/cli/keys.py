"""`caducee keys …`: the life of keys. All of it works while `serve` runs, and goes on where it was killed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from crypto import escrow
from crypto.errors import KeyMissing
from crypto.keyfile import read_private, write_private
from crypto.keyring import Keyring
from crypto.master import InFile, InToken, MasterService
from crypto.queue_secret import FILE_NAME as QUEUE_FILE
from directory.own.mailboxes import withdraw
from server.audit.trail import Audit
from server.base import clock
from server.base.settings import Settings
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, progress, run, settings_of
from server.cli.operators import Approval, approved
from server.identity.operators.model import Act
from server.mail.addresses import normalise
from server.mailbox.keylife import destroy as destruction
from server.mailbox.keylife import queries, renewal, turn
from server.mailbox.keylife.export import FILE_NAME, BroughtBack, Exported, bring_back, exported
from server.record.record import bring_details
from server.record.signatures import bring_verdicts

ACTOR = "operator"
ESCROW_FILE = "escrow.pub"

app = typer.Typer(
    no_args_is_help=True,
    help="The life of keys: renew them, wrap all by the new ones, put the old ones aside, destroy; take them out and "
    "back. `rotate`, `rewrap`, `retire` in this order, months apart or at once; `destroy` ends what old backups hold.",
)

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@dataclass(frozen=True, slots=True)
class Listed:
    """How the keys stand."""

    master_version: int
    older_generations: int
    keys_under_older: int
    retired_generations: int
    retired_at: datetime | None
    turns_begun: int
    former_pairs: int
    destroyed_mailboxes: int
    exported_at: datetime | None
    escrow: bool


@app.command("list")
def list_(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """How the keys stand, and what is left to do."""
    settings = settings_of(home)

    async def work() -> Listed:
        async with Admin(settings) as admin:
            ring = admin.keyring
            older, used = ring.generations(), await renewal.needed(admin.connection)
            retired, retired_at = ring.retired()
            return Listed(
                ring.version,
                len(older),
                sum(count for one, count in used.items() if one in older),
                len(retired),
                retired_at,
                len(await turn.announced(admin.connection)),
                len(await turn.former(admin.connection)),
                len(await destruction.destroyed(admin.connection)),
                _exported_at(settings),
                _escrow_of(settings) is not None,
            )

    found = run(work())
    if as_json:
        answer_json({name: getattr(found, name) for name in Listed.__slots__})
        return
    out.print(f"Master key: version {found.master_version}.")
    out.print(f"Bucket keys: 4,096, and {found.older_generations:,} older ones that still open.")
    if found.keys_under_older:
        out.print(f"  {found.keys_under_older:,} mailbox keys are wrapped by older ones: caducee keys rewrap")
    elif found.older_generations:
        out.print("  nothing is wrapped by them any more: caducee keys retire")
    if found.retired_generations:
        out.print(f"Retired: {found.retired_generations:,}, for backups older than {found.retired_at:%Y-%m-%d %H:%M}.")
    if found.turns_begun or found.former_pairs:
        out.print(f"Mailboxes being turned: {found.turns_begun} begun, {found.former_pairs} former keys still kept.")
    out.print(f"Mailboxes destroyed: {found.destroyed_mailboxes}.")
    out.print(f"Newest export: {found.exported_at or 'none'}; escrow: {'yes' if found.escrow else 'none'}.")


@app.command()
def rotate(
    mailbox: Annotated[
        str | None, typer.Option(help="Turn this mailbox's own key pair instead.", show_default=False)
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new master key and new bucket keys; `rewrap` then brings all under them. Or turn one mailbox's key."""
    settings = settings_of(home)

    async def work() -> None:
        async with Admin(settings) as admin:
            if mailbox is None:
                await renewal.rotate(admin.connection, admin.keyring)
                await _tell(admin, "rotate", master=admin.keyring.version)
            else:
                owner_id = await admin.owner_of(normalise(mailbox))
                await turn.announce(admin.connection, admin.keyring, owner_id, clock.now())
                await _turn(admin, [owner_id])

    run(work())
    if as_json:
        answer_json({"rotated": mailbox or "keyring"})
    elif mailbox is None:
        out.print("New keys are in use. Next: caducee keys rewrap. Copies of keys/ made before no longer fit.")
    else:
        out.print("The mailbox has a new key; its messages are under it. The former one is kept for late deliveries:")
        out.print("three hours from now, caducee keys rewrap drops it.")


@app.command()
def rewrap(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Wrap every mailbox's keys by the newest bucket keys, and end the turns of mailboxes that were begun."""
    settings = settings_of(home)

    async def work() -> tuple[int, int]:
        async with Admin(settings) as admin:
            with progress() as bar:
                total = await admin.connection.fetchval(queries.COUNT_OWNERS)
                task = bar.add_task("Mailbox keys", total=total)
                done = await renewal.rewrap(admin.connection, admin.keyring, lambda some: bar.advance(task, some))
            turned = await _turn(admin, await turn.announced(admin.connection))
            await _tell(admin, "rewrap", keys=done, messages=turned)
            return done, turned

    done, turned = run(work())
    if as_json:
        answer_json({"mailbox_keys": done, "message_keys": turned})
    else:
        out.print(f"{done:,} mailbox keys wrapped anew, {turned:,} message keys of turned mailboxes.")


@app.command()
def retire(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Put aside the older bucket keys that nothing needs but old backups: running processes forget them."""
    settings = settings_of(home)

    async def work() -> tuple[int, int]:
        async with Admin(settings) as admin:
            retired, kept = await renewal.retire(admin.connection, admin.keyring, clock.now())
            await _tell(admin, "retire", retired=retired, kept=kept)
            return retired, kept

    retired, kept = run(work())
    if as_json:
        answer_json({"retired": retired, "still_needed": kept})
        return
    out.print(f"{retired:,} older bucket keys are retired.")
    if kept:
        out.print(f"{kept:,} still wrap something: caducee keys rewrap first.")


@app.command()
def destroy(
    mailbox: Annotated[
        str | None, typer.Argument(help="Address of the mailbox to destroy; without it, all retired keys.")
    ] = None,
    backups: Annotated[
        Path | None, typer.Option(help="Folder of database backups: names the oldest that changes.", file_okay=False)
    ] = None,
    yes: Yes = False,
    approval: Approval = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Destroy for ever: one mailbox, unreadable then in every backup too, or the retired keys. Exports first."""
    settings = settings_of(home)
    what = "this mailbox, for ever and in every backup" if mailbox else "every retired key, for ever"
    if not yes:
        typer.confirm(f"Destroy {what}?", abort=True)

    async def work() -> int:
        async with Admin(settings) as admin:
            await approved(admin, approval, Act.KEYS_DESTROY, normalise(mailbox) if mailbox else "")
            if mailbox is None:
                _write(admin, await exported(admin.connection, admin.keyring, clock.now()))
                count = await renewal.destroy_retired(admin.connection, admin.keyring)
                await _tell(admin, "destroy", generations=count)
                return count
            owner_id = await admin.owner_of(normalise(mailbox))
            # Told before it is done: the trail says who did it also when it is killed in the middle.
            await _tell(admin, "destroy", owner_id)
            await withdraw(admin.connection, [normalise(mailbox)], clock.now())
            return await destruction.destroy(
                admin.connection, admin.keyring, owner_id, clock.now(), lambda export: _write(admin, export)
            )

    count = run(work())
    oldest = _oldest(backups) if backups else None
    if as_json:
        answer_json({"destroyed": mailbox or count, "until": clock.now(), "oldest_backup": oldest})
        return
    out.print("The mailbox is destroyed." if mailbox else f"{count:,} retired keys are destroyed.", markup=False)
    file = settings.keys_directory / FILE_NAME
    out.print(f"Backups of the database made before now open only with {file}:", markup=False)
    out.print("after restoring one, `caducee keys import` reads it; what was destroyed opens in none.", markup=False)
    if oldest:
        out.print(f"The oldest of them is {oldest}.", markup=False)
    out.print("Destroy older copies of that file and of keys/, wherever they are; make new ones.", markup=False)


@app.command()
def export(
    to: Annotated[Path | None, typer.Argument(help="Where to; keys/mailboxes.export.", show_default=False)] = None,
    approval: Approval = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the newest keys of all mailboxes: what old backups are read with, and `keys recover` begins from."""
    settings = settings_of(home)

    async def work() -> Exported:
        async with Admin(settings) as admin:
            await approved(admin, approval, Act.KEYS_EXPORT, "")
            found = await exported(admin.connection, admin.keyring, clock.now())
            _write(admin, found, to)
            await _tell(admin, "export", keys=len(found.pairs))
            return found

    found, file = run(work()), to or settings.keys_directory / FILE_NAME
    if as_json:
        answer_json({"file": file, "keys": len(found.pairs)})
    else:
        out.print(f"{len(found.pairs):,} keys are in {file}. Keep the newest alone.", markup=False)


@app.command("import")
def import_(
    file: Annotated[
        Path | None, typer.Argument(help="What `keys export` wrote; keys/mailboxes.export.", show_default=False)
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """After a backup of the database was restored: put the newest keys in place. What was destroyed stays so."""
    settings = settings_of(home)
    export = Exported.read(file or settings.keys_directory / FILE_NAME)

    async def work() -> BroughtBack:
        async with Admin(settings) as admin:
            back = await bring_back(admin.connection, admin.keyring, export, clock.now())
            await _tell(admin, "import", replaced=back.replaced, destroyed=len(back.destroyed), lost=len(back.lost))
            return back

    back = run(work())
    if as_json:
        answer_json({"replaced": back.replaced, "destroyed": back.destroyed, "lost": back.lost})
    else:
        out.print(f"{back.replaced:,} keys were put in place.")
        out.print(f"{len(back.destroyed):,} mailboxes had been destroyed since: they are closed, and open no more.")
    if back.lost:
        raise Failure(f"The keys of {len(back.lost):,} mailboxes are in no export: numbers {back.lost[:10]}.")


@app.command("escrow")
def escrow_(
    shares: Annotated[int, typer.Option(min=2, max=16, help="People who keep a share.")] = 5,
    threshold: Annotated[int, typer.Option(min=2, max=16, help="How many of them together recover the keys.")] = 3,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Share out what a lost keys/ is made again from. Each share is shown once: write it on paper, one a person."""
    settings = settings_of(home)
    public, words = escrow.new(shares, threshold)

    async def work() -> None:
        async with Admin(settings) as admin:
            write_private(settings.keys_directory / ESCROW_FILE, public)
            _write(admin, await exported(admin.connection, admin.keyring, clock.now()))
            await _tell(admin, "escrow", shares=shares, threshold=threshold)

    run(work())
    if as_json:
        answer_json({"threshold": threshold, "shares": words})
        return
    for number, sentence in enumerate(words, 1):
        out.print(f"Share {number} of {shares}: {sentence}\n", markup=False)
    out.print(f"Any {threshold} of them, and the newest export ({settings.keys_directory / FILE_NAME}, to be copied")
    out.print(
        "elsewhere), make keys/ again: caducee keys recover. Shares of an earlier escrow open only older exports."
    )


@app.command()
def recover(
    file: Annotated[Path, typer.Argument(help="The newest export.", exists=True, dir_okay=False)],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a lost keys/ again. The shares are read from standard input, a line each, then an empty line."""
    settings = settings_of(home)
    export = Exported.read(file)
    if export.escrow is None:
        raise Failure(f"{file} was made without escrow: it holds the keys of mailboxes alone.")
    words = list(iter(lambda: typer.prompt("Share", default="", show_default=False, prompt_suffix=": "), ""))
    document = escrow.opened(escrow.combined(words), export.escrow)
    kept: dict[str, Any] = json.loads(document)
    keys = settings.keys_directory
    if settings.ring_directory.exists():
        raise Failure(f"{settings.ring_directory}: there is a keyring already; nothing was changed.")
    for name, text in kept["files"].items():
        (keys / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(keys / name, text.encode())
    Keyring.recover(settings.ring_directory, json.dumps(kept["ring"]).encode())  # last: with it they are whole
    if as_json:
        answer_json({"recovered": keys})
    else:
        out.print(f"{keys} is whole again. Next: caducee keys import {file}, and a new escrow.", markup=False)


@app.command()
def keep(
    module: Annotated[
        Path | None, typer.Option(help="PKCS#11 library of the token; without it, in its file again.", exists=True)
    ] = None,
    label: Annotated[str, typer.Option("--token", help="Label of the token.")] = "caducee",
    pin_file: Annotated[Path | None, typer.Option(help="File with the token's PIN; keys/token.pin.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep the master key in a PKCS#11 token: a new one is made, and opens only while the token is there."""
    settings = settings_of(home)
    chosen: MasterService = InFile()
    if module is not None:
        pin = (pin_file or settings.keys_directory / "token.pin").absolute()
        chosen = InToken(module.absolute(), label, pin)
        chosen.make_key()

    async def work() -> None:
        async with Admin(settings) as admin:
            admin.keyring.renew_master(chosen)
            await _tell(admin, "keep", place=chosen.place())

    run(work())
    if as_json:
        answer_json(chosen.place())
        return
    out.print("A new master key is in " + ("its file." if module is None else f"the token {label}."), markup=False)
    if module is not None:
        out.print("Restart imap, web and jobs now, and after each new master: sealed, they cannot ask the token.")


async def _turn(admin: Admin, begun: Sequence[int]) -> int:
    """End the turns that were begun, and bring under its current pair what a mailbox has under a former one."""
    if begun:
        await asyncio.sleep(turn.ANNOUNCED_SECONDS)
    for owner_id in begun:
        await turn.switch(admin.connection, admin.keyring, admin.edge, owner_id, clock.now())
        await _tell(admin, "turn", owner_id)
    waiting = list(dict.fromkeys(p.owner_id for p in await turn.former(admin.connection) if not p.is_left))
    done = 0
    with progress() as bar:
        task = bar.add_task("Messages", total=await turn.contents(admin.connection, waiting))
        for owner_id in waiting:
            done += await turn.bring(
                admin.connection,
                admin.keyring,
                owner_id,
                clock.now(),
                (bring_details, bring_verdicts),
                lambda some: bar.advance(task, some),
            )
    for pair in await turn.former(admin.connection):
        if pair.is_left:
            await turn.drop(admin.connection, pair)
            await _tell(admin, "drop", pair.owner_id)
    return done


async def _tell(admin: Admin, what: str, owner_id: int | None = None, **facts: Any) -> None:
    await Audit(admin.edge).keys_changed(admin.connection, ACTOR, what, owner_id, **facts)


def _write(admin: Admin, export: Exported, to: Path | None = None) -> None:
    """The export where it belongs, with what the escrow opens where there is one."""
    keys = admin.settings.keys_directory
    public, sealed = _escrow_of(admin.settings), None
    if public is not None:
        files = {str(one.relative_to(keys)): read_private(one).decode() for one in _other_keys(keys)}
        kept = {"ring": json.loads(admin.keyring.recovery()), "files": files}
        sealed = escrow.sealed(public, json.dumps(kept).encode())
    export.write(to or keys / FILE_NAME, sealed)


def _other_keys(keys: Path) -> list[Path]:
    """The key files beside the keyring: secrets of the edges and of the queue, passwords of the database."""
    files = [keys / "edge.json", keys / QUEUE_FILE, *(keys / "database").glob("*")]
    return [file for file in files if file.exists()]


def _escrow_of(settings: Settings) -> bytes | None:
    try:
        return read_private(settings.keys_directory / ESCROW_FILE)
    except KeyMissing:
        return None


def _exported_at(settings: Settings) -> datetime | None:
    file = settings.keys_directory / FILE_NAME
    return Exported.read(file).made_at if file.exists() else None


def _oldest(folder: Path) -> Path | None:
    """The oldest thing in a folder of backups, by when it was written last."""
    return min(folder.iterdir(), key=lambda one: one.stat().st_mtime, default=None)
