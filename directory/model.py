"""What the national files say, a record a line, in the words of the files; empty text where the file says nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

OWN_PLACE = "@"  # begins the organisation_id of a place that has no number: the rest is the mailbox's address


class MailboxKind(StrEnum):
    """Types of the national mailbox list that the public file holds (TRE_R257-TypeBAL)."""

    PER = "PER"
    ORG = "ORG"
    APP = "APP"
    CAB = "CAB"


@dataclass(frozen=True, slots=True)
class Professional:
    """A person in one profession. `national_id` is "8" + RPPS or "0" + ADELI (Identification nationale PP)."""

    national_id: str
    identifier: str
    civility: str
    last_name: str
    first_name: str
    profession_code: str
    profession: str
    category_code: str


@dataclass(frozen=True, slots=True)
class Organisation:
    """A structure where people practise. `organisation_id` is its technical identifier, else its FINESS or SIRET."""

    organisation_id: str
    finess: str
    legal_finess: str
    siret: str
    siren: str
    name: str
    sign: str
    street: str
    postcode: str
    town: str
    commune_code: str
    department: str
    country: str
    sector_code: str
    sector: str
    phone: str


@dataclass(frozen=True, slots=True)
class KnowHow:
    """A specialty or competence of a person in one profession (TRE_R01-EnsembleSavoirFaire)."""

    national_id: str
    profession_code: str
    kind_code: str
    code: str
    label: str


@dataclass(frozen=True, slots=True)
class Activity:
    """A line of Personne_activite: a person, where, and how. The specialty is None where a file apart carries it."""

    professional: Professional
    organisation: Organisation | None
    know_how: KnowHow | None
    mode_code: str
    mode: str
    role_code: str
    role: str


@dataclass(frozen=True, slots=True)
class MailboxEntry:
    """A line of Extraction_Correspondance_MSSante: an address, whose it is, where.

    `professional` is None for a mailbox of an organisation. `organisation` holds what the line says of the structure;
    its `organisation_id` is the structure's number without the digit of its type.
    """

    address: str
    kind: MailboxKind
    professional: Professional | None
    know_how: KnowHow | None
    organisation: Organisation | None
    service: str
    paperless: bool


Record = Activity | KnowHow | MailboxEntry
