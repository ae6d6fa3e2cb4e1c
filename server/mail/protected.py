"""Header fields inside of what is signed (RFC 9788), and in what those outside differ from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from server.base.limits import MIME_HEADER_BYTES
from server.mail import addresses, headers, parameters
from server.mail.headers import Field

# RFC 9788 §2.1: "clear" in a message that is only signed, "cipher" in one that was encrypted too.
_MARKS: Final = frozenset({"clear", "cipher"})
_ADDRESSES: Final = frozenset({"from", "sender", "reply-to", "to", "cc"})
_STRUCTURE: Final = ("content-", "mime-version", "hp-outer")


def protected(head: bytes) -> dict[str, list[str]]:
    """The fields in the header of a signed entity, by lower-case name, unfolded; `head`: its first octets.

    Empty where the sender protected none, or the header has no end there.
    """
    if b"hp" not in head[:MIME_HEADER_BYTES]:  # nearly all mail
        return {}
    block = head[:MIME_HEADER_BYTES]
    if b"\r\n\r\n" not in block:
        return {}
    fields = headers.read(block).fields
    mark = parameters.get(parameters.content_type(headers.first(block, "content-type", fields) or "").parameters, "hp")
    if mark is None or mark.lower() not in _MARKS:
        return {}
    found: dict[str, list[str]] = {}
    for field in fields:
        if not field.name.startswith(_STRUCTURE):
            found.setdefault(field.name, []).append(headers.raw(block, field))
    return found


def changed(signed: Mapping[str, list[str]], block: bytes, fields: list[Field]) -> tuple[str, ...]:
    """Names of the signed fields that the message's own header says otherwise, or not at all."""
    outside: dict[str, list[str]] = {}
    for field in fields:
        if field.name in signed:
            outside.setdefault(field.name, []).append(headers.raw(block, field))
    return tuple(name for name, values in signed.items() if _plain(name, values) != _plain(name, outside.get(name, [])))


def _plain(name: str, values: list[str]) -> list[object]:
    """Values in the form in which they say the same: relays fold and encode anew."""
    if name in _ADDRESSES:
        return [[(one.name, addresses.normalise(one.address)) for one in addresses.parse(value)] for value in values]
    return [" ".join(headers.decode(value).split()) for value in values]
