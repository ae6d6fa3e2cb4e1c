"""`caducee mailbox …`: make mailboxes and their app passwords, one or thousands."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Annotated

import typer

from directory.identifiers import is_finess, is_ins, is_rpps
from directory.own.mailboxes import publish
from server.base import clock
from server.base.errors import CaduceeError, Reason, Refused
from server.cli import access, entrust, facility, publication, rights, signing, terms
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, progress, run, settings_of
from server.cli.migrate.command import migrate
from server.cli.publication import Said
from server.mail.addresses import normalise, valid
from server.mailbox.create import AddressTaken, create
from server.mailbox.model import Created, Identity, NewMailbox, OwnerKind
from server.mailbox.public.entry import entry_of
from server.mailbox.terms import change, standing
from server.provider.people import enrol

app = typer.Typer(no_args_is_help=True, help="Make mailboxes and their app passwords.")
for part in (terms, publication, rights, facility, entrust, access):
    part.register(app)
app.command()(migrate)

CSV_HEADER = ["address", "type", "name", "rpps", "finess", "ins"]
# Which identifiers a kind of mailbox may have (référentiel: PER and CAB by RPPS, ORG and APP by FINESS or SIRET).
IDENTIFIERS = {
    OwnerKind.PER: {"rpps"},
    OwnerKind.CAB: {"rpps", "finess", "siret"},
    OwnerKind.ORG: {"finess", "siret"},
    OwnerKind.APP: {"finess", "siret"},
    OwnerKind.PATIENT: {"ins"},
}
NAMED = 5  # addresses that are named in an error
BATCH = 200  # mailboxes of one transaction: small enough to show progress, large enough to be quick


@app.command()
def add(
    address: str,
    kind: Annotated[
        OwnerKind, typer.Option("--type", help="PER person, ORG team, APP software, CAB practice, PATIENT")
    ],
    name: Annotated[str, typer.Option(help="Name shown to others.")],
    rpps: Annotated[str | None, typer.Option(help="11 digits, for PER and CAB")] = None,
    finess: Annotated[str | None, typer.Option(help="9 digits, for ORG and APP")] = None,
    ins: Annotated[str | None, typer.Option(help="15 characters, for PATIENT")] = None,
    siret: Annotated[str | None, typer.Option(help="14 digits, for ORG, APP and CAB without a FINESS")] = None,
    profession: Annotated[
        str, typer.Option(help="PER, CAB: code of TRE_G15, like 10; the national directory's where it knows the RPPS")
    ] = "",
    service: publication.Service = "",
    description: publication.Description = "",
    responsible: publication.Responsible = "",
    rank: publication.Rank = 0,
    unlisted: Annotated[
        bool, typer.Option("--unlisted", help="The directory shows it to nobody (liste rouge).")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a mailbox, and its entry in the directory. Its address is never given to anybody else afterwards."""
    settings = settings_of(home)
    said = Said(profession, siret or "", service, description, responsible, rank, unlisted)
    new = _checked(address, kind, name, rpps, finess, ins, said, settings.local_domains)

    async def work() -> tuple[Created, bool]:
        async with Admin(settings) as admin:
            made, published = await _make(admin, [(new, said)])
            if signing.gives(settings) and kind is not OwnerKind.APP:
                await signing.give(admin, [made[0].owner_id])
            enrol(settings, {new.rpps: new.name} if kind is OwnerKind.PER else {})
            return made[0], bool(published)

    created, published = run(work())
    if as_json:
        answer = {"address": new.address, "type": kind.value, "owner_id": created.owner_id, "published": published}
        answer_json(answer)
        return
    following = "invite" if kind is OwnerKind.PATIENT else "app-password"
    out.print(f"Mailbox {new.address} ({kind.value}) is ready. Next: caducee mailbox {following} {new.address}")
    if not published and kind is not OwnerKind.PATIENT:
        out.print("It is not in the directory: it has no RPPS, FINESS or SIRET.")


