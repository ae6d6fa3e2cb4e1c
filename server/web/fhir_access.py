"""Who asks by FHIR: a mailbox by HTTP Basic (address and app password, RFC 7617) or a person by Bearer (RFC 6750), or,
where the settings say so, anybody.

The national directory's ESANTE-API-KEY is its own: such a header is not looked at.
"""

from __future__ import annotations

import base64
import binascii

from starlette.requests import Request

from directory.fhir.answering import Answer
from directory.fhir.outcome import Refusal, operation_outcome
from server.base.errors import Refused
from server.identity import sasl
from server.identity.model import Principal
from server.identity.throttle import network_of
from server.mailbox.model import OwnerKind
from server.web.services import services

CREDENTIALS_CHARACTERS = 4_096  # an address of 254 and a password of 28, or a token of about 1,500
_CHALLENGE = 'Basic realm="FHIR", charset="UTF-8", Bearer realm="FHIR"'


async def client(request: Request) -> str | Answer:
    """A stable name for who asks, or the answer that sends away who may not.

    Raises Refusal: a patient asks, who is told of nobody here; TryLater: too many failures, or the store is away.
    """
    network = request.client.host if request.client else ""
    given = request.headers.get("authorization", "")
    if not given:
        if services(request).settings.directory.anonymous:
            return f"network {network_of(network)}"
        return _sent_away("Sign in: HTTP Basic with an address and an app password, or Bearer.")
    try:
        principal = await _principal(request, given, network)
    except Refused:
        principal = None
    if principal is None:
        return _sent_away("These credentials are not accepted.")
    if principal.kind == OwnerKind.PATIENT:
        raise Refusal(403, "forbidden", "The directory is for those who write to each other as professionals.")
    return f"mailbox {principal.owner_id}"


async def _principal(request: Request, given: str, network: str) -> Principal | None:
    """None: nothing that could be credentials. Raises as `Accounts.sign_in`."""
    accounts = services(request).accounts
    scheme, _, value = given.partition(" ")
    if len(value) > CREDENTIALS_CHARACTERS:
        return None
    if scheme.lower() == "bearer":
        return await accounts.holder(value.strip(), network)
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(value.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    address, colon, password = text.partition(":")
    if not colon or "\0" in text:
        return None
    return await accounts.sign_in(sasl.AppPassword("", address, password), network)


def _sent_away(text: str) -> Answer:
    return Answer(401, operation_outcome(("error", "login", text)), {"WWW-Authenticate": _CHALLENGE})
