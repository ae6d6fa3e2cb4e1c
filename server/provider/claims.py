"""What is said of a person, in the names and codes of Pro Santé Connect's userinfo."""

from __future__ import annotations

import uuid
from typing import Any, Final

from server.provider.model import Person

PROFESSIONS: Final = "1.2.250.1.213.1.1.5.5"  # OIDs of the code tables, as a real userinfo has them
SECTORS: Final = "1.2.250.1.71.4.2.4"
# A real subject is "f:<storage>:<national id>"; the storage of this provider is a name of its own.
_STORAGE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://caducee.invalid/fournisseur-de-developpement")


def subject(national_id: str) -> str:
    """The `sub` of a person."""
    return f"f:{_STORAGE}:{national_id}"


def identity(person: Person) -> dict[str, Any]:
    """Who the person is: in tokens, at introspection and in userinfo."""
    return {
        "sub": subject(person.national_id),
        "preferred_username": person.national_id,
        "SubjectNameID": person.national_id,
        "given_name": person.given_name,
        "family_name": person.family_name,
    }


def other_ids(person: Person) -> list[dict[str, Any]]:
    """The same person under other registers; the type digit 8 is the RPPS."""
    origin = "RPPS" if person.national_id.startswith("8") else "ADELI" if person.national_id.startswith("0") else "EMP"
    return [{"identifiant": person.national_id, "origine": origin, "qualite": 1}]


def userinfo(person: Person) -> dict[str, Any]:
    """All claims. Without a profession only those of identity: no SubjectRole, no SubjectRefPro."""
    said = identity(person) | {
        "codeCivilite": person.civility,
        "UITVersion": "1.0",
        "Palier_Authentification": "APPPRIP3^1.2.250.1.213.1.5.1.1.1",
        "PSI_Locale": "1.2.250.1.213.1.3.1.1",
        "otherIds": other_ids(person),
    }
    if not person.profession:
        return said
    return said | {
        "SubjectRole": [f"{person.profession}^{PROFESSIONS}"],
        "SubjectOrganization": person.structure,
        "SubjectOrganizationID": person.structure_id,
        "Secteur_Activite": f"{person.sector}^{SECTORS}",
        "codeGenreActivite": "",
        "Mode_Acces_Raison": "",
        "Acces_Regulation_Medicale": "FAUX",
        "SubjectRefPro": {"codeCivilite": person.civility, "exercices": [_exercise(person)]},
    }


def _exercise(person: Person) -> dict[str, Any]:
    return {
        "codeProfession": person.profession,
        "codeCategorieProfessionnelle": person.category,
        "codeCiviliteDexercice": "DR" if person.profession == "10" else "",
        "nomDexercice": person.family_name,
        "prenomDexercice": person.given_name,
        "codeTypeSavoirFaire": "S" if person.speciality.startswith("SM") else "",
        "codeSavoirFaire": person.speciality,
        "activities": [
            {
                "codeModeExercice": person.mode,
                "codeSecteurDactivite": person.sector,
                "codeSectionPharmacien": "",
                "codeRole": "",
                "codeGenreActivite": "",
                "numeroSiretSite": "",
                "numeroSirenSite": "",
                "numeroFinessSite": person.structure_id,
                "numeroFinessetablissementJuridique": "",
                "identifiantTechniqueDeLaStructure": person.structure_id,
                "raisonSocialeSite": person.structure,
                "enseigneCommercialeSite": "",
                "ancienIdentifiantDeLaStructure": "",
                "autoriteDenregistrement": "",
            }
        ],
    }
