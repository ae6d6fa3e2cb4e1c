"""Header fields inside of what is signed or was encrypted (RFC 9788), and in what those outside differ from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from server.base.limits import MIME_HEADER_BYTES
from server.mail import addresses, headers, parameters
from server.mail.headers import Field

_ADDRESSES: Final = frozenset({"from", "sender", "reply-to", "to", "cc"})
_STRUCTURE: Final = ("content-", "mime-version", "hp-outer")


class Protected(NamedTuple):
    """`fields`: what the sender protected, `outside`: what he put into the header of the message; by lower-case name,
    values unfolded."""

    fields: Mapping[str, list[str]]
    outside: Mapping[str, list[str]]


NOTHING: Final = Protected({}, {})


def protected(head: bytes) -> Protected:
    """What the header of an entity protects; `head`: its first octets. `NOTHING` where that is none, or has no end."""
    block, empty_line, _ = head[:MIME_HEADER_BYTES].partition(b"\r\n\r\n")
    if not empty_line or b"hp" not in block.lower():  # nearly all mail
        return NOTHING
    fields = headers.read(block).fields
    mark = parameters.get(parameters.content_type(headers.first(block, "content-type", fields) or "").parameters, "hp")
    # RFC 9788 §2.1: "clear" in a message that is only signed, "cipher" in one that is encrypted too.
    if mark is None or mark.lower() not in ("clear", "cipher"):
        return NOTHING
    found: dict[str, list[str]] = {}
    outside: dict[str, list[str]] = {}
    for field in fields:
        value = headers.raw(block, field)
        if not field.name.startswith(_STRUCTURE):
            found.setdefault(field.name, []).append(value)
        elif field.name == "hp-outer":
            name, _, told = value.partition(":")
            outside.setdefault(name.strip().lower(), []).append(told.strip())
    return Protected(found, found if mark.lower() == "clear" else outside)


def changed(signed: Protected, block: bytes, fields: list[Field]) -> tuple[str, ...]:
    """Names of the protected fields that the message's own header says otherwise than the sender put it there, and
    otherwise than what is signed, which a message shows that was opened."""
    there: dict[str, list[str]] = {}
    for field in fields:
        if field.name in signed.fields:
            there.setdefault(field.name, []).append(headers.raw(block, field))
    return tuple(
        name
        for name in signed.fields
        if _plain(name, there.get(name))
        not in (_plain(name, signed.outside.get(name)), _plain(name, signed.fields[name]))
    )


def _plain(name: str, values: list[str] | None) -> list[object]:
    """Values in the form in which they say the same: relays fold and encode anew."""
    if name in _ADDRESSES:
        return [
            [(one.name, addresses.normalise(one.address)) for one in addresses.parse(value)] for value in values or ()
        ]
    return [" ".join(headers.decode(value).split()) for value in values or ()]
