"""Rows → resources: structure by fhir.resources (R4B), the national profiles by our own tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from fhir.resources.R4B.healthcareservice import HealthcareService
from fhir.resources.R4B.organization import Organization
from fhir.resources.R4B.practitioner import Practitioner
from fhir.resources.R4B.practitionerrole import PractitionerRole

from directory.fhir import profiles, resources, statement
from directory.fhir.names import Type
from directory.terms.tables import FOLDER, table

NOW = datetime(2026, 11, 26, 8, 0, 0, 123456, tzinfo=UTC)
PERSON = {
    "national_id": "810003461033",
    "profession_code": "10",
    "civility": "Docteur",
    "last_name": "SAUCIER",
    "first_name": "Arthur",
    "profession": "Médecin",
    "category_code": "C",
    "changed_at": NOW,
}
SKILL = {
    "national_id": "810003461033",
    "profession_code": "10",
    "kind_code": "S",
    "code": "SM54",
    "label": "Médecine générale",
}
MAILBOX = {
    "address": "arthur.saucier@msg.exemple.fr",
    "kind": "PER",
    "national_id": "810003461033",
    "organisation_id": "F754567860",
    "service": "",
    "description": "",
    "rank": 0,
    "paperless": True,
    "changed_at": NOW,
}
ACTIVITY = {
    "activity_id": 7,
    "national_id": "810003461033",
    "profession_code": "10",
    "organisation_id": "F754567860",
    "mode_code": "L",
    "mode": "Libéral",
    "role_code": "FON-AU",
    "role": "Fonction non définie",
    "changed_at": NOW,
}
PLACE = {
    "organisation_id": "F754567860",
    "finess": "754567860",
    "legal_finess": "750000001",
    "siret": "",
    "siren": "",
    "name": "CH EURE-SEINE",
    "sign": "",
    "street": "96 R DIDOT",
    "postcode": "75014",
    "town": "PARIS",
    "commune_code": "75114",
    "department": "Paris",
    "country": "France",
    "sector_code": "SA01",
    "sector": "Etablissement public de santé",
    "phone": "0199000000",
    "told_by": 0,
    "changed_at": NOW,
    "legal": None,
}


def holds(resource: dict[str, Any], model: Any) -> dict[str, Any]:
    """The structure is FHIR's; codes are of their systems; nothing keeps it from the profile it claims."""
    model.model_validate(resource)
    if len(resource["meta"].get("profile", ())) == 2:
        assert profiles.problems(resource) == []
    assert list(profiles.unknown_codes(resource)) == []
    return resource


def test_a_person() -> None:
    made = holds(resources.practitioner([PERSON], [SKILL], [MAILBOX]), Practitioner)
    assert made["meta"]["profile"][1].endswith("/as-dp-practitioner")
    assert [(one["system"], one["value"]) for one in made["identifier"]] == [
        ("urn:oid:1.2.250.1.71.4.2.1", "810003461033"),
        ("https://rpps.esante.gouv.fr", "10003461033"),
    ]
    assert made["name"][0]["suffix"] == ["DR"]
    [mailbox] = made["telecom"]
    assert mailbox["extension"][0]["valueCoding"]["code"] == "MSSANTE"
    assert mailbox["extension"][1]["extension"][0]["valueCodeableConcept"]["coding"][0]["code"] == "PER"
    assert [coding["code"] for one in made["qualification"] for coding in one["code"]["coding"]] == [
        "C",
        "10",
        "S",
        "SM54",
    ]
    assert made["meta"]["versionId"] == "1795680000123456"
    assert made["meta"]["lastUpdated"] == "2026-11-26T08:00:00.123Z"


def test_who_has_no_rpps_claims_less() -> None:
    made = holds(resources.practitioner([PERSON | {"national_id": "0751234567"}], [], []), Practitioner)
    assert len(made["meta"]["profile"]) == 1
    assert made["identifier"][1]["type"]["coding"][0]["code"] == "ADELI"


def test_codes_that_no_table_holds_are_told_by_their_label() -> None:
    person = PERSON | {"profession_code": "999", "profession": "Profession future", "category_code": "Z"}
    made = holds(resources.practitioner([person], [SKILL | {"code": "X1", "label": "Savoir neuf"}], []), Practitioner)
    assert made["qualification"][0]["code"] == {"text": "Profession future"}
    assert made["qualification"][1]["code"]["text"] == "Savoir neuf"


