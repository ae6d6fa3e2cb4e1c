"""Rows of the directory → FHIR resources, in the words of the national guide. Pure.

A resource claims the national profile in `meta.profile` when it keeps the profile's musts (`profiles.py`), and not
otherwise: a person with an ADELI number alone has no RPPS, which that profile asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from directory.fhir import names, profiles
from directory.fhir.names import Type, id_of, service_id
from directory.terms.tables import table, url

Row = Mapping[str, Any]
Resource = dict[str, Any]

_PROFESSIONS, _KNOW_HOW, _PRACTICE = table("profession"), table("know_how"), table("practice")
_ROLES, _SECTORS, _MAILBOXES = table("role"), table("sector"), table("mailbox")
_TITLES = {label: code for code, label in _PRACTICE.systems["TRE_R11-CiviliteExercice"].items()}
_FUNCTION = "TRE_R21-Fonction"


def practitioner(rows: Sequence[Row], know_how: Sequence[Row], mailboxes: Sequence[Row]) -> Resource:
    """A person: one row a profession, the first of which tells the name."""
    first = rows[0]
    number = first["national_id"]
    identifiers = [_identifier("IDNPS", names.NATIONAL_PERSON, number)]
    if number[0] == "8":
        identifiers.append(_identifier("RPPS", names.RPPS, number[1:]))
    elif number[0] == "0":
        identifiers.append(_identifier("ADELI", names.ADELI, number[1:]))
    name = {"use": "usual", "family": first["last_name"]}
    name["text"] = " ".join(part for part in (first["last_name"], first["first_name"]) if part)
    if first["first_name"]:
        name["given"] = [first["first_name"]]
    if title := first["civility"]:
        name["suffix"] = [_TITLES.get(title, title)]
    return _whole(
        Type.PRACTITIONER,
        id_of(number),
        first["changed_at"],
        identifier=identifiers,
        name=[name],
        telecom=[mailbox(one) for one in mailboxes],
        qualification=[{"code": _profession(row)} for row in rows] + [{"code": _skill(one)} for one in know_how],
    )


def role(row: Row, know_how: Sequence[Row], mailboxes: Sequence[Row]) -> Resource:
    """An activity: a person in a profession, at a place."""
    codes = [
        _concept(_PRACTICE.systems["TRE_R23-ModeExercice"], "TRE_R23-ModeExercice", row["mode_code"], row["mode"]),
        _function(row["role_code"], row["role"]),
        _coded(_PROFESSIONS.find(row["profession_code"]), row["profession_code"], ""),
    ]
    place = id_of(row["organisation_id"])
    return _whole(
        Type.ROLE,
        str(row["activity_id"]),
        row["changed_at"],
        practitioner=_reference(Type.PRACTITIONER, id_of(row["national_id"])),
        organization=_reference(Type.ORGANIZATION, place) if place else None,
        code=[code for code in codes if code],
        specialty=[_skill(one) for one in know_how],
        telecom=[mailbox(one) for one in mailboxes],
    )


def organization(row: Row, mailboxes: Sequence[Row]) -> Resource:
    """A structure. `row["legal"]` is the key of the legal entity that it is part of, where that is known here."""
    kinds = []
    # What the FINESS file alone tells may be a legal entity; the others name places where people practise.
    if row["told_by"] < 2:
        place = {"system": names.ORGANIZATION_TYPE, "code": "GEOGRAPHICAL-ENTITY", "display": "Entité géographique"}
        kinds.append(_kind("organizationType", {"coding": [place]}))
    if sector := _coded(_SECTORS.find(row["sector_code"]), row["sector_code"], row["sector"]):
        kinds.append(_kind("secteurActiviteRASS", sector))
    phone = [{"system": "phone", "value": row["phone"]}] if row["phone"] else []
    return _whole(
        Type.ORGANIZATION,
        id_of(row["organisation_id"]),
        row["changed_at"],
        identifier=_structure_identifiers(row),
        type=kinds,
        name=row["name"] or row["sign"],
        alias=[row["sign"]] if row["sign"] and row["sign"] != row["name"] else [],
        telecom=phone + [mailbox(one) for one in mailboxes],
        address=_address(row),
        partOf=_part_of(row),
    )


def service(row: Row) -> Resource:
    """What an organisation's mailbox names as its service. No national profile: those tell authorised activities."""
    place = id_of(row["organisation_id"])
    return _whole(
        Type.SERVICE,
        service_id(row["address"]),
        row["changed_at"],
        providedBy=_reference(Type.ORGANIZATION, place) if place and row["organisation_id"][0] != "@" else None,
        name=row["service"],
        telecom=[mailbox(row)],
    )


def gone(kind: Type, made: str, moment: datetime) -> Resource:
    """What left: only its id and when (the guide: "dans ce cas seuls l'id et le champ active sont renseignés")."""
    return {"resourceType": kind.value, "id": made, "meta": meta(moment), "active": False}


