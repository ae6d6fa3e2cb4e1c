"""A trust space of one's own: its authority, its signer, and its members in a file that people keep.

root.pem root.key        the authority: members' servers are certified under it (or elsewhere: their choice)
signer.pem signer.key    who signs the list
crl/root.crl             the authority's revocation list
members.csv              domain,certificate,description: a PEM file (relative to this one), or a name
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from crypto.errors import CryptoError
from crypto.keyfile import write_private
from crypto.pki import authority
from crypto.pki.issue import Holder, Issued, issue, new_root
from crypto.pki.profile import KeyKind, Profile, ProfileName
from crypto.smime.anchors import TrustAnchors
from server.trust.members import Attribute, DistinguishedName
from server.trust.sign_list import sign
from server.trust.signature import signed_root
from server.trust.white_list import Entry, WhiteList, entry, read, write

COLUMNS: Final = ("domain", "certificate", "description")
MEMBERS_CHARACTERS: Final = 16 * 1024 * 1024


class MembersError(Exception):
    """The file of members is wrong; the text says where and what would be right."""


def make(folder: Path, name: str, unit: str, now: datetime) -> None:
    """Make authority, signer and an empty file of members in `folder`. Raises FileExistsError: there is one already."""
    if (folder / "root.pem").exists():
        raise FileExistsError(f"{folder}: there is a trust space already")
    root = new_root(now)
    holder = Holder({"common_name": name, "organisation_unit": unit, "organisation": name})
    issue(root, Profile.load(ProfileName.SMIME), holder, now, kind=KeyKind.P256).save(folder, "signer")
    if not (folder / "members.csv").exists():
        write_private(folder / "members.csv", (",".join(COLUMNS) + "\n").encode())
    authority.publish(folder, root, now)
    root.save(folder, "root")  # last: with it the space is whole


def members(file: Path) -> list[Entry]:
    """The members in a CSV file. Raises MembersError naming the line."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            text = stream.read(MEMBERS_CHARACTERS + 1)
    except (OSError, UnicodeError) as error:
        raise MembersError(f"{file}: it cannot be read ({getattr(error, 'strerror', None) or 'no UTF-8'}).") from None
    if len(text) > MEMBERS_CHARACTERS:
        raise MembersError(f"{file}: it is too large.")
    rows = csv.DictReader(text.splitlines(), restval="")
    if not {"domain", "certificate"} <= set(rows.fieldnames or ()):
        raise MembersError(f"{file}: its first line must be {','.join(COLUMNS)}")
    found: dict[tuple[str, str], Entry] = {}
    for row in rows:
        for one in _entries(file, rows.line_num, row):
            found.setdefault((one.domain, one.name), one)
    if not found:
        raise MembersError(f"{file}: it has no member yet; write a line for each: {','.join(COLUMNS)}")
    return list(found.values())


def _entries(file: Path, line: int, row: dict[str, str]) -> Iterator[Entry]:
    domain, given = row["domain"].strip(), row["certificate"].strip()
    try:
        name = given if "=" in given else _subject(file.parent / given)
        yield entry(domain, name, (row.get("description") or "").strip())
    except (OSError, ValueError) as error:
        raise MembersError(f"{file}, line {line}: {error}") from None


def _subject(file: Path) -> str:
    """The name in a PEM certificate. Raises OSError, ValueError."""
    return x509.load_pem_x509_certificate(file.read_bytes()).subject.rfc4514_string()


def signed(folder: Path, rows: list[Entry], now: datetime) -> tuple[bytes, WhiteList]:
    """The list of these members, signed by the folder's signer, and read again as its readers will.

    Raises CryptoError: no key here; NotSigned: it would not hold for its readers (an expired signer, say).
    """
    signer = Issued.load(folder, "signer")
    try:
        document = sign(write(rows, now), signer)
    except ValueError as error:
        raise CryptoError(f"{folder / 'signer'}: {error}") from None
    anchors = TrustAnchors.load([folder / "root.pem"])
    return document, read(signed_root(document, anchors, pinned(signer), now))


def pinned(signer: Issued) -> tuple[Attribute, ...]:
    """CN and OU of the signer, which readers pin."""
    wanted = (x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
    subject = signer.certificate.subject
    return DistinguishedName.of(x509.Name([one for one in subject if one.oid in wanted])).attributes
