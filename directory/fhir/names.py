"""The addresses by which FHIR names things here: resource types, profiles, identifier systems, extensions; and ids.

From the national guide "Annuaire Santé" (https://interop.esante.gouv.fr/ig/fhir/annuaire, 1.2.0) and French FHIR Core.
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from typing import Final


class Type(StrEnum):
    """The resource types of the directory."""

    PRACTITIONER = "Practitioner"
    ROLE = "PractitionerRole"
    ORGANIZATION = "Organization"
    SERVICE = "HealthcareService"


CORE: Final = "https://hl7.fr/ig/fhir/core/StructureDefinition"
GUIDE: Final = "https://interop.esante.gouv.fr/ig/fhir/annuaire/StructureDefinition"
SOURCE: Final = "https://annuaire.sante.fr"  # meta.source of what the national files tell

# Identifiers of persons (fr-core-practitioner) and of structures (fr-core-organization).
NATIONAL_PERSON: Final = "urn:oid:1.2.250.1.71.4.2.1"
RPPS: Final = "https://rpps.esante.gouv.fr"
ADELI: Final = "https://adeli.esante.gouv.fr"
NATIONAL_STRUCTURE: Final = "urn:oid:1.2.250.1.71.4.2.2"
FINESS: Final = "https://finess.esante.gouv.fr"
SIRENE: Final = "https://sirene.fr"  # SIREN and SIRET
RANK: Final = "https://rppsrang.esante.gouv.fr"  # the technical identifier of a structure
IDENTIFIER_TYPE: Final = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"
ORGANIZATION_TYPE: Final = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-3307"

EMAIL_TYPE: Final = f"{CORE}/fr-core-contact-point-email-type"
INSEE_CODE: Final = f"{CORE}/fr-core-address-insee-code"
MAILBOX: Final = f"{GUIDE}/as-ext-mailbox-mss-metadata"
STRUCTURE_TYPE: Final = f"{GUIDE}/as-ext-organization-types"

# FHIR R4 §2.24.0.1: id = [A-Za-z0-9\-\.]{1,64}
LONGEST_ID: Final = 64
_PLAIN = re.compile(r"[^0-9A-Za-z]")
_ESCAPED = re.compile(r"(?:[0-9A-Za-z]|-[0-9a-f]{2})+")


def id_of(key: str) -> str | None:
    """The FHIR id of a key of the national files; None for one that no id can hold.

    Letters and digits stand for themselves, so that most ids are the national number; all else is "-" and two digits
    for each octet ("3750012345/12" → 3750012345-2f12).
    """
    made = _PLAIN.sub(lambda sign: "".join(f"-{octet:02x}" for octet in sign[0].encode()), key)
    return made if 0 < len(made) <= LONGEST_ID else None


def key_of(made: str) -> str | None:
    """The key that an id stands for; None when `id_of` makes no such id."""
    if not 0 < len(made) <= LONGEST_ID or _ESCAPED.fullmatch(made) is None:
        return None
    octets = re.sub(rb"-([0-9a-f]{2})", lambda sign: bytes.fromhex(sign[1].decode()), made.encode())
    try:
        key = octets.decode()
    except UnicodeDecodeError:
        return None
    return key if id_of(key) == made else None


def service_id(address: str) -> str:
    """The id of the service behind an organisation's mailbox: addresses are too long for an id.

    A digest as a name and no secret: the address is public. PostgreSQL computes the same in an index (migration 033).
    """
    return hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()
