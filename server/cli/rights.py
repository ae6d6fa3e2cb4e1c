"""`caducee mailbox app-passwords|certificate|delegate …`: which software and which people may sign in to a mailbox."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crypto.pki import client
from crypto.smime.anchors import ANCHOR_FILE_BYTES, TrustAnchors
from server.base import clock
from server.base.errors import Refused
from server.base.settings import Settings
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, run, settings_of
from server.identity import certificates, delegations
from server.identity.accounts import Made
from server.identity.delegations import Delegation
from server.identity.model import Rights
from server.mail.addresses import normalise
from server.mailbox.store import Store

_DAY = timedelta(days=1)


def list_app_passwords(address: str, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List a mailbox's app passwords: what each is for and the day of its last use, never the password."""
    settings = settings_of(home)

    async def work() -> list[Made]:
        async with Admin(settings) as admin:
            return await admin.accounts.app_passwords(await admin.owner_of(normalise(address)))

    made = run(work())
    if as_json:
        answer_json([asdict(one) for one in made])
        return
    for one in made:
        last = f"last used {one.used_on}" if one.used_on else "never used"
        out.print(f"{one.number}  {one.label}  made {one.made_at:%Y-%m-%d}, {last}", markup=False)
    if not made:
        out.print("None: `caducee mailbox app-password ADDRESS` makes one.")


def revoke_app_password(
    address: str,
    number: Annotated[int, typer.Argument(help="As `caducee mailbox app-passwords` lists it.")],
    home: HomeOption = None,
) -> None:
    """End an app password, of a lost telephone for one: nobody signs in with it any more."""
    settings = settings_of(home)

    async def work() -> bool:
        async with Admin(settings) as admin:
            return await admin.accounts.revoke_app_password(await admin.owner_of(normalise(address)), number)

    if not run(work()):
        raise Failure(f"{address} has no app password {number}: `caducee mailbox app-passwords {address}` lists them.")
    out.print(f"App password {number} signs in to {address} no more.", markup=False)


