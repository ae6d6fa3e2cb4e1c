"""`caducee trust new | sign | revoke`: a trust space of one's own, for a group of hospitals or another country."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509

from crypto.keyfile import write_private
from crypto.pki import authority
from crypto.pki.issue import Issued
from server.base import clock
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, settings_of
from server.trust import private_space
from server.trust.private_space import MembersError
from server.trust.signature import NotSigned


def register(app: typer.Typer) -> None:
    """Put the commands of this file beside those on the trust space that is kept."""
    for command in (new, sign, revoke):
        app.command()(command)


def new(
    folder: Annotated[Path, typer.Argument(help="A new folder for the space's keys and members.")],
    name: Annotated[str, typer.Option(help="Who signs the list: CN of its certificate.")],
    unit: Annotated[str, typer.Option(help="Number of the structure that signs, as in 318751275100020: OU.")],
) -> None:
    """Make a trust space: its authority, the signer of its white list, an empty list of members."""
    try:
        private_space.make(folder, name, unit, clock.now())
    except FileExistsError as error:
        raise Failure(f"{error}: choose a new folder.") from None
    out.print(
        f"{folder} holds the authority (root), the signer of the list and members.csv: write a line for each domain, "
        "with its operator's certificate (a PEM file) or the name in it. Then:",
        markup=False,
    )
    out.print(f"  caducee trust sign {folder}", markup=False)


def sign(
    folder: Annotated[Path, typer.Argument(help="The folder that `caducee trust new` made.")],
    members: Annotated[
        Path | None, typer.Option(help="CSV: domain,certificate,description; FOLDER/members.csv.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Where the list goes; FOLDER/list/white-list.xml.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Sign the white list of the members, and say how operators are set to follow it."""
    target = to or folder / "list" / "white-list.xml"
    try:
        rows = private_space.members(members or folder / "members.csv")
        document, found = private_space.signed(folder, rows, clock.now().replace(microsecond=0))
    except (MembersError, NotSigned) as error:
        raise Failure(str(error)) from None
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_private(target, document)
    target.chmod(0o644)  # it is public: a web server publishes it
    signer = Issued.load(folder, "signer").certificate.subject
    named = {
        "signer_name": signer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value,
        "signer_unit": signer.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)[0].value,
    }
    if as_json:
        answer_json({"list": target, "rows": len(found.entries), "generated_at": found.generated_at, **named})
        return
    counts = f"{len(found.entries)} rows, of {len(found.domains())} domains"
    out.print(f"{target}: {counts}. Publish it over HTTPS.", markup=False)
    out.print("Operators that follow it set, in the section [trust] of caducee.toml:", markup=False)
    lines = [f'white_list = "https://…/{target.name}"', *(f'{key} = "{value!s}"' for key, value in named.items())]
    lines += ['anchors = ["pki/root.pem", "…/root.pem"]', 'crls = ["https://…/root.crl"]']
    for line in lines:
        out.print(f"  {line}", markup=False)
    files = f"{folder / 'root.pem'} (a copy for each) and {authority.list_file(folder)} (to be published too)"
    out.print(f"with {files}.", markup=False)


def revoke(
    certificate: Annotated[Path, typer.Argument(exists=True, help="PEM file of the certificate.")],
    space: Annotated[
        Path | None, typer.Option("--space", help="Folder of the authority; the development PKI of the data directory.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Revoke a certificate that an authority of ours issued: its revocation list is written anew."""
    folder = space or settings_of(home).home / "pki"
    try:
        read = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError):
        raise Failure(f"{certificate}: no certificate in PEM can be read from it.") from None
    authority.revoke(folder, read, clock.now())
    file = authority.list_file(folder)
    out.print(f"Revoked in {file}; `caducee trust refresh` makes it known at once.", markup=False)
