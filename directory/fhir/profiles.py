"""What a resource must keep to claim a national profile: tables of ours, since no library checks French profiles.

From the guide "Annuaire Santé" 1.2.0 (as-dp-practitioner, as-dp-practitionerrole, as-dp-organization: what is public)
and French FHIR Core: elements that must be there or must not, slices of identifiers and contact points, required codes.
Structure and types are FHIR's own and checked by the tests with fhir.resources.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from directory.fhir.names import (
    ADELI,
    CORE,
    EMAIL_TYPE,
    FINESS,
    GUIDE,
    IDENTIFIER_TYPE,
    MAILBOX,
    NATIONAL_PERSON,
    NATIONAL_STRUCTURE,
    RANK,
    RPPS,
    SIRENE,
)
from directory.terms.tables import FOLDER, table, url

# Code system → its codes, of every table that is whole enough to bind to.
_BOUND: dict[str, frozenset[str]] = {
    url(system): frozenset(codes)
    for file in sorted(FOLDER.glob("*.txt"))
    for system, codes in table(file.stem).systems.items()
}


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile: cardinalities (element → least, most), identifiers (system → type codes, form, least, most).

    `mail_only`: no other contact point than secure mailboxes is public.
    """

    claims: tuple[str, ...]
    cardinalities: Mapping[str, tuple[int, int]]
    identifiers: Mapping[str, tuple[str, str, int, int]]
    mail_only: bool


_FORBIDDEN = (0, 0)
PROFILES: Mapping[str, Profile] = {
    "Practitioner": Profile(
        (f"{CORE}/fr-core-practitioner", f"{GUIDE}/as-dp-practitioner"),
        {
            "active": (1, 1),
            "name": (0, 1),
            **dict.fromkeys(("gender", "birthDate", "photo", "address", "communication"), _FORBIDDEN),
        },
        {
            NATIONAL_PERSON: ("IDNPS", r"[0-9].{3,40}", 1, 1),
            RPPS: ("RPPS", r"[0-9]{11}", 1, 1),
            ADELI: ("ADELI", r"[0-9AB]{9}", 0, 1),
        },
        mail_only=True,
    ),
    "PractitionerRole": Profile(
        (f"{CORE}/fr-core-practitioner-role", f"{GUIDE}/as-dp-practitionerrole"),
        {
            "active": (1, 1),
            "practitioner": (1, 1),
            "organization": (0, 1),
            **dict.fromkeys(
                ("location", "healthcareService", "period", "availableTime", "notAvailable", "endpoint"), _FORBIDDEN
            ),
        },
        {RPPS: ("", r".+", 0, 1)},
        mail_only=True,
    ),
    "Organization": Profile(
        (f"{CORE}/fr-core-organization", f"{GUIDE}/as-dp-organization"),
        {"active": (1, 1), "name": (1, 1), **dict.fromkeys(("contact", "endpoint"), _FORBIDDEN)},
        {
            NATIONAL_STRUCTURE: ("IDNST", r"[1-4].{9,20}", 0, 1),
            FINESS: ("FINEG FINEJ", r"[0-9AB]{9}", 0, 1),
            SIRENE: ("SIREN SIRET", r"[0-9]{9}(?:[0-9]{5})?", 0, 2),
            RANK: ("INTRN", r".+", 0, 1),
        },
        mail_only=False,
    ),
}


def claimed(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """The profiles that a resource keeps; French FHIR Core's alone when the directory's own asks for more."""
    profile = PROFILES.get(resource["resourceType"])
    if profile is None:
        return ()
    return profile.claims if not any(_problems(resource, profile)) else profile.claims[:1]


def problems(resource: Mapping[str, Any]) -> list[str]:
    """What keeps a resource from its profile, and codes that are not of their code system; empty: nothing."""
    profile = PROFILES.get(resource["resourceType"])
    return [*(_problems(resource, profile) if profile else ()), *unknown_codes(resource)]


def _problems(resource: Mapping[str, Any], profile: Profile) -> Iterator[str]:
    for element, (least, most) in profile.cardinalities.items():
        if not least <= _times(resource.get(element)) <= most:
            yield f"{element}: {least} to {most}"
    identifiers = resource.get("identifier", [])
    for system, (_, _, least, most) in profile.identifiers.items():
        if not least <= sum(one["system"] == system for one in identifiers) <= most:
            yield f"identifier of {system}: {least} to {most}"
    for one in identifiers:
        yield from _identifier_problems(one, profile)
    for one in resource.get("telecom", ()):
        yield from _contact_problems(one, profile)


def _times(value: Any) -> int:
    return 0 if value is None else len(value) if isinstance(value, list) else 1


def _identifier_problems(one: Mapping[str, Any], profile: Profile) -> Iterator[str]:
    rule = profile.identifiers.get(one["system"])
    if rule is None:
        yield f"identifier of another system than the profile's: {one['system']}"
    elif one["use"] != "official" or re.fullmatch(rule[1], one["value"]) is None:
        yield f"identifier of {one['system']} without its form"
    else:
        coding = one["type"]["coding"][0]
        if coding["system"] != IDENTIFIER_TYPE or coding["code"] not in rule[0].split():
            yield f"identifier of {one['system']} of another type"


def _contact_problems(one: Mapping[str, Any], profile: Profile) -> Iterator[str]:
    extensions = {extension["url"]: extension for extension in one.get("extension", ())}
    kind = extensions.get(EMAIL_TYPE)
    if kind is None:
        if profile.mail_only:
            yield "a contact point that is no secure mailbox"
        return
    mail = kind["valueCoding"]
    if one["system"] != "email" or (mail["system"], mail["code"]) != (url("TRE_R256-TypeMessagerie"), "MSSANTE"):
        yield "a mailbox that is none of MSSanté"
    told = {extension["url"] for extension in extensions.get(MAILBOX, {}).get("extension", ())}
    if told & {"responsible", "listeRouge", "phone"}:
        yield "a mailbox that tells what is not public"


def unknown_codes(part: Any) -> Iterator[str]:
    """Codings of a bound code system whose code is not in its table, wherever they stand."""
    if isinstance(part, dict):
        bound = _BOUND.get(part.get("system", ""))
        if bound is not None and "code" in part and part["code"] not in bound:
            yield f"{part['system']} has no code {part['code']}"
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from unknown_codes(one)