def test_an_activity() -> None:
    made = holds(resources.role(ACTIVITY, [SKILL], [MAILBOX]), PractitionerRole)
    assert made["practitioner"]["reference"] == "Practitioner/810003461033"
    assert made["organization"]["reference"] == "Organization/F754567860"
    assert [one["coding"][0]["code"] for one in made["code"]] == ["L", "FON-AU", "10"]
    assert "organization" not in resources.role(ACTIVITY | {"organisation_id": ""}, [], [])


def test_a_structure_and_its_legal_entity() -> None:
    made = holds(resources.organization(PLACE, [MAILBOX | {"kind": "ORG", "service": "Urgences"}]), Organization)
    assert [one["type"]["coding"][0]["code"] for one in made["identifier"]] == ["IDNST", "FINEG", "INTRN"]
    assert made["partOf"]["identifier"]["value"] == "750000001"
    known = resources.organization(PLACE | {"legal": "750000001"}, [])
    assert known["partOf"]["reference"] == "Organization/750000001"
    assert made["address"][0]["extension"][0]["valueCoding"]["code"] == "75114"


def test_what_an_operator_says_of_its_mailbox() -> None:
    said = MAILBOX | {"kind": "ORG", "description": "Comptes rendus", "rank": 1}
    made = holds(resources.organization(PLACE, [said]), Organization)
    (contact,) = [one for one in made["telecom"] if one["system"] == "email"]
    assert contact["rank"] == 1
    assert {"url": "description", "valueString": "Comptes rendus"} in contact["extension"][1]["extension"]


def test_a_service() -> None:
    made = holds(resources.service(MAILBOX | {"kind": "ORG", "service": "Urgences"}), HealthcareService)
    assert (made["name"], made["providedBy"]["reference"]) == ("Urgences", "Organization/F754567860")


def test_what_left_keeps_its_id_and_date() -> None:
    for kind, model in (
        (Type.PRACTITIONER, Practitioner),
        (Type.ROLE, PractitionerRole),
        (Type.ORGANIZATION, Organization),
        (Type.SERVICE, HealthcareService),
    ):
        made = resources.gone(kind, "7", NOW)
        model.model_validate(made)
        assert made.keys() == {"resourceType", "id", "meta", "active"}


def test_the_profile_is_not_claimed_by_what_breaks_it() -> None:
    made = resources.practitioner([PERSON], [], [])
    for change in (
        {"gender": "female"},
        {"telecom": [{"system": "phone", "value": "0199000000"}]},
        {"name": made["name"] * 2},
        {"active": None},
        {"identifier": made["identifier"][:1]},
        {"identifier": [made["identifier"][0], made["identifier"][1] | {"value": "1"}]},
        {"identifier": [*made["identifier"], made["identifier"][0] | {"system": "https://elsewhere.example"}]},
    ):
        assert profiles.problems(made | change), change
        assert len(profiles.claimed(made | change)) == 1, change
    wrong = {"code": {"coding": [{"system": resources.url("TRE_G15-ProfessionSante"), "code": "11"}]}}
    assert list(profiles.unknown_codes(made | {"qualification": [wrong]}))


def test_the_statement_is_one() -> None:
    told = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-26",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "implementation": {"description": "test"},
        "format": ["application/fhir+json"],
        "rest": [{"mode": "server", "resource": statement.resources()}],
    }
    CapabilityStatement.model_validate(told)
    assert [one["type"] for one in statement.resources()] == [kind.value for kind in Type]


def test_tables_say_their_source_and_date() -> None:
    for path in FOLDER.glob("*.txt"):
        read = table(path.stem)
        assert read.head["source"], path.name
        assert read.head["date"][:2] == "20", path.name
        assert all(read.systems.values()), path.name
    assert table("profession").find("10") == ("TRE_G15-ProfessionSante", "Médecin")
    assert table("know_how").find("SM54") == ("TRE_R38-SpecialiteOrdinale", "Médecine générale")
    assert table("sector").find("SA33") is not None
    assert sorted(table("mailbox").systems["TRE_R257-TypeBAL"]) == ["APP", "CAB", "ORG", "PER"]
    assert table("know_how").find("SM999") is None
