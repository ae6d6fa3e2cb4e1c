"""`caducee pki …`: certificates of an authority of our own, for a small operator. Asked again, nothing changes.

The authority is `pki/root.pem` of the data directory; what it gives is kept in `pki/issued/`. Its list and responder
are served by the role `ldap` (`ldap.pki_port`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from rich.table import Table

from crypto.errors import CryptoError
from crypto.pki import authority
from crypto.pki.hygiene import ENDS_SOON
from crypto.pki.issue import FINESS_TYPE, RPPS_TYPE, Holder, Issued, issue, renewed
from crypto.pki.profile import KeyKind, Profile, ProfileName
from server.base import clock
from server.base.settings import Settings
from server.cli import signing
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, run, settings_of
from server.mail.addresses import normalise

app = typer.Typer(
    no_args_is_help=True,
    help="Certificates of an authority of our own: issue, renew, revoke; what it publishes. For a small operator; "
    "within MSSanté, certificates are IGC-Santé's.",
)

_REASONS = {
    reason.value: reason
    for reason in (
        x509.ReasonFlags.unspecified,
        x509.ReasonFlags.key_compromise,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
    )
}


@dataclass(frozen=True, slots=True)
class Row:
    """A certificate that was issued here."""

    file: str
    subject: str
    serial: str
    ends: datetime
    revoked: bool


@app.command("list")
def list_(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """What was issued and is kept here, until when, and what is revoked."""
    rows = list(_rows(settings_of(home)))
    if as_json:
        answer_json([{name: getattr(row, name) for name in Row.__slots__} for row in rows])
        return
    table = Table("File", "Subject", "Ends", "")
    for row in rows:
        soon = "ends soon: caducee pki renew" if row.ends < clock.now() + ENDS_SOON else ""
        table.add_row(row.file, row.subject, f"{row.ends:%Y-%m-%d}", "revoked" if row.revoked else soon)
    out.print(table)


@app.command("issue")
def issue_(
    profile: Annotated[ProfileName, typer.Argument(help="server, organisation, smime or responder")],
    name: Annotated[str, typer.Argument(help="Who holds it: a host, a person, an organisation.")],
    host: Annotated[list[str] | None, typer.Option(help="server: a further host name; may be repeated.")] = None,
    mail: Annotated[str | None, typer.Option(help="smime: the mailbox that signs.")] = None,
    rpps: Annotated[str | None, typer.Option(help="smime: 11 digits of a professional.")] = None,
    finess: Annotated[str | None, typer.Option(help="organisation, smime: 9 digits of a structure.")] = None,
    key: Annotated[KeyKind | None, typer.Option(help="Kind of key; the profile's default.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Issue a certificate with a new key, in pki/issued/. One of this name that is valid for a month stays as it is."""
    settings = settings_of(home)
    if profile not in (ProfileName.SERVER, ProfileName.ORGANISATION, ProfileName.SMIME, ProfileName.RESPONDER):
        raise Failure(f"{profile.value} is no profile of a certificate that is issued by this command.")
    if profile is ProfileName.SMIME and not mail:
        raise Failure("A certificate that signs messages needs its mailbox: --mail ADDRESS.")
    folder, file = _place(settings, profile, mail or name)
    made = False
    if not _is_good(settings, folder / f"{file}.pem"):
        root = Issued.load(settings.home / "pki", "root")
        holder = _holder(profile, name, host or [], mail, rpps, finess)
        published = "" if profile is ProfileName.RESPONDER else settings.ldap.pki_url
        issued = issue(root, Profile.load(profile), holder, clock.now(), kind=key, published=published)
        authority.record(settings.home / "pki", [issued.certificate])
        issued.save(folder, file)
        made = True
    if as_json:
        answer_json({"certificate": folder / f"{file}.pem", "key": folder / f"{file}.key", "made": made})
    else:
        what = "are made" if made else "are there already, and valid"
        out.print(f"{folder / file}.pem and .key {what}.", markup=False)


