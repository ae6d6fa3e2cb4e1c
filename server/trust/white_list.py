"""The white list of the trust space: which domains are in it, and which certificate speaks for each.

Read tolerantly (unknown elements are passed over, a row that cannot be read is counted and left out), written strictly.
A domain stands once for each of its certificates, so that the key of a row is (domain, name).
Source: référentiel socle MSSanté #1, as far as public programs and the signed sample of the same family show it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from lxml import etree

from server.base.setting_types import DOMAIN
from server.mail.addresses import ascii_domain
from server.trust.members import DistinguishedName, DistinguishedNameError

NAMESPACE: Final = "https://listeblanche.mssante.fr/schema"
ROOT: Final = "ListeBlanche"
ENTRIES: Final = 200_000  # the national list has 8,655 (2026)
TEXT: Final = 2_000  # characters of one value


class NoList(Exception):
    """What was signed is no white list; the text says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: a domain (lower case, A-labels) and a name that speaks for it, as text and parsed."""

    domain: str
    name: str
    subject: DistinguishedName = field(compare=False, repr=False)
    description: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class WhiteList:
    """The list, in its order. `left_out` counts the rows that could not be read."""

    generated_at: datetime
    entries: tuple[Entry, ...]
    left_out: int = 0

    def keys(self) -> frozenset[tuple[str, str]]:
        """Its rows as they are compared."""
        return frozenset((row.domain, row.name) for row in self.entries)

    def domains(self) -> frozenset[str]:
        """The domains that are listed, each once."""
        return frozenset(row.domain for row in self.entries)


def read(root: etree._Element) -> WhiteList:
    """The list under a signed root. Raises NoList: another document, no date of generation, or no row to be read."""
    # "ListeBlanche" at MSSanté, "ListeBlancheDRIM-M" in the sample of the same family, each in its own namespace.
    if not _local(root).startswith(ROOT):
        raise NoList(f"its root is not {ROOT}")
    texts = [element.text for element in root if _local(element) == "DateDeGeneration"]
    try:
        generated_at = datetime.fromisoformat((texts[0] or "").strip()) if len(texts) == 1 else None
    except ValueError:
        generated_at = None
    if generated_at is None:
        raise NoList("it does not say when it was made (DateDeGeneration)")
    if generated_at.tzinfo is None:
        generated_at = generated_at.replace(tzinfo=UTC)
    parsed: dict[str, DistinguishedName | None] = {}  # one operator speaks for many domains
    entries: dict[tuple[str, str], Entry] = {}
    left_out = 0
    for element in root.iter(etree.Element):
        if _local(element) != "Domaine":
            continue
        row = _entry(element, parsed)
        if row is None:
            left_out += 1
        else:
            entries.setdefault((row.domain, row.name), row)
        if len(entries) > ENTRIES:
            raise NoList("it has too many rows")
    if not entries:
        raise NoList("it has no row that can be read")
    return WhiteList(generated_at, tuple(entries.values()), left_out)


def entry(domain: str, name: str, description: str = "") -> Entry:
    """One row. Raises ValueError (DistinguishedNameError too): no domain, or no name that can be read."""
    ascii_form = ascii_domain(domain)
    if ascii_form is None or not DOMAIN.fullmatch(ascii_form):
        raise ValueError(f"{domain!r} is no domain")
    return Entry(ascii_form, name, DistinguishedName.parse(name), description)


def _entry(element: etree._Element, parsed: dict[str, DistinguishedName | None]) -> Entry | None:
    values = {_local(child): " ".join((child.text or "").split())[:TEXT] for child in element}
    domain = ascii_domain(values.get("Nom") or values.get("Identifiant") or "")
    name = values.get("DNCertificatOperateur", "")
    if domain is None or not DOMAIN.fullmatch(domain):
        return None
    if name not in parsed:
        try:
            parsed[name] = DistinguishedName.parse(name)
        except DistinguishedNameError:
            parsed[name] = None
    subject = parsed[name]
    return None if subject is None else Entry(domain, name, subject, values.get("Description", ""))


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def write(entries: Iterable[Entry], generated_at: datetime) -> etree._Element:
    """The list as XML, unsigned, in the published form."""
    root = etree.Element(f"{{{NAMESPACE}}}{ROOT}", nsmap={None: NAMESPACE})
    moment = generated_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    etree.SubElement(root, f"{{{NAMESPACE}}}DateDeGeneration").text = moment
    rows = etree.SubElement(root, f"{{{NAMESPACE}}}ListeDomaines")
    for row in sorted(entries, key=lambda row: (row.domain, row.name)):
        element = etree.SubElement(rows, f"{{{NAMESPACE}}}Domaine")
        for tag, text in (
            ("Nom", row.domain),
            ("Description", row.description),
            ("DNCertificatOperateur", row.name),
            ("DateMAJ", moment),
        ):
            etree.SubElement(element, f"{{{NAMESPACE}}}{tag}").text = text
    return root