def certificate(
    address: str,
    file: Annotated[Path, typer.Argument(help="The client certificate, PEM; no key is needed.", dir_okay=False)],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let software sign in to an APP mailbox with this client certificate (SASL EXTERNAL)."""
    settings = settings_of(home)
    shown = read_certificate(settings, file)

    async def work() -> None:
        async with Admin(settings) as admin:
            owner_id = await admin.owner_of(normalise(address))
            await certificates.bind(admin.connection, admin.edge, owner_id, normalise(address), shown)

    run(work())
    if as_json:
        answer_json({"address": address, "subject": shown.subject, "not_after": shown.not_after})
    else:
        out.print(f"{shown.subject} opens {address}, until {shown.not_after:%Y-%m-%d}.", markup=False)


def list_certificates(address: str, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the client certificates that open a mailbox."""
    settings = settings_of(home)

    async def work() -> list[certificates.Bound]:
        async with Admin(settings) as admin:
            return await certificates.of_mailbox(admin.connection, await admin.owner_of(normalise(address)))

    bound = run(work())
    if as_json:
        answer_json([{"number": c.certificate_id, "subject": c.subject, "not_after": c.not_after} for c in bound])
        return
    now = clock.now()
    for one in bound:
        ended = ", no longer valid" if one.not_after < now else ""
        out.print(f"{one.certificate_id}  {one.subject}  until {one.not_after:%Y-%m-%d}{ended}", markup=False)
    if not bound:
        out.print("No certificate opens this mailbox: `caducee mailbox certificate ADDRESS FILE.pem` adds one.")


def remove_certificate(
    address: str,
    number: Annotated[int, typer.Argument(help="As `caducee mailbox certificates` lists it.")],
    home: HomeOption = None,
) -> None:
    """Take a client certificate from a mailbox: nobody signs in with it any more."""
    settings = settings_of(home)

    async def work() -> bool:
        async with Admin(settings) as admin:
            owner_id = await admin.owner_of(normalise(address))
            return await certificates.remove(admin.connection, admin.edge, owner_id, number)

    if not run(work()):
        raise Failure(f"{address} has no certificate {number}: `caducee mailbox certificates {address}` lists them.")
    out.print(f"Certificate {number} opens {address} no more.", markup=False)


def delegate(
    address: str,
    to: Annotated[str, typer.Option(help="The person's own mailbox, of type PER.")],
    rights: Annotated[
        str, typer.Option(help="Of read, send and manage, with commas. Manage changes flags and folders, and reads.")
    ] = "read,send",
    until: Annotated[
        str | None, typer.Option(help="Last day, like 2027-06-30 (UTC); else until revoked, but for PER.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Share a mailbox of type ORG or CAB with a person, in place of what was shared with them before.

    A person's own mailbox (PER) is lent, to a secretary for one, until a day a year away at most, when its holder asks.
    """
    settings = settings_of(home)
    given, end = rights_of(rights), end_of(until)

    async def work() -> None:
        async with Admin(settings) as admin:
            person = await admin.owner_of(normalise(to)), normalise(to)
            owner_id = await admin.owner_of(normalise(address))
            part = Delegation(person[0], given, end)
            await delegations.grant(admin.connection, admin.edge, owner_id, person, part)

    run(work())
    if as_json:
        answer_json({"address": address, "delegate": to, "rights": words_of(given), "until": end})
    else:
        out.print(f"{to} may {', '.join(words_of(given))} at {address}, {ending(end)}.", markup=False)


def list_delegations(address: str, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the people with whom a mailbox is shared."""
    settings = settings_of(home)

    async def work() -> list[tuple[str, Delegation]]:
        async with Admin(settings) as admin:
            owner_id = await admin.owner_of(normalise(address))
            shared = await delegations.of_mailbox(admin.connection, admin.edge, owner_id)
            store = Store(admin.pool, admin.edge, admin.keyring)
            return [(await _address_of(store, one.delegate_id), one) for one in shared]

    found = run(work())
    if as_json:
        answer_json([{"delegate": to, "rights": words_of(one.rights), "until": one.until} for to, one in found])
        return
    for to, one in found:
        out.print(f"{to}  {', '.join(words_of(one.rights))}  {ending(one.until)}", markup=False)
    if not found:
        out.print("Nobody: `caducee mailbox delegate ADDRESS --to PERSON` shares this mailbox.")


def revoke_delegation(
    address: str, to: Annotated[str, typer.Option(help="The person's own mailbox.")], home: HomeOption = None
) -> None:
    """End a person's part in a shared mailbox: no message leaves as it any more, no new session opens."""
    settings = settings_of(home)

    async def work() -> bool:
        async with Admin(settings) as admin:
            person = await admin.owner_of(normalise(to)), normalise(to)
            owner_id = await admin.owner_of(normalise(address))
            return await delegations.revoke(admin.connection, admin.edge, owner_id, person)

    if not run(work()):
        raise Failure(f"{address} is not shared with {to}: `caducee mailbox delegations {address}` lists with whom.")
    out.print(f"{address} is shared with {to} no more.", markup=False)


def register(app: typer.Typer) -> None:
    """Put these commands under `caducee mailbox`."""
    app.command("app-passwords")(list_app_passwords)
    app.command("revoke-app-password")(revoke_app_password)
    app.command()(certificate)
    app.command("certificates")(list_certificates)
    app.command("remove-certificate")(remove_certificate)
    app.command()(delegate)
    app.command("delegations")(list_delegations)
    app.command("revoke-delegation")(revoke_delegation)


def read_certificate(settings: Settings, file: Path) -> client.ClientCertificate:
    """The first certificate of a PEM file, refused here as it would be at sign-in."""
    now = clock.now()
    try:
        with file.open("rb") as opened:
            leaf, *others = x509.load_pem_x509_certificates(opened.read(ANCHOR_FILE_BYTES))
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise Failure(f"{file}: this is no certificate in PEM.") from None
    der = leaf.public_bytes(Encoding.DER)
    try:
        shown = client.read(der, now)
    except client.ClientCertificateError as error:
        raise Failure(f"{file}: {error}.") from None
    anchors = TrustAnchors.load([settings.path(anchor) for anchor in settings.trust.anchors])
    if not anchors.trusts(leaf, der, [other.public_bytes(Encoding.DER) for other in others], now):
        raise Failure(f"{file}: no path leads from it to an anchor (trust.anchors), so TLS would refuse it.")
    return shown


def rights_of(words: str) -> Rights:
    """The rights that --rights names."""
    given = Rights(0)
    for word in words.split(","):
        try:
            given |= Rights[word.strip().upper()]
        except KeyError:
            raise Failure(f"--rights: {word.strip()!r} is none; they are read, send and manage.") from None
    return given | Rights.READ if Rights.MANAGE in given else given


def words_of(rights: Rights) -> list[str]:
    """Rights as --rights names them."""
    return [(right.name or "").lower() for right in rights]


def end_of(until: str | None) -> datetime | None:
    """The first moment after the last day."""
    if until is None:
        return None
    try:
        end = datetime.strptime(until, "%Y-%m-%d").replace(tzinfo=UTC) + _DAY
    except ValueError:
        raise Failure(f"--until: {until!r} is no day; it should look like 2027-06-30.") from None
    if end <= clock.now():
        raise Failure(f"--until: {until} has passed.")
    return end


def ending(until: datetime | None) -> str:
    """How long that holds which holds until the moment `end_of` gave."""
    if until is None:
        return "until revoked"
    return f"until {until - _DAY:%Y-%m-%d}{', which has passed' if until <= clock.now() else ''}"


async def _address_of(store: Store, owner_id: int) -> str:
    try:
        return (await (await store.open(owner_id)).identity()).address
    except Refused:
        return "(a mailbox that is closed)"
