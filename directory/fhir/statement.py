"""What of the directory the CapabilityStatement says: the very tables that searches are read by."""

from __future__ import annotations

from typing import Any

from directory.fhir.names import GUIDE, Type
from directory.fhir.parameters import INCLUDES, KNOWN, REVINCLUDES
from directory.fhir.profiles import PROFILES

_TYPES = {
    "_id": "token",
    "_lastUpdated": "date",
    **dict.fromkeys(
        ("active", "identifier", "qualification-code", "specialty", "role", "type", "telecom", "email"), "token"
    ),
    "mailbox-mss-type": "token",
    **dict.fromkeys(("practitioner", "organization", "partof"), "reference"),
}
_NOTES = {
    "_lastUpdated": "gt, ge, lt, le, eq; what left since is told with active=false.",
    "mailbox-mss": "Secure mailboxes; :contains leads a search when it is @domain.",
    "role": "Way of practising, function or profession; beside a parameter that leads.",
}


def resources() -> list[dict[str, Any]]:
    """The entries of `rest.resource`."""
    return [_resource(kind) for kind in Type]


def _resource(kind: Type) -> dict[str, Any]:
    profile = PROFILES.get(kind.value)
    told: dict[str, Any] = {"type": kind.value}
    if profile:
        told["supportedProfile"] = list(profile.claims)
    told["interaction"] = [{"code": "read"}, {"code": "search-type"}]
    told["versioning"] = "versioned"
    told["searchInclude"] = [*INCLUDES[kind]]
    told["searchRevInclude"] = [*REVINCLUDES[kind]]
    told["searchParam"] = [_parameter(kind, name) for name in KNOWN[kind] if "." not in name]
    return {name: value for name, value in told.items() if value}


def _parameter(kind: Type, name: str) -> dict[str, Any]:
    told = {"name": name, "type": _TYPES.get(name, "string")}
    if name.startswith("mailbox-mss"):
        told["definition"] = f"{GUIDE.replace('StructureDefinition', 'SearchParameter')}/as-sp-{name}"
    if note := _NOTES.get(name):
        told["documentation"] = note
    return told
