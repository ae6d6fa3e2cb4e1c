"""_include and _revinclude (FHIR R4 §3.1.1.5.4): what the resources of a page refer to, and what refers to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from directory.fhir import queries
from directory.fhir.names import Type, key_of
from directory.fhir.parameters import INCLUDES
from directory.fhir.resources import Resource
from directory.fhir.showing import show
from directory.queries import Connection

INCLUDED = 1_000  # referring resources of one page; a hospital has thousands, which a search of their own pages through

# The element that an _include follows, and the type at its end.
_FOLLOWED = {
    "PractitionerRole:practitioner": ("practitioner", Type.PRACTITIONER),
    "PractitionerRole:organization": ("organization", Type.ORGANIZATION),
    "HealthcareService:organization": ("providedBy", Type.ORGANIZATION),
    "Organization:partof": ("partOf", Type.ORGANIZATION),
}
_REFERRING = {
    "PractitionerRole:practitioner": (queries.ROLES_REFERRING_TO_PERSONS, Type.ROLE),
    "PractitionerRole:organization": (queries.ROLES_REFERRING_TO_PLACES, Type.ROLE),
    "HealthcareService:organization": (queries.SERVICES_REFERRING_TO_PLACES, Type.SERVICE),
    "Organization:partof": (queries.PLACES_REFERRING_TO_PLACES, Type.ORGANIZATION),
}


async def included(
    connection: Connection, kind: Type, page: Mapping[Any, Resource], asked: Sequence[str]
) -> tuple[list[Resource], bool]:
    """The resources beside a page, each once and none of the page; and whether some had to be left out."""
    found: dict[tuple[Type, Any], Resource] = {}
    cut = False
    for name in asked:
        if name in INCLUDES[kind]:
            element, of = _FOLLOWED[name]
            keys = [key for resource in page.values() if (key := _target(resource.get(element)))]
        else:
            statement, of = _REFERRING[name]
            rows = await connection.fetch(statement, list(page), INCLUDED + 1)
            cut = cut or len(rows) > INCLUDED
            keys = [row[0] for row in rows[:INCLUDED]]
        missing = [key for key in dict.fromkeys(keys) if (of, key) not in found and not (of is kind and key in page)]
        found |= {(of, key): resource for key, resource in (await show(connection, of, missing)).items()}
    return list(found.values()), cut


def _target(reference: Mapping[str, Any] | None) -> str | None:
    made = (reference or {}).get("reference", "").rpartition("/")[2]
    return key_of(made) if made else None
