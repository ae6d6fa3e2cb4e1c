"""A FHIR request → its answer: read and search of the directory's resources (FHIR R4 §3.1.0). No socket, no clock.

GET  [base]/[type]/[id]          read; If-None-Match is answered 304
GET  [base]/[type]?…             search
POST [base]/[type]/_search       search, with a form
Everything else is refused, and every refusal is an OperationOutcome.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode

from directory.fhir import resources, walking
from directory.fhir.including import included
from directory.fhir.names import Type
from directory.fhir.outcome import Refusal, not_supported, operation_outcome, too_costly
from directory.fhir.parameters import Question, pairs, question
from directory.fhir.planning import plan, row_key
from directory.fhir.queries import LAST_LOAD
from directory.fhir.resources import Resource, meta
from directory.fhir.showing import gone, made_id, service_addresses, show
from directory.queries import Connection

FHIR_JSON = "application/fhir+json"
# FHIR R4 §3.1.0.1.11: what a client may write in _format for JSON; and what it may accept.
JSON_FORMATS = frozenset({"json", "text/json", "application/json", FHIR_JSON})
_ANY = frozenset({"*/*", "application/*", "text/*"})
_FORM = "application/x-www-form-urlencoded"
LARGEST_TOTAL = 10_000  # past it nobody counts for a client that asks _total=accurate
_SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)
# FHIR R4 §3.1.1.5.8: what stays with the elements that are asked for.
_ALWAYS = frozenset({"resourceType", "id", "meta"})


@dataclass(frozen=True, slots=True)
class Request:
    """What came: `path` below the base, in parts; `headers` in lower case; `query` and `body` as bytes."""

    method: str
    base: str
    path: tuple[str, ...]
    query: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. `entries`: how many resources were given out."""

    status: int
    body: dict[str, Any] | None
    headers: Mapping[str, str] = field(default_factory=dict)
    entries: int = 0


async def answer(connection: Connection, request: Request) -> Answer:
    """Answer one request; what is wrong with it is an answer too."""
    try:
        kind = _type(request)
        if len(request.path) == 2 and request.path[1] != "_search":
            return await _read(connection, request, kind, request.path[1])
        return await _search(connection, request, kind)
    except Refusal as refusal:
        return refused(refusal)


def refused(refusal: Refusal) -> Answer:
    return Answer(refusal.status, operation_outcome(("error", refusal.code, refusal.text)))


def accepts(asked: Sequence[tuple[str, str]], accept: str) -> None:
    """Raises Refusal (406): the client takes no JSON. `_format` counts before Accept (FHIR R4 §3.1.0.1.11)."""
    formats = [value for name, value in asked if name == "_format" and value]
    if formats:
        # "application/fhir+json" without an escape comes with a space for its plus.
        taken = {one.partition(";")[0].strip().replace(" ", "+").lower() for one in formats}
        if not taken & JSON_FORMATS:
            raise Refusal(406, "not-supported", "Only JSON is served: application/fhir+json.")
        return
    taken = {one.partition(";")[0].strip().lower() for one in accept.split(",")} - {""}
    if taken and not taken & (JSON_FORMATS | _ANY):
        raise Refusal(406, "not-supported", "Only JSON is served: application/fhir+json.")


def _type(request: Request) -> Type:
    name = request.path[0] if request.path else ""
    if name not in set(Type) or len(request.path) > 2:
        raise Refusal(404, "not-found" if name in set(Type) else "not-supported", "There is nothing at this address.")
    if request.method not in {"GET", "HEAD"} and not (request.method == "POST" and request.path[1:] == ("_search",)):
        raise Refusal(405, "not-supported", "The directory is read: GET, and POST to _search.")
    return Type(name)


async def _read(connection: Connection, request: Request, kind: Type, made: str) -> Answer:
    accepts(pairs(request.query), request.headers.get("accept", ""))
    if _ID.fullmatch(made) is None or (key := row_key(kind, made)) is None:
        raise Refusal(404, "not-found", "There is no such resource.")
    keys: list[Any] = [int(key)] if kind is Type.ROLE else [key]
    if kind is Type.SERVICE:
        keys = await service_addresses(connection, [made])
    found = list((await show(connection, kind, keys)).values())
    if not found:
        found = [resources.gone(kind, made, moment) for moment in (await gone(connection, kind, [key])).values()]
    if not found:
        raise Refusal(404, "not-found", "There is no such resource.")
    resource = found[0]
    version = f'W/"{resource["meta"]["versionId"]}"'
    changed = datetime.fromisoformat(resource["meta"]["lastUpdated"])
    headers = {"ETag": version, "Last-Modified": format_datetime(changed.replace(microsecond=0), usegmt=True)}
    # RFC 9110 §13.1.2: weak comparison.
    known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    if version.removeprefix("W/") in known:
        return Answer(304, None, headers)
    return Answer(200, resource, headers, 1)


