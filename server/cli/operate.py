"""`caducee init | serve | demo | doctor | check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.app import LISTENERS
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, err, out, run, settings_of
from server.cli.doctor import Finding, Level, examine
from server.cli.initialise import initialise
from server.mailbox.check import Problem
from server.mailbox.check import check as check_store

COLOUR = {Level.GOOD: "green", Level.WARNING: "yellow", Level.BAD: "bold red"}


def init(
    directory: Annotated[Path, typer.Argument(help="A new folder for all data and keys.")],
    domain: Annotated[
        str, typer.Option(help="Domain of the mailboxes, like msg.exemple.fr; patients get patient.DOMAIN.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Make a data directory: settings, master key, development certificates, database."""
    directory = directory.absolute()
    settings = initialise(directory, domain, lambda step: None if as_json else out.print(step))
    if as_json:
        answer_json({"home": str(directory), "domain": settings.domain, "patient_domain": settings.patient_domain})
        return
    out.print(f"\n{directory} is ready. Next:\n  caducee serve --home {directory}", markup=False)


def serve(
    home: HomeOption = None,
    role: Annotated[
        str | None,
        typer.Option(help=f"Only this role ({', '.join(LISTENERS)}), in this process."),
    ] = None,
) -> None:
    """Run the server: PostgreSQL if no other is set, and every role. SIGTERM drains and ends it."""
    from server import roles, supervisor  # loaded late: the other commands need none of it

    settings = settings_of(home)
    if role and role not in roles.TABLE:
        raise Failure(f"There is no role {role}; there are: {', '.join(roles.TABLE)}.")
    if role and getattr(getattr(settings, role, None), "workers", 1) == 0:
        raise Failure(f"{role} is off: set {role}.workers to 1.")
    if role and supervisor.is_served(settings.home):
        raise Failure(f"{settings.home} is served already, with all its roles; set workers for more of one.")
    raise SystemExit(roles.run(settings, role) if role else supervisor.run(settings))


def demo(
    home: Annotated[Path | None, typer.Option(help="Where to keep its data; a temporary folder by default.")] = None,
    once: Annotated[bool, typer.Option("--once", help="End by itself; status 0 only if every step held.")] = False,
) -> None:
    """Play the main job with real client programs on free ports and say what was checked."""
    from server.cli.demo.story import play

    raise SystemExit(play(home, once))


def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Find what is wrong before a user does. Status 1 when something is."""
    findings = run(examine(settings_of(home)))
    if as_json:
        answer_json([{"level": f.level, "about": f.about, "finding": f.sentence, "do": f.advice} for f in findings])
    else:
        for finding in findings:
            _print_finding(finding)
    if any(finding.level is Level.BAD for finding in findings):
        raise SystemExit(1)


def _print_finding(finding: Finding) -> None:
    out.print(f"[{COLOUR[finding.level]}]{finding.level:8}[/] {finding.about}: ", end="")
    out.print(finding.sentence + (f" → {finding.advice}" if finding.advice else ""), markup=False)


def check(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Prove the store's invariants: counters, references, keys, ciphertext. Status 1 when one does not hold."""
    settings = settings_of(home)

    async def work() -> list[Problem]:
        async with Admin(settings) as admin:
            return await check_store(admin.connection, admin.keyring, admin.edge)

    problems = run(work())
    if as_json:
        answer_json({"problems": [str(problem) for problem in problems]})
    elif not problems:
        out.print("The store is consistent.")
    for problem in [] if as_json else problems:
        err.print(str(problem), markup=False)
    if problems:
        raise SystemExit(1)