def meta(moment: datetime) -> dict[str, Any]:
    """The version is the moment of the last change, in microseconds."""
    return {
        "versionId": str(round(moment.timestamp() * 1_000_000)),
        "lastUpdated": moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def mailbox(row: Row) -> dict[str, Any]:
    """The contact point of a secure mailbox (as-mailbox-mss)."""
    kind = _concept(_MAILBOXES.systems["TRE_R257-TypeBAL"], "TRE_R257-TypeBAL", row["kind"], "")
    mail = {"system": url("TRE_R256-TypeMessagerie"), "code": "MSSANTE", "display": "MSSANTE"}
    told = [{"url": "type", "valueCodeableConcept": kind}]
    told += [{"url": name, "valueString": row[name]} for name in ("description", "service") if row[name]]
    told.append({"url": "digitization", "valueBoolean": row["paperless"]})
    return {
        "extension": [
            {"url": names.EMAIL_TYPE, "valueCoding": mail},
            {"url": names.MAILBOX, "extension": told},
        ],
        "system": "email",
        "value": row["address"],
        "use": "work",
        **({"rank": row["rank"]} if row["rank"] else {}),
    }


def _whole(kind: Type, made: str | None, moment: datetime, **elements: Any) -> Resource:
    resource: Resource = {
        "resourceType": kind.value,
        "id": made,
        "meta": meta(moment) | {"source": names.SOURCE},
        "language": "fr",
        "active": True,
        # FHIR R4 §2.1.5.0: no element is empty.
        **{name: value for name, value in elements.items() if value},
    }
    if claimed := profiles.claimed(resource):
        resource["meta"]["profile"] = list(claimed)
    return resource


def _identifier(kind: str, system: str, value: str) -> dict[str, Any]:
    coding = {"system": names.IDENTIFIER_TYPE, "code": kind}
    return {"use": "official", "type": {"coding": [coding]}, "system": system, "value": value}


def _structure_identifiers(row: Row) -> list[dict[str, Any]]:
    # The national identification: a digit for the kind of number, then the number; the place's before the company's.
    ranked = (("1", row["finess"]), ("3", row["siret"]), ("2", row["siren"]))
    national = next((digit + number for digit, number in ranked if number), "")
    found = [
        ("IDNST", names.NATIONAL_STRUCTURE, national),
        ("FINEG", names.FINESS, row["finess"]),
        ("SIRET", names.SIRENE, row["siret"]),
        ("SIREN", names.SIRENE, row["siren"]),
        ("INTRN", names.RANK, row["organisation_id"]),
    ]
    if row["organisation_id"] in {row["finess"], row["siret"]}:
        found.pop()
    return [_identifier(kind, system, value) for kind, system, value in found if value]


def _coded(found: tuple[str, str] | None, code: str, label: str) -> dict[str, Any] | None:
    """A concept by a table; what the table does not hold is told by its label alone. None: there is neither."""
    if found:
        coding = {"system": url(found[0]), "code": code, "display": found[1]}
        return {"coding": [coding], **({"text": label} if label and label != found[1] else {})}
    return {"text": label or code} if label or code else None


def _concept(codes: Mapping[str, str], system: str, code: str, label: str) -> dict[str, Any] | None:
    return _coded((system, codes[code]) if code in codes else None, code, label)


def _profession(row: Row) -> dict[str, Any]:
    """Category and profession (exercicePro)."""
    code = row["profession_code"]
    concept = _coded(_PROFESSIONS.find(code), code, row["profession"]) or {"text": "profession"}
    category = _concept(
        _PRACTICE.systems["TRE_R09-CategorieProfessionnelle"],
        "TRE_R09-CategorieProfessionnelle",
        row["category_code"],
        "",
    )
    return _beside(category, concept)


def _skill(row: Row) -> dict[str, Any]:
    """Kind of know-how and know-how (savoirFaire)."""
    concept = _coded(_KNOW_HOW.find(row["code"]), row["code"], row["label"]) or {"text": row["code"]}
    kinds = _PRACTICE.systems["TRE_R04-TypeSavoirFaire"]
    return _beside(_concept(kinds, "TRE_R04-TypeSavoirFaire", row["kind_code"], ""), concept)


def _beside(first: dict[str, Any] | None, concept: dict[str, Any]) -> dict[str, Any]:
    codings = [*(first or {}).get("coding", []), *concept.get("coding", [])]
    return concept | ({"coding": codings} if codings else {})


def _function(code: str, label: str) -> dict[str, Any] | None:
    """A function is of TRE_R21, whose codes begin with FON-; a role of TRE_R85."""
    if code.startswith("FON-"):
        coding = {"system": url(_FUNCTION), "code": code, **({"display": label} if label else {})}
        return {"coding": [coding]}
    return _coded(_ROLES.find(code), code, label)


def _kind(slice_name: str, concept: dict[str, Any]) -> dict[str, Any]:
    return {"extension": [{"url": names.STRUCTURE_TYPE, "valueCode": slice_name}], **concept}


def _address(row: Row) -> list[dict[str, Any]]:
    code = row["commune_code"]
    insee = {"url": names.INSEE_CODE, "valueCoding": {"system": url("TRE_R13-Commune"), "code": code}}
    told = {
        "extension": [insee] if code else [],
        "line": [row["street"]] if row["street"] else [],
        "city": row["town"],
        "district": row["department"],
        "postalCode": row["postcode"],
        "country": row["country"],
    }
    found = {name: value for name, value in told.items() if value}
    return [found] if found.keys() - {"country", "district"} else []


def _part_of(row: Row) -> dict[str, Any] | None:
    number = row["legal_finess"]
    if not number or number == row["finess"]:
        return None
    entity = {"identifier": _identifier("FINEJ", names.FINESS, number)}
    legal = id_of(row["legal"]) if row["legal"] else None
    return entity | (_reference(Type.ORGANIZATION, legal) if legal else {"type": "Organization"})


def _reference(kind: Type, made: str | None) -> dict[str, Any]:
    return {"reference": f"{kind.value}/{made}"}