@app.command("app-password")
def app_password(
    address: str,
    label: Annotated[str, typer.Option(help="What will use it, for the holder's list.")] = "practice software",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a password for a mail program. It is shown once, as the last word of the output."""
    settings = settings_of(home)

    async def work() -> str:
        async with Admin(settings) as admin:
            owner_id = await admin.owner_of(normalise(address))
            return await admin.accounts.new_app_password(owner_id, label)

    secret = run(work())
    if as_json:
        answer_json({"address": address, "app_password": secret})
    else:
        out.print(f"App password of {address}, shown this once: {secret}", markup=False)


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help=f"CSV with the header {','.join(CSV_HEADER)}; for the directory also {','.join(Said._fields)}",
            exists=True,
            dir_okay=False,
        ),
    ],
    passwords: Annotated[
        Path | None, typer.Option(help="Make an app password for each and write address,app_password here (0600).")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make mailboxes from a CSV file, all or none of each batch of 200, with progress."""
    settings = settings_of(home)
    mailboxes = list(_read_csv(file, settings.local_domains))

    async def work(secrets: IO[str] | None) -> None:
        async with Admin(settings) as admin:
            with progress() as bar:
                task = bar.add_task("Mailboxes", total=len(mailboxes))
                for start in range(0, len(mailboxes), BATCH):
                    batch = mailboxes[start : start + BATCH]
                    try:
                        made, _ = await _make(admin, batch)
                    except AddressTaken as error:
                        ready = f"{start} mailboxes before line {start + 2} are ready" if start else "nothing was made"
                        taken, more = ", ".join(error.addresses[:NAMED]), len(error.addresses) - NAMED
                        others = f" and {more} more" if more > 0 else ""
                        raise Failure(f"Taken already, or twice: {taken}{others}; {ready}.") from None
                    enrol(settings, {new.rpps: new.name for new, _ in batch if new.kind is OwnerKind.PER})
                    if signing.gives(settings):
                        kinds = zip(made, batch, strict=True)
                        signers = [one.owner_id for one, (new, _) in kinds if new.kind is not OwnerKind.APP]
                        await signing.give(admin, signers)
                    if secrets:
                        made_secrets = await admin.accounts.new_app_passwords([m.owner_id for m in made], "import")
                        csv.writer(secrets).writerows(zip([m.address for m in made], made_secrets, strict=True))
                        secrets.flush()
                        os.fsync(secrets.fileno())
                    bar.advance(task, len(batch))

    if passwords:
        with _open_private(passwords) as secrets:
            secrets.write("address,app_password\n")
            head = secrets.tell()
            try:
                run(work(secrets))
            finally:
                if secrets.tell() == head:  # nothing in it: the next try may take the same name
                    passwords.unlink()
    else:
        run(work(None))
    if as_json:
        answer_json({"created": len(mailboxes), "passwords": str(passwords) if passwords else None})
    else:
        out.print(f"{len(mailboxes)} mailboxes are ready." + (f" Passwords: {passwords}" if passwords else ""))


async def _make(admin: Admin, new: Sequence[tuple[NewMailbox, Said]]) -> tuple[list[Created], int]:
    """The mailboxes and their entries in the directory, all or none; how many have one. Raises AddressTaken."""
    async with admin.connection.transaction():
        made = await create(admin.connection, admin.keyring, admin.edge, [one for one, _ in new])
        entries = []
        for created, (one, said) in zip(made, new, strict=True):
            if one.kind is OwnerKind.PATIENT:
                continue
            if said.unlisted:
                before = (await standing(admin.connection, created.owner_id)).terms
                terms = replace(before, unlisted=True)
                await change(admin.connection, admin.edge, created.owner_id, terms, "operator")
            identity = Identity(created.address, one.name, one.rpps, one.finess)
            entry = replace(entry_of(identity, one.kind), **said.fields())
            if entry.has_holder:
                entries.append(entry)
        if entries:
            await publish(admin.connection, entries, clock.now())
    return made, len(entries)


def _checked(
    address: str,
    kind: OwnerKind,
    name: str,
    rpps: str | None,
    finess: str | None,
    ins: str | None,
    said: Said,
    local: frozenset[str],
) -> NewMailbox:
    """A mailbox to make, with every identifier checked; raises Refused with a sentence that says what is wrong."""
    if not valid(address):
        raise Refused(Reason.BAD_ADDRESS, "This is not a mail address: it should look like prenom.nom@msg.exemple.fr.")
    normal = normalise(address)
    if normal.rpartition("@")[2] not in local:
        raise Refused(Reason.NO_ROUTE, f"The domain of a mailbox here is one of: {', '.join(sorted(local))}.")
    if rpps and not is_rpps(rpps):
        raise Refused(
            Reason.MALFORMED, "The RPPS number is 11 digits whose last is a Luhn key; this one does not pass."
        )
    if finess and not is_finess(finess):
        raise Refused(
            Reason.MALFORMED, "The FINESS number is 9 characters whose last is a key; this one does not pass."
        )
    if ins and not is_ins(ins):
        raise Refused(Reason.MALFORMED, "The INS is 15 characters whose last two are a key; this one does not pass.")
    if not name.strip() or not name.isprintable():
        raise Refused(Reason.MALFORMED, "A mailbox needs a name that others will see, without control characters.")
    said.check()
    numbers = (("rpps", rpps), ("finess", finess), ("ins", ins), ("siret", said.siret))
    strangers = [word for word, given in numbers if given]
    if not set(strangers) <= IDENTIFIERS[kind]:
        fitting = ", ".join(sorted(IDENTIFIERS[kind]))
        raise Refused(Reason.MALFORMED, f"A mailbox of type {kind} may have {fitting}, and not {', '.join(strangers)}.")
    return NewMailbox(address=normal, kind=kind, name=name.strip(), rpps=rpps or "", finess=finess or "", ins=ins or "")


def _read_csv(file: Path, local: frozenset[str]) -> Iterator[tuple[NewMailbox, Said]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise Failure(f"{file}, line {line}: this is not UTF-8; save the file as CSV UTF-8.") from None
    rows = csv.DictReader(text.splitlines())
    header = list(rows.fieldnames or ())
    if header[: len(CSV_HEADER)] != CSV_HEADER or not set(header[len(CSV_HEADER) :]) <= set(Said._fields):
        more = f"; behind it may stand {','.join(Said._fields)}"
        raise Failure(f"{file}, line 1: the header must be {','.join(CSV_HEADER)}, separated by commas{more}")
    for row in rows:
        number = rows.line_num
        if None in row or None in row.values():
            raise Failure(f"{file}, line {number}: there must be {len(header)} columns")
        try:
            kind = OwnerKind((row["type"] or "").upper())
            said = Said.of(row)
            new = _checked(
                row["address"] or "",
                kind,
                row["name"] or "",
                row["rpps"] or None,
                row["finess"] or None,
                row["ins"] or None,
                said,
                local,
            )
            yield new, said
        except CaduceeError as error:
            raise Failure(f"{file}, line {number}: {error.sentence}") from None
        except ValueError:
            raise Failure(f"{file}, line {number}: the type is one of {', '.join(OwnerKind)}") from None


def _open_private(path: Path) -> IO[str]:
    """A new file that only its owner can read; refuses to write over one that exists."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Failure(f"{path} exists already: name a new file, so that no password is lost.") from None
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}.") from None
    return os.fdopen(descriptor, "w", encoding="utf-8", newline="")
