"""Signed white lists for tests: a manager of a trust space, its key, and what it signs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from lxml import etree

from crypto.pki.issue import Holder, Issued, issue, new_root
from crypto.pki.profile import KeyKind, Profile, ProfileName
from server.trust.members import Attribute, DistinguishedName
from server.trust.sign_list import sign
from server.trust.white_list import Entry, entry, write

SIGNER = "CN=Liste Blanche de Test,OU=318751275100020"
PINNED: tuple[Attribute, ...] = DistinguishedName.parse(SIGNER).attributes


def list_signer(
    root: Issued,
    now: datetime,
    name: str = "Liste Blanche de Test",
    kind: KeyKind = KeyKind.P256,
    lasts: timedelta | None = None,
) -> Issued:
    """Who signs the list under `root`, as IGC-Santé's ORG_SIGN of the real one."""
    subject = {"common_name": name, "organisation_unit": "318751275100020", "organisation": "GESTIONNAIRE DE TEST"}
    return issue(root, Profile.load(ProfileName.SMIME), Holder(subject), now, kind=kind, validity=lasts)


@dataclass(frozen=True)
class Manager:
    """A trust space's manager: the anchor, and the signer under it."""

    root: Issued
    signer: Issued

    @classmethod
    def new(cls, now: datetime, kind: KeyKind = KeyKind.P256) -> Manager:
        root = new_root(now)
        return cls(root, list_signer(root, now, kind=kind))

    def signed(self, rows: Iterable[tuple[str, str]], generated_at: datetime) -> bytes:
        """A list of (domain, name) rows."""
        return sign(document(rows, generated_at), self.signer)


def document(rows: Iterable[tuple[str, str]], generated_at: datetime) -> etree._Element:
    """A list that is not signed yet."""
    return write(entries(rows), generated_at)


def entries(rows: Iterable[tuple[str, str]]) -> list[Entry]:
    return [entry(domain, name) for domain, name in rows]


def subject(certificate: bytes) -> str:
    """The name in a PEM certificate, as a list writes it."""
    return x509.load_pem_x509_certificate(certificate).subject.rfc4514_string()