@app.command()
def renew(
    file: Annotated[
        list[Path] | None, typer.Argument(help="PEM files; without any, all that end within a month.", exists=True)
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Issue again, with a new key and for as long, in the same place. The former one is valid until its own end."""
    settings = settings_of(home)
    root, pki = Issued.load(settings.home / "pki", "root"), settings.home / "pki"
    chosen = file or [pki / row.file for row in _rows(settings) if row.ends < clock.now() + ENDS_SOON]
    for one in chosen:
        issued = renewed(root, _read(one), clock.now())
        authority.record(pki, [issued.certificate])
        issued.save(one.parent, one.stem)
    if as_json:
        answer_json({"renewed": chosen})
        return
    for one in chosen:
        out.print(f"{one} is renewed.", markup=False)
    out.print("Restart what shows them." if chosen else "Nothing ends within a month.")


@app.command()
def revoke(
    file: Annotated[Path | None, typer.Argument(help="PEM file of the certificate.", exists=True)] = None,
    mailbox: Annotated[
        str | None, typer.Option(help="Address of a mailbox: all by which it signs, and the keys are forgotten.")
    ] = None,
    reason: Annotated[str, typer.Option(help=", ".join(_REASONS))] = "unspecified",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a certificate on the authority's list; its responder says so at once."""
    settings = settings_of(home)
    if reason not in _REASONS:
        raise Failure(f"--reason: one of {', '.join(_REASONS)}.")
    if (file is None) == (mailbox is None):
        raise Failure("Either the PEM file of a certificate, or --mailbox ADDRESS.")
    if file is not None:
        authority.revoke(settings.home / "pki", _read(file), clock.now(), reason=_REASONS[reason])
    else:
        run(_take_back(settings, normalise(mailbox or ""), _REASONS[reason]))
    published = authority.list_file(settings.home / "pki")
    if as_json:
        answer_json({"revoked": file or mailbox, "list": published})
    else:
        out.print(f"Revoked in {published}; `caducee trust refresh` makes it known to our own roles.", markup=False)


@app.command()
def mailboxes(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Give each mailbox that writes in the pages a key and a certificate to sign with; renew what ends within a month.

    For every day: mailboxes of patients are made while the server runs.
    """
    settings = settings_of(home)
    if not settings.sign_messages:
        raise Failure("Nothing signs with them: set sign_messages = true first.")

    async def work() -> int:
        async with Admin(settings) as admin:
            return await signing.give_all(admin)

    made = run(work())
    if as_json:
        answer_json({"made": made})
    else:
        out.print(f"{made:,} mailboxes have a new certificate; it signs what they write from now on.")


async def _take_back(settings: Settings, address: str, reason: x509.ReasonFlags) -> None:
    async with Admin(settings) as admin:
        if not await signing.take_back(admin, address, reason, clock.now()):
            raise Failure("This mailbox signs with nothing: there is nothing to revoke.")


@app.command()
def publish(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Write a newer list, remember what was issued before this command was, and give the responder its certificate."""
    settings = settings_of(home)
    pki, now = settings.home / "pki", clock.now()
    authority.record(pki, [certificate for _, certificate in _kept(pki)])
    authority.again(pki, now)
    made = not _is_good(settings, pki / "responder.pem")
    if made:
        root = Issued.load(pki, "root")
        responder = issue(root, Profile.load(ProfileName.RESPONDER), _holder(ProfileName.RESPONDER, "OCSP"), now)
        authority.record(pki, [responder.certificate])
        responder.save(pki, "responder")
    if as_json:
        answer_json({"list": authority.list_file(pki), "responder_made": made, "served": settings.ldap.pki_port})
        return
    out.print(f"{authority.list_file(pki)} is new" + (", and the responder has a certificate." if made else "."))
    if settings.ldap.pki_port is None:
        out.print("Nothing serves it: set ldap.pki_port and ldap.pki_url, then restart.")
    elif made:
        out.print("Restart the role ldap: it reads the responder's key when it starts.")


def _place(settings: Settings, profile: ProfileName, name: str) -> tuple[Path, str]:
    """Folder and file name: nothing but letters, digits and @ . _ - stays of what was given."""
    if profile is ProfileName.RESPONDER:
        return settings.home / "pki", "responder"
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "@_-.") else "_" for c in name.lower())
    return settings.home / "pki" / "issued", f"{profile.value}-{kept}"


def _holder(
    profile: ProfileName,
    name: str,
    hosts: list[str] | None = None,
    mail: str | None = None,
    rpps: str | None = None,
    finess: str | None = None,
) -> Holder:
    subject = {"common_name": name}
    if profile is ProfileName.ORGANISATION:
        subject["organisation"] = name
    if rpps:
        subject["serial_number"] = RPPS_TYPE + rpps
    if finess:
        subject["organisation_unit"] = FINESS_TYPE + finess
    named = [name, *(hosts or [])] if profile is ProfileName.SERVER else []
    return Holder(subject, [mail] if mail else [], named)


def _kept(pki: Path) -> Iterator[tuple[Path, x509.Certificate]]:
    """Certificates in the folders of the authority that it issued itself."""
    root = _read(pki / "root.pem")
    for file in sorted([*pki.glob("*.pem"), *pki.glob("issued/*.pem"), *pki.glob("smime/*.pem")]):
        certificate = _read(file)
        if certificate.issuer == root.subject and file.name != "root.pem":
            yield file, certificate


def _rows(settings: Settings) -> Iterator[Row]:
    pki = settings.home / "pki"
    known = _list(pki)
    for file, certificate in _kept(pki):
        revoked = known.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
        yield Row(
            str(file.relative_to(pki)),
            certificate.subject.rfc4514_string(),
            f"{certificate.serial_number:x}",
            certificate.not_valid_after_utc,
            revoked,
        )


def _is_good(settings: Settings, file: Path) -> bool:
    """Whether a certificate of ours is there, not revoked, and valid for a month."""
    if not file.exists():
        return False
    certificate = _read(file)
    revoked = _list(settings.home / "pki").get_revoked_certificate_by_serial_number(certificate.serial_number)
    return revoked is None and certificate.not_valid_after_utc > clock.now() + ENDS_SOON


def _list(pki: Path) -> x509.CertificateRevocationList:
    try:
        return x509.load_der_x509_crl(authority.list_file(pki).read_bytes())
    except (OSError, ValueError):
        raise CryptoError(f"{authority.list_file(pki)}: no revocation list can be read from it") from None


def _read(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError):
        raise Failure(f"{file}: no certificate in PEM can be read from it.") from None
