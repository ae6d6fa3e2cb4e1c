"""`caducee mailbox migrate`: what the operator says and sees. Secrets come by prompt, file or variable, never as a word
of the command line, which everybody on the machine can read.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import asyncpg
import typer
from rich.markup import escape
from rich.table import Table

from crypto.smime.anchors import TrustAnchors
from server.audit.trail import Audit
from server.base.settings import Settings
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, err, out, progress, run, settings_of
from server.cli.migrate.client import Account, Declined, Lost, NotSignedIn, Source, sign_in
from server.cli.migrate.copier import AnotherRuns, Copier, Report
from server.cli.migrate.places import places
from server.mail.addresses import normalise
from server.mailbox.store import Store

SECRET_VARIABLE = "CADUCEE_MIGRATE_SECRET"  # noqa: S105 -- the name of a variable
_RETRIES = 4  # connections in a row that end before anything was copied
_IMAPS, _IMAP = 993, 143


class Mechanism(StrEnum):
    """SASL, and LOGIN. The secret of XOAUTH2 and OAUTHBEARER is an access token; EXTERNAL has none."""

    PLAIN = "PLAIN"
    LOGIN = "LOGIN"
    XOAUTH2 = "XOAUTH2"
    OAUTHBEARER = "OAUTHBEARER"
    EXTERNAL = "EXTERNAL"


def migrate(
    address: Annotated[str, typer.Argument(help="The mailbox here.")],
    server: Annotated[str, typer.Option("--from", help="The other server: HOST or HOST:PORT.")],
    user: Annotated[str, typer.Option(help="The account there.")],
    secret_file: Annotated[
        Path | None,
        typer.Option(help=f"Its password or token, first line. Else ${SECRET_VARIABLE}, else asked for.", exists=True),
    ] = None,
    starttls: Annotated[bool, typer.Option("--starttls", help="TLS by STARTTLS, on port 143.")] = False,
    ca: Annotated[
        Path | None, typer.Option(help="Trust this root (PEM) for its certificate, not the system's.", exists=True)
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="Show this client certificate with its key (one PEM file).", exists=True)
    ] = None,
    mechanism: Annotated[Mechanism | None, typer.Option(help="How to sign in there; a password by default.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Copy whole, once more, what was numbered anew there (UIDVALIDITY).")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be copied.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a mailbox from another IMAP server: folders, flags, dates. Run again, it goes on; nothing comes twice."""
    settings = settings_of(home)
    host, port = _place(server, _IMAP if starttls else _IMAPS)
    secret = "" if mechanism is Mechanism.EXTERNAL else _secret(secret_file, user, host)
    account = Account(host, port, user, secret, _tls(ca, certificate), starttls, mechanism or "")
    reports = run(_work(settings, normalise(address), account, again, dry_run))
    _answer(reports, dry_run, as_json)
    if not dry_run and any(report.left or report.trouble for report in reports):
        raise Failure("Not all of it is here: see above. What is there can be mended and the same command run again.")


async def _work(settings: Settings, address: str, account: Account, again: bool, dry_run: bool) -> list[Report]:
    anchors = TrustAnchors.load([settings.path(anchor) for anchor in settings.trust.anchors])
    async with Admin(settings) as admin:
        owner_id = await admin.owner_of(address)
        store = Store(admin.pool, admin.edge, admin.keyring, anchors)
        name = f"{account.host.lower()}\0{account.user}".encode()
        with progress() as bar:
            task = bar.add_task("Messages", total=None)
            copier = Copier(
                admin.connection,
                await store.open(owner_id),
                name,
                settings.transport.max_message_bytes,
                again,
                lambda messages: bar.advance(task, messages),
            )
            if not dry_run:
                await Audit(admin.edge).mailbox_migrated(
                    admin.connection, "operator", owner_id, account.host, account.user
                )
            bar.update(task, total=await _steadily(account, copier, _count))
            if not dry_run:
                await _steadily(account, copier, _copy)
        await store.announcer.close()
        return list(copier.reports.values())


async def _count(source: Source, copier: Copier) -> int:
    """How many messages are to come."""
    looks = [await copier.look(source, place) for place in await places(source)]
    return sum(len(look.todo) for look in looks if look is not None)


async def _copy(source: Source, copier: Copier) -> int:
    found = await places(source)
    for place in found:
        await copier.copy(source, place)
    return len(found)


async def _steadily(account: Account, copier: Copier, work: Callable[[Source, Copier], Awaitable[int]]) -> int:
    """Do work that goes on where it stopped, over as many connections as it takes while each brings something."""
    reached, tries, before = False, 0, 0
    while True:
        try:
            source = await sign_in(account)
            reached = True
            try:
                return await work(source, copier)
            finally:
                await source.leave()
        except NotSignedIn as error:
            raise Failure(f"{account.host} does not let {account.user} in: {error}.") from None
        except Declined as error:
            raise Failure(f"{account.host} does not do what was asked: it says {error}.") from None
        except (AnotherRuns, asyncpg.UniqueViolationError):
            raise Failure("Another migration of this mailbox runs: let it end, then run this again.") from None
        except ssl.SSLCertVerificationError as error:
            raise Failure(
                f"The certificate of {account.host} is not good ({error.verify_message}): --ca names its root."
            ) from None
        except (TimeoutError, Lost, OSError) as error:
            copied = sum(report.copied for report in copier.reports.values())
            tries, before = (0 if copied > before else tries + 1), copied
            if not reached or tries > _RETRIES:  # where the first does not work, the next would not
                said = str(error) or "no answer"
                raise Failure(
                    f"{account.host}:{account.port} cannot be read: {said}. {copied} messages were copied; the same "
                    "command goes on from there."
                ) from None
            await asyncio.sleep(2**tries / 4)


def _place(server: str, default: int) -> tuple[str, int]:
    host, colon, port = server.rpartition(":") if server.count(":") == 1 else (server, "", "")
    if not host or (colon and not (port.isdecimal() and 0 < int(port) < 65_536)):
        raise Failure("--from is HOST or HOST:PORT, like imap.exemple.fr:993.")
    return host, int(port) if colon else default


def _secret(file: Path | None, user: str, host: str) -> str:
    if file is not None:
        lines = file.read_text(encoding="utf-8").splitlines()
        secret = lines[0] if lines else ""
    else:
        secret = os.environ.get(SECRET_VARIABLE) or str(typer.prompt(f"Password of {user} at {host}", hide_input=True))
    if not secret or any(letter in secret for letter in "\0\r\n"):
        raise Failure("The secret is empty, or not one line.")
    return secret


def _tls(ca: Path | None, certificate: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            context.load_cert_chain(certificate)
    except (ssl.SSLError, OSError) as error:
        raise Failure(f"{certificate or ca} is no PEM file of that kind: {error}.") from None
    return context


def _answer(reports: list[Report], dry_run: bool, as_json: bool) -> None:
    if as_json:
        answer_json({"dry_run": dry_run, "folders": [asdict(report) for report in reports]})
        return
    table = Table("Folder", "There", "Here before", "To copy" if dry_run else "Copied", "Left there")
    for report in reports:
        last = report.there - report.before if dry_run else report.copied
        numbers = (report.there, report.before, last, len(report.left))
        table.add_row(escape(report.title), *(str(number) for number in numbers))
    out.print(table)
    for report in reports:
        if report.trouble:
            err.print(f"{report.title}: {report.trouble}.", markup=False)
        for uid, why in report.left.items():
            err.print(f"{report.title}: message {uid} stays there: {why}.", markup=False)
