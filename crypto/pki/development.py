"""The development PKI of a data directory, as `caducee init` makes it.

pki/root.pem root.key                       the anchor and its key (delete the key in production)
pki/server.pem server.key                   P-256, every TLS listener
pki/server-rsa.pem server-rsa.key           the same names, RSA 2048
pki/organisation.pem organisation.key       client certificate of an organisation's software
pki/crl/root.crl, root.issued               the root's revocation list, and the numbers of what it issued
pki/smime/<address>[-rsa-2048].pem .key     signing certificates, made when a mailbox asks for one
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509

from crypto.pki import authority
from crypto.pki.issue import Issued, new_root, organisation_client, professional, server
from crypto.pki.profile import KeyKind

MADE = ("server", "server-rsa", "organisation")
ORGANISATION = "CADUCEE DEVELOPPEMENT"
# A fictitious structure: FINESS numbers of department 99 are given to none.
FINESS = "990000019"


def create(folder: Path, domain: str, now: datetime, names: Sequence[str] = ()) -> Issued:
    """Make root, servers and organisation client in `folder` (`pki/`) for `domain`; gives the root.

    Server names: `names`, or the domain and its usual hosts. Raises FileExistsError when there is a root already:
    making it anew would make strangers of all its certificates.
    """
    if (folder / "root.pem").exists():
        raise FileExistsError(f"{folder / 'root.pem'}: there is a PKI already")
    hosts = list(names) or [f"mail.{domain}", domain, f"smtp.{domain}", f"imap.{domain}", f"www.{domain}"]
    root = new_root(now)
    server(root, hosts, ORGANISATION, now).save(folder, "server")
    server(root, hosts, ORGANISATION, now, KeyKind.RSA_2048).save(folder, "server-rsa")
    organisation_client(root, ORGANISATION, FINESS, now).save(folder, "organisation")
    authority.publish(folder, root, now)
    authority.record(folder, [x509.load_pem_x509_certificate((folder / f"{n}.pem").read_bytes()) for n in MADE])
    root.save(folder, "root")  # last: with it the PKI is whole
    return root


def signer(folder: Path, address: str, name: str, rpps: str, now: datetime, kind: KeyKind = KeyKind.RSA_2048) -> Issued:
    """A professional's signing certificate under the root in `folder`, kept in `folder/smime/`; read again if there."""
    file = _file_name(address) + ("" if kind is KeyKind.P256 else f"-{kind}")
    if (folder / "smime" / f"{file}.pem").exists():
        return Issued.load(folder / "smime", file)
    issued = professional(Issued.load(folder, "root"), address, name, rpps, now, kind=kind)
    authority.record(folder, [issued.certificate])
    issued.save(folder / "smime", file)
    return issued


def _file_name(address: str) -> str:
    """The address as a file name: nothing but letters, digits and @ . _ - stays, so that it cannot leave the folder."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "@_-.") else "_" for c in address.lower())
    return kept.lstrip(".") or "_"
