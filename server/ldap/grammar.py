"""Bytes to LDAP messages and back, in the ASN.1 of RFC 4511 itself (`rfc4511.asn1`, compiled by asn1tools).

The general decoder recurses and trusts lengths, so nothing reaches it before `check` has walked the elements without
recursion: definite lengths only, every element inside its parent, bounded size, depth and count. `frame` has three
outcomes: the size of a whole message, None for "need more", or ProtocolViolation. What we say is written by `answers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asn1tools

from server.base.errors import ProtocolViolation, Reason
from server.base.limits import LDAP_DEPTH, LDAP_ELEMENTS, LDAP_MESSAGE_BYTES

_SEQUENCE = 0x30
_CONSTRUCTED = 0x20
_HIGH_TAG = 0x1F
_LONG_FORM = 0x80
_SPECIFICATION, _VALUES = (
    asn1tools.compile_files(str(Path(__file__).with_name(name)), "ber") for name in ("rfc4511.asn1", "controls.asn1")
)


@dataclass(frozen=True, slots=True)
class Control:
    """A control of a request (RFC 4511 §4.1.11)."""

    oid: str
    critical: bool
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class Request:
    """One message of a client: `operation` is the name of the choice in `protocolOp`, `value` what it holds."""

    message_id: int
    operation: str
    value: Any
    controls: tuple[Control, ...]


def frame(buffer: bytes | bytearray) -> int | None:
    """How many octets the first message of `buffer` takes; None while that cannot be said or they are not all there.

    Raises ProtocolViolation when no message can begin like this or it is larger than LDAP_MESSAGE_BYTES.
    """
    if not buffer:
        return None
    if buffer[0] != _SEQUENCE:
        raise _malformed("a message is a SEQUENCE")
    header = _header(buffer, 0, len(buffer))
    if header is None:
        return None
    body, length = header
    if length > LDAP_MESSAGE_BYTES:
        raise _malformed("the message is too large")
    return body + length if len(buffer) >= body + length else None


def check(message: bytes) -> None:
    """Walk all elements of one framed message without recursion; raises ProtocolViolation past a limit."""
    ends = [len(message)]
    position = elements = 0
    while ends:
        if position == ends[-1]:
            ends.pop()
            continue
        header = _header(message, position, ends[-1])
        if header is None or header[0] + header[1] > ends[-1]:
            raise _malformed("an element is longer than what holds it")
        elements += 1
        if elements > LDAP_ELEMENTS:
            raise _malformed("too many elements")
        constructed = message[position] & _CONSTRUCTED
        position = header[0]
        if constructed:
            if len(ends) > LDAP_DEPTH:
                raise _malformed("nested too deep")
            ends.append(position + header[1])
        else:
            position += header[1]


def decode(message: bytes) -> Request:
    """Read one whole framed message. Raises ProtocolViolation, and nothing else, on any bytes."""
    check(message)
    try:
        fields = _SPECIFICATION.decode("LDAPMessage", message)
        controls = tuple(
            Control(item["controlType"].decode("ascii"), item["criticality"], item.get("controlValue", b""))
            for item in fields.get("controls", [])
        )
        operation, value = fields["protocolOp"]
    except (asn1tools.DecodeError, UnicodeDecodeError):
        raise _malformed("the message is not of RFC 4511") from None
    # RFC 4511 §4.1.1.1: a request's messageID is not zero.
    if not 0 < fields["messageID"] <= 2**31 - 1:
        raise _malformed("the message id is out of range")
    return Request(fields["messageID"], operation, value, controls)


@dataclass(frozen=True, slots=True)
class Page:
    """What a client asks of a paged search (RFC 2696): entries at most, and where to go on (empty: begin)."""

    size: int
    cookie: bytes


def page(value: bytes) -> Page:
    """The value of the control. Raises ProtocolViolation."""
    fields = _value("RealSearchControlValue", value)
    return Page(fields["size"], fields["cookie"])


def cancelled(value: bytes | None) -> int:
    """The number of the operation that a Cancel names (RFC 3909). Raises ProtocolViolation."""
    found: int = _value("CancelRequestValue", value or b"")["cancelID"]
    return found


def _value(kind: str, value: bytes) -> dict[str, Any]:
    if not value:
        raise _malformed("a value is missing")
    check(value)
    try:
        fields: dict[str, Any] = _VALUES.decode(kind, value)
    except asn1tools.DecodeError:
        raise _malformed("the value of a control or operation is not of its RFC") from None
    return fields


def _header(data: bytes | bytearray, start: int, end: int) -> tuple[int, int] | None:
    """Where the content of the element at `start` begins and how long it is; None when the header is not whole."""
    if data[start] & _HIGH_TAG == _HIGH_TAG:
        raise _malformed("a tag number above 30")
    if start + 2 > end:
        return None
    length = data[start + 1]
    if length < _LONG_FORM:
        return start + 2, length
    # RFC 4511 §5.1: only the definite form. Four octets hold more than any message we take.
    octets = length - _LONG_FORM
    if not 1 <= octets <= 4:
        raise _malformed("the length is indefinite or absurd")
    if start + 2 + octets > end:
        return None
    return start + 2 + octets, int.from_bytes(data[start + 2 : start + 2 + octets], "big")


def _malformed(sentence: str) -> ProtocolViolation:
    return ProtocolViolation(Reason.MALFORMED, sentence)
