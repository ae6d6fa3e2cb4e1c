"""`caducee mailbox entrust|withdraw`: the S/MIME keys with which what comes encrypted to a mailbox is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crypto.keyfile import read_private
from crypto.pki.issue import Issued
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, run, settings_of
from server.mail.addresses import normalise
from server.mailbox.beside import entrusted
from server.mailbox.keys import Keys
from server.mailbox.public.entry import certify


def entrust(
    address: str,
    key: Annotated[Path, typer.Argument(help="PKCS#12, or with CERTIFICATE the key alone (PKCS#8, PEM).")],
    certificate: Annotated[Path | None, typer.Argument(help="PEM.", exists=True, dir_okay=False)] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="The key's password, first line; else it is asked for.", exists=True)
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open what comes encrypted to this certificate from now on: the holder entrusts the key to the operator."""
    settings = settings_of(home)
    given = _read(key, certificate, password_file)
    if isinstance(given.key, Ed25519PrivateKey):
        raise Failure("Nothing can be encrypted to this certificate: its key only signs.")

    async def work() -> None:
        async with Admin(settings) as admin:
            owner_id = await admin.owner_of(normalise(address))
            keys = Keys(admin.keyring)
            opened = await keys.of(admin.connection, owner_id)
            await entrusted.entrust(admin.connection, admin.edge, opened, given, "operator")
            await certify(admin.connection, keys, owner_id)

    run(work())
    subject, until = given.certificate.subject.rfc4514_string(), given.certificate.not_valid_after_utc
    if as_json:
        answer_json({"address": address, "subject": subject, "not_after": until})
    else:
        out.print(f"What comes encrypted to {subject} is opened for {address}.", markup=False)
        out.print("Who holds the keyring can read it from now on; see `caducee mailbox withdraw`.")


def withdraw(address: str, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Forget the S/MIME keys of a mailbox. What was opened stays so; what comes stays encrypted."""
    settings = settings_of(home)

    async def work() -> int:
        async with Admin(settings) as admin:
            owner_id = await admin.owner_of(normalise(address))
            gone = await entrusted.withdraw(admin.connection, admin.edge, owner_id, "operator")
            await certify(admin.connection, Keys(admin.keyring), owner_id)
            return gone

    gone = run(work())
    if as_json:
        answer_json({"address": address, "withdrawn": gone})
    else:
        out.print(f"{gone} keys of {address} are withdrawn: what comes encrypted stays so.", markup=False)


def register(app: typer.Typer) -> None:
    """Put these commands under `caducee mailbox`."""
    app.command()(entrust)
    app.command()(withdraw)


def _read(key: Path, certificate: Path | None, password_file: Path | None) -> Issued:
    """Raises CryptoError."""
    private = read_private(key)
    password = None
    if certificate is None or b"ENCRYPTED" in private:
        password = _password(key, password_file).encode()
    if certificate is None:
        return Issued.from_pkcs12(private, password or b"")
    return Issued.of(certificate.read_bytes(), private, password)


def _password(key: Path, file: Path | None) -> str:
    if file is None:
        return str(typer.prompt(f"Password of {key}", hide_input=True, default="", show_default=False))
    return (file.read_text(encoding="utf-8").splitlines() or [""])[0]