async def _search(connection: Connection, request: Request, kind: Type) -> Answer:
    asked = pairs(request.query)
    if request.method == "POST":
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in {_FORM, ""}:
            raise Refusal(415, "not-supported", f"A search is posted as {_FORM}.")
        asked += pairs(request.body)
    accepts(asked, request.headers.get("accept", ""))
    understood = question(kind, asked)
    warnings = []
    if understood.ignored:
        names = ", ".join(understood.ignored)
        if _is_strict(request.headers.get("prefer", "")):
            raise not_supported(f"Parameters that are not served: {names}.")
        warnings.append(("warning", "not-supported", f"Parameters that are not served were left aside: {names}."))
    return await _searched(connection, request.base, understood, warnings)


def _is_strict(prefer: str) -> bool:
    """FHIR R4 §3.1.1.4.1: handling=strict; RFC 7240 §2: the first of a preference counts."""
    found = re.search(r"(?:^|[,;])\s*handling\s*=\s*\"?(strict|lenient)\b", prefer, re.IGNORECASE)
    return found is not None and found[1].lower() == "strict"


async def _searched(connection: Connection, base: str, asked: Question, warnings: list[tuple[str, str, str]]) -> Answer:
    planned = plan(asked)
    place = walking.read(asked.cursor, asked, planned)
    total: int | None = None
    if asked.total or asked.count_only:
        total = await walking.total(connection, planned, LARGEST_TOTAL)
        if total is None and asked.count_only:
            raise too_costly("So many cannot be counted: ask for a page, or for fewer.")
        if total is None:
            warnings.append(("information", "too-costly", "The total is not told: there are too many to count."))
    links = [("self", place if asked.cursor else None)]
    entries: list[dict[str, Any]] = []
    given = 0
    if not asked.count_only:
        found = await walking.walk(connection, planned, place, asked.count)
        links += [(name, one) for name, one in (("previous", found.previous), ("next", found.next)) if one]
        shown = await show(connection, asked.type, [hit.key for hit in found.hits if hit.gone_at is None])
        for hit in found.hits:
            if hit.gone_at is None:
                resource = shown.get(hit.key)
            else:
                made = made_id(asked.type, hit.key)
                resource = resources.gone(asked.type, made, hit.gone_at) if made else None
            if resource is not None:
                entries.append(_entry(base, _subset(resource, asked.elements), "match"))
        beside, cut = await included(connection, asked.type, shown, asked.includes)
        if cut:
            warnings.append(("warning", "too-costly", "More resources refer to these than one page can hold."))
        entries += [_entry(base, resource, "include") for resource in beside]
        given = len(entries)
        if total is None and not asked.cursor and found.next is None:
            total = len(found.hits)
    if warnings:
        outcome = operation_outcome(*warnings)
        entries.append({"resource": outcome, "search": {"mode": "outcome"}})
    loaded = await connection.fetchval(LAST_LOAD)
    bundle: dict[str, Any] = {"resourceType": "Bundle"}
    if loaded:
        bundle["meta"] = {"lastUpdated": meta(loaded)["lastUpdated"]}
    bundle["type"] = "searchset"
    if total is not None:
        bundle["total"] = total
    bundle["link"] = [{"relation": name, "url": _link(base, asked, one)} for name, one in links]
    if entries:
        bundle["entry"] = entries
    return Answer(200, bundle, entries=given)


def _link(base: str, asked: Question, place: walking.Place | None) -> str:
    page = [("_page", walking.written(place, asked))] if place else []
    query = urlencode([*asked.asked, *page])
    return f"{base}/{asked.type.value}" + (f"?{query}" if query else "")


def _entry(base: str, resource: Resource, mode: str) -> dict[str, Any]:
    return {
        "fullUrl": f"{base}/{resource['resourceType']}/{resource['id']}",
        "resource": resource,
        "search": {"mode": mode},
    }


def _subset(resource: Resource, elements: Sequence[str]) -> Resource:
    """FHIR R4 §3.1.1.5.8: the elements asked for, marked as a part of the resource."""
    if not elements:
        return resource
    chosen = {name: value for name, value in resource.items() if name in _ALWAYS or name in elements}
    chosen["meta"] = {**resource["meta"], "tag": [_SUBSETTED]}
    return chosen
