"""The columns of the national files, by the names they have had.

Spellings drift over the years ("Code rôle" and "Code fonction", "(structure)" and "(coord. structure)"), columns are
added and moved: a column is found by its normalised name, never by its place. The FINESS file has no names: its
columns stand as its documentation counts them (etalab-cs1100507, section "structureet").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from directory.folding import fold

SEPARATOR = "|"
DELETED = "SUPPRESSION"  # the operation of a line of our export that tells of a mailbox that left


class Kind(StrEnum):
    """Which national file a header belongs to."""

    ACTIVITY = "Personne_activite"
    KNOW_HOW = "SavoirFaire"
    MAILBOX = "Correspondance_MSSante"
    FINESS = "finess"


# Our name of a column → its normalised names, the present one first. A "?" marks what a file may lack.
_PERSON = {
    "national_id": ("identification nationale pp",),
    "identifier_type?": ("type d identifiant pp", "type identifiant pp"),
    "identifier?": ("identifiant pp",),
    "last_name": ("nom d exercice", "nom exercice"),
    "first_name": ("prenom d exercice", "prenom exercice"),
    "profession_code": ("code profession",),
    "profession": ("libelle profession",),
}
_SPECIALTY = {
    "know_how_kind?": ("code type savoir faire",),
    "know_how_code?": ("code savoir faire",),
    "know_how?": ("libelle savoir faire",),
}
COLUMNS: dict[Kind, dict[str, tuple[str, ...]]] = {
    Kind.ACTIVITY: {
        **_PERSON,
        **_SPECIALTY,
        "civility?": ("libelle civilite d exercice", "libelle civilite exercice"),
        "category_code?": ("code categorie professionnelle",),
        "mode_code?": ("code mode exercice",),
        "mode?": ("libelle mode exercice",),
        "siret": ("numero siret site",),
        "siren?": ("numero siren site",),
        "finess": ("numero finess site",),
        "legal_finess?": ("numero finess etablissement juridique",),
        "organisation_id": ("identifiant technique de la structure", "identifiant structure"),
        "name": ("raison sociale site",),
        "sign?": ("enseigne commerciale site",),
        "street_number?": ("numero voie",),
        "street_repeat?": ("indice repetition voie",),
        "street_type?": ("libelle type de voie",),
        "street_name?": ("libelle voie",),
        "postcode": ("code postal",),
        "commune_code?": ("code commune",),
        "town": ("libelle commune",),
        "delivery?": ("bureau cedex",),
        "country?": ("libelle pays", "pays"),
        "phone?": ("telephone",),
        "department?": ("libelle departement", "departement"),
        "sector_code?": ("code secteur d activite",),
        "sector?": ("libelle secteur d activite",),
        "role_code?": ("code role", "code fonction"),
        "role?": ("libelle role", "libelle fonction"),
    },
    Kind.KNOW_HOW: {
        **_PERSON,
        "know_how_kind": ("code type savoir faire",),
        "know_how_code": ("code savoir faire",),
        "know_how": ("libelle savoir faire",),
    },
    Kind.MAILBOX: {
        **_PERSON,
        "know_how_code?": ("code savoir faire",),
        "know_how?": ("libelle savoir faire",),
        "kind": ("type de bal",),
        "address": ("adresse bal",),
        "structure_type": ("type identifiant structure",),
        "structure_id": ("identification structure",),
        "service?": ("service de rattachement",),
        "civility?": ("civilite d exercice",),
        "category_code?": ("categorie profession",),
        "paperless?": ("dematerialisation",),
        # Of our own export alone (directory/own/export.py).
        "unlisted?": ("liste rouge",),
        "operation?": ("operation",),
        "name": ("raison sociale structure bal",),
        "sign?": ("enseigne commerciale structure bal",),
        "street_number?": ("l4numerovoie",),
        "street_repeat?": ("l4complementnumerovoie",),
        "street_type?": ("nl4typevoie", "l4typevoie"),
        "street_name?": ("l4libellevoie",),
        "routing": ("l6ligneacheminement",),
        "postcode": ("code postal",),
        "department?": ("departement",),
        "country?": ("pays",),
    },
}
# A column that tells a file from the others.
_SIGNS = {Kind.MAILBOX: "adresse bal", Kind.ACTIVITY: "raison sociale site", Kind.KNOW_HOW: "code savoir faire"}


# The FINESS file: place of a column behind the name of the section.
_FINESS_COLUMNS = (
    "section finess legal_finess sign name complement distribution street_number street_type street_name street_repeat "
    "place_called commune area department routing phone fax category_code sector group_code group siret"
)
_FINESS = _FINESS_COLUMNS.split()
FINESS_SECTION = "structureet"  # others hold what is not read here (geolocalisation)
FINESS_WIDTH = 31  # columns at least; later editions added some behind


@dataclass(frozen=True, slots=True)
class Layout:
    """Where this file's columns are: our name → place. `width` counts the columns of the header."""

    kind: Kind
    places: dict[str, int]
    width: int

    @property
    def separator(self) -> str:
        return ";" if self.kind is Kind.FINESS else SEPARATOR


def normalised(name: str) -> str:
    """A column's name without case, accents, punctuation and what stands in parentheses."""
    return " ".join(re.findall(r"[a-z0-9]+", re.sub(r"\([^)]*\)", " ", fold(name))))


def layout(header: str) -> Layout | None:
    """Read a header line; None when it is that of a file we do not read (Dipl_AutExerc).

    Raises ValueError: a column is missing, or one of ours stands there twice.
    """
    if header.startswith("finess;etalab;"):
        return Layout(Kind.FINESS, {name: place for place, name in enumerate(_FINESS)}, FINESS_WIDTH)
    names = [normalised(name) for name in header.removesuffix(SEPARATOR).split(SEPARATOR)]
    kind = next((kind for kind, sign in _SIGNS.items() if sign in names), None)
    if kind is None:
        return None
    places: dict[str, int] = {}
    for ours, theirs in COLUMNS[kind].items():
        name = ours.rstrip("?")
        spelling = next((spelling for spelling in theirs if spelling in names), None)
        if spelling is None:
            if ours == name:
                raise ValueError(f'the column "{theirs[0]}" is missing from a file {kind}')
            continue
        if names.count(spelling) > 1:
            raise ValueError(f'the column "{spelling}" stands there twice')
        places[name] = names.index(spelling)
    return Layout(kind, places, len(names))
