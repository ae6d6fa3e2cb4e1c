"""`caducee mailbox invite|access|end-access`: how a patient takes a mailbox, and what signs in to anybody's."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from server.audit.trail import Audit
from server.base import clock
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, run, settings_of
from server.identity.local import devices, invitations, standing
from server.identity.sessions.sessions import Sessions
from server.mail.addresses import normalise

_OPERATOR = "operator"
_ALL = "all"


class Way(StrEnum):
    """What can be ended; an app password by `revoke-app-password`."""

    PASSKEY = "passkey"
    DEVICE = "device"
    SESSION = "session"


def invite(
    addresses: Annotated[list[str], typer.Argument(help="Patients' mailboxes.", metavar="ADDRESS…")],
    anew: Annotated[
        bool, typer.Option(help="Take away password, passkeys, sessions and known browsers first: all was lost.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the provisional code by which a patient takes the mailbox, in place of one before. It is shown once.

    The patient gives it on the page /activation, within thirty days.
    """
    settings = settings_of(home)

    async def work() -> list[tuple[str, str, datetime]]:
        async with Admin(settings) as admin:
            owners = [(address, await admin.owner_of(address)) for address in map(normalise, addresses)]
            made = []
            for address, owner_id in owners:
                async with admin.connection.transaction():
                    if anew:
                        await standing.reset(admin.connection, admin.edge, owner_id, _OPERATOR)
                    made.append((address, *await invitations.invite(admin.connection, admin.edge, owner_id, _OPERATOR)))
            return made

    made = run(work())
    if as_json:
        answer_json([{"address": address, "code": code, "until": end} for address, code, end in made])
        return
    for address, code, end in made:
        out.print(f"{address}  {code}  until {end:%Y-%m-%d}", markup=False)


def access(address: str, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List what signs in to a mailbox: passkeys, password, app passwords, sessions, known browsers; and its code."""
    from server.identity.local import passkeys  # loaded late: the other commands need no WebAuthn

    settings = settings_of(home)

    async def work() -> dict[str, Any]:
        async with Admin(settings) as admin:
            connection, edge = admin.connection, admin.edge
            owner_id = await admin.owner_of(normalise(address))
            return {
                "account": asdict(await standing.of_mailbox(connection, owner_id)),
                "passkeys": [asdict(one) for one in await passkeys.of_mailbox(connection, edge, owner_id)],
                "app_passwords": [asdict(one) for one in await admin.accounts.app_passwords(owner_id)],
                "sessions": [
                    {name: getattr(one, name) for name in ("session_id", "how", "agent", "opened_at", "seen_at")}
                    for one in await Sessions(admin.pool, edge).of(owner_id)
                ],
                "devices": [
                    {name: value for name, value in asdict(one).items() if name != "is_this"}
                    for one in await devices.of_mailbox(connection, edge, owner_id, clock.now())
                ],
            }

    found = run(work())
    if as_json:
        answer_json(found)
        return
    account = found["account"]
    if account["invited_at"]:
        out.print(f"invited {account['invited_at']:%Y-%m-%d}, code good until {account['invitation_ends_at']:%Y-%m-%d}")
    if account["password_set_at"]:
        left = f"{account['recovery_codes']} recovery codes left"
        out.print(f"password  set {account['password_set_at']:%Y-%m-%d}, {_used(account['password_used_on'])}, {left}")
    for one in found["passkeys"]:
        doubt = ", BLOCKED: its counter went back" if one["doubted_at"] else ""
        line = f"{one['label']}  made {one['made_at']:%Y-%m-%d}, {_used(one['used_on'])}{doubt}"
        out.print(f"passkey {one['number']}  {line}", markup=False)
    for one in found["app_passwords"]:
        line = f"{one['label']}  made {one['made_at']:%Y-%m-%d}, {_used(one['used_on'])}"
        out.print(f"app password {one['number']}  {line}", markup=False)
    for one in found["sessions"]:
        line = f"{one['agent'] or 'unknown browser'}  by {one['how']}, seen {one['seen_at']:%Y-%m-%d %H:%M}"
        out.print(f"session {one['session_id']}  {line}", markup=False)
    for one in found["devices"]:
        seen = f"first {one['first_at']:%Y-%m-%d}, last {one['used_at']:%Y-%m-%d}"
        line = f"{one['agent'] or 'unknown browser'}  {seen} from {one['network']}"
        out.print(f"device {one['number']}  {line}", markup=False)


def end_access(
    address: str,
    way: Way,
    which: Annotated[str, typer.Argument(help="As `caducee mailbox access` lists it; `all` for all sessions.")],
    home: HomeOption = None,
) -> None:
    """End a passkey, a session, or forget a browser; app passwords: `caducee mailbox revoke-app-password`."""
    from server.identity.local import passkeys  # loaded late, as above

    settings = settings_of(home)

    async def work() -> bool:
        async with Admin(settings) as admin:
            connection, edge = admin.connection, admin.edge
            owner_id = await admin.owner_of(normalise(address))
            if way is Way.SESSION:
                return await _end_sessions(admin, owner_id, which)
            if not which.isdecimal():
                return False
            remove = passkeys.remove if way is Way.PASSKEY else devices.forget
            return await remove(connection, edge, owner_id, int(which), _OPERATOR)

    if not run(work()):
        raise Failure(f"{address} has no {way} {which}: `caducee mailbox access {address}` lists them.")
    out.print(f"Done: {way} {which} of {address}.", markup=False)


async def _end_sessions(admin: Admin, owner_id: int, which: str) -> bool:
    sessions = Sessions(admin.pool, admin.edge)
    ended = [one.session_id for one in await sessions.of(owner_id) if which in (_ALL, one.session_id)]
    for session_id in ended:
        await sessions.end_one(owner_id, session_id)
        audit = Audit(admin.edge)
        await audit.account_changed(admin.connection, _OPERATOR, owner_id, "session-ended", session=session_id)
    return bool(ended) or which == _ALL


def _used(day: object) -> str:
    return f"last used {day}" if day else "never used"


def register(app: typer.Typer) -> None:
    """Add these commands to `caducee mailbox`."""
    app.command()(invite)
    app.command()(access)
    app.command("end-access")(end_access)
