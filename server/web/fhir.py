"""The FHIR base: what stands between the socket and the modules that have resources. JSON in UTF-8, no page, no cookie.

`metadata` says for all modules what can be asked; a module adds its types to ANSWERED_BY and its entries to STATED.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from directory.fhir import answering, statement
from directory.fhir.answering import FHIR_JSON, Answer, accepts, refused
from directory.fhir.names import Type
from directory.fhir.outcome import Refusal
from directory.fhir.parameters import pairs
from server.base import clock
from server.base.version import VERSION
from server.mailbox.trouble import connection
from server.web import fhir_access
from server.web.services import services

router = APIRouter()

Answering = Callable[[asyncpg.Connection, answering.Request], Awaitable[Answer]]
ANSWERED_BY: dict[str, Answering] = dict.fromkeys(Type, answering.answer)
STATED: tuple[Callable[[], list[dict[str, Any]]], ...] = (statement.resources,)
_DATED = "2026-11-26"  # when what is stated last changed
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


@router.api_route("/fhir/{path:path}", methods=_METHODS)
async def fhir(request: Request, path: str) -> Response:
    """Every address below the base; what is wrong is an OperationOutcome."""
    asked = answering.Request(
        method=request.method,
        base=f"https://{request.headers['host']}/fhir",
        path=tuple(path.split("/")),
        query=request.scope["query_string"],
        headers=request.headers,
        body=await request.body(),
    )
    try:
        if asked.path == ("metadata",):
            answer = _metadata(asked)
        elif answered := ANSWERED_BY.get(asked.path[0]):
            answer = await _given(request, asked, answered)
        else:
            raise Refusal(404, "not-supported", "There is nothing at this address.")
    except Refusal as refusal:
        answer = refused(refusal)
    headers = dict(answer.headers)
    if "ETag" in headers:  # nothing here is of a patient: a client may keep it, and asks whether it still holds
        headers["Cache-Control"] = "private, no-cache"
    if answer.body is None:
        return Response(None, answer.status, headers)
    return JSONResponse(answer.body, answer.status, headers, FHIR_JSON)


async def _given(request: Request, asked: answering.Request, answered: Answering) -> Answer:
    """The answer of a module, to who may ask and has not copied too much already."""
    room = services(request)
    client = await fhir_access.client(request)
    if isinstance(client, Answer):
        return client
    wait = room.harvest.wait(client, clock.monotonic())
    if wait:
        answer = refused(Refusal(429, "throttled", "So much of the directory is given out in one go only once."))
        return Answer(answer.status, answer.body, {"Retry-After": str(math.ceil(wait))})
    async with connection(room.pool) as acquired:
        answer = await answered(acquired, asked)
    room.harvest.took(client, answer.entries, clock.monotonic())
    return answer


def _metadata(asked: answering.Request) -> Answer:
    """The CapabilityStatement (FHIR R4 §3.1.0.10, capabilities), for whoever asks."""
    if asked.method not in {"GET", "HEAD"}:
        raise Refusal(405, "not-supported", "The statement is read: GET.")
    accepts(pairs(asked.query), asked.headers.get("accept", ""))
    return Answer(200, capability_statement(asked.base))


def capability_statement(base: str) -> dict[str, Any]:
    """What this server does in FHIR 4.0.1, and no more."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": _DATED,
        "kind": "instance",
        "software": {"name": "Caducée", "version": VERSION},
        "implementation": {"description": "Caducée, messagerie sécurisée de santé", "url": base},
        "fhirVersion": "4.0.1",
        "format": [FHIR_JSON, "json"],
        "implementationGuide": [
            "https://interop.esante.gouv.fr/ig/fhir/annuaire/ImplementationGuide/ans.fhir.fr.annuaire"
        ],
        "rest": [
            {
                "mode": "server",
                "documentation": "Read-only. Prefer: handling=strict refuses parameters that are not served.",
                "security": {"description": "HTTP Basic with a mailbox's address and an app password, or Bearer."},
                "resource": [entry for stated in STATED for entry in stated()],
            }
        ],
    }
