"""LDAP messages as a client makes and reads them, by asn1tools from the ASN.1 of RFC 4511: not by our own writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asn1tools

import server.ldap

_FOLDER = Path(server.ldap.__file__).parent
_SPECIFICATION = asn1tools.compile_files(str(_FOLDER / "rfc4511.asn1"), "ber")
_VALUES = asn1tools.compile_files(str(_FOLDER / "controls.asn1"), "ber")

ROOT_SEARCH: dict[str, Any] = {
    "baseObject": b"",
    "scope": "baseObject",
    "derefAliases": "neverDerefAliases",
    "sizeLimit": 0,
    "timeLimit": 0,
    "typesOnly": False,
    "filter": ("present", b"objectClass"),
    "attributes": [],
}


def encode(message_id: int, operation: str, value: Any, *controls: tuple[str, bool, bytes | None]) -> bytes:
    """A message; controls are (oid, critical, value)."""
    message: dict[str, Any] = {"messageID": message_id, "protocolOp": (operation, value)}
    if controls:
        message["controls"] = [
            {"controlType": oid.encode(), "criticality": critical} | ({} if given is None else {"controlValue": given})
            for oid, critical, given in controls
        ]
    return bytes(_SPECIFICATION.encode("LDAPMessage", message))


def extended(message_id: int, name: str, value: bytes | None = None) -> bytes:
    fields = {"requestName": name.encode()} | ({} if value is None else {"requestValue": value})
    return encode(message_id, "extendedReq", fields)


def bind(message_id: int, name: str, password: str) -> bytes:
    fields = {"version": 3, "name": name.encode(), "authentication": ("simple", password.encode())}
    return encode(message_id, "bindRequest", fields)


def search(message_id: int, *controls: tuple[str, bool, bytes | None], **changes: Any) -> bytes:
    return encode(message_id, "searchRequest", ROOT_SEARCH | changes, *controls)


def decode(message: bytes) -> dict[str, Any]:
    """Fields of RFC 4511: messageID, protocolOp, controls."""
    fields: dict[str, Any] = _SPECIFICATION.decode("LDAPMessage", message)
    return fields


def split(data: bytes) -> list[bytes]:
    """The messages of a stream, cut by their lengths."""
    found = []
    while data:
        short = data[1] < 0x80
        start = 2 if short else 2 + data[1] - 0x80
        end = start + (data[1] if short else int.from_bytes(data[2:start], "big"))
        found.append(data[:end])
        data = data[end:]
    return found


def page(size: int, cookie: bytes = b"") -> bytes:
    return bytes(_VALUES.encode("RealSearchControlValue", {"size": size, "cookie": cookie}))


def cookie(message: dict[str, Any]) -> bytes:
    """The cookie of a paged answer."""
    (control,) = message["controls"]
    assert control["controlType"] == b"1.2.840.113556.1.4.319"
    found: bytes = _VALUES.decode("RealSearchControlValue", control["controlValue"])["cookie"]
    return found


def cancel(message_id: int, cancelled: int) -> bytes:
    return extended(message_id, "1.3.6.1.1.8", bytes(_VALUES.encode("CancelRequestValue", {"cancelID": cancelled})))
