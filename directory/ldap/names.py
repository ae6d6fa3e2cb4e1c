"""Distinguished names as clients write them (RFC 4514), compared without case, accents and superfluous spaces."""

from __future__ import annotations

import re
from typing import TypeAlias

from directory.ldap.values import plain

NAME_CHARACTERS = 2_000  # the longest of ours has some 400

Rdn: TypeAlias = frozenset[tuple[str, str]]  # (type, value), both as they are compared
Name: TypeAlias = tuple[Rdn, ...]  # the entry's own part first, as it is written

# RFC 4514 §3: an attribute type, "=", a value up to the next "," or "+" that is not escaped (";" too: RFC 2253 §4).
_TYPE = re.compile(r" *(?:oid\.)?([A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)*) *= *", re.IGNORECASE)
_VALUE = re.compile(r'"((?:[^"\\]|\\.)*)" *|((?:[^,+;"\\]|\\.)*)', re.DOTALL)
_HEX = re.compile(rb"\\([0-9A-Fa-f]{2})|\\(.)", re.DOTALL)
_OIDS = {"0.9.2342.19200300.100.1.25": "dc", "0.9.2342.19200300.100.1.1": "uid", "2.5.4.11": "ou", "2.5.4.3": "cn"}


class InvalidName(Exception):
    """This text is no distinguished name."""


def parse(text: str) -> Name:
    """The parts of a name as they are compared; () for the empty one. Raises InvalidName."""
    return tuple(frozenset((kind, plain(value)) for kind, value in part) for part in read(text))


def read(text: str) -> list[list[tuple[str, str]]]:
    """The parts of a name, the entry's own first, each of (type, value as it is written). Raises InvalidName."""
    if len(text) > NAME_CHARACTERS:
        raise InvalidName
    parts: list[list[tuple[str, str]]] = []
    place, sign = 0, ","
    while place < len(text) or (sign and parts):
        start = _TYPE.match(text, place)
        value = start and _VALUE.match(text, start.end())
        if start is None or value is None or place > NAME_CHARACTERS:
            raise InvalidName
        if sign != "+":
            parts.append([])
        kind = start[1].lower()
        written = value[1] if value[1] is not None else _trimmed(value[2])
        parts[-1].append((_OIDS.get(kind, kind), _unescaped(written)))
        sign = text[value.end() : value.end() + 1]
        place = value.end() + 1
        if sign not in ("", ",", ";", "+"):
            raise InvalidName
    return parts


def escaped(value: str) -> str:
    """A value as it stands in a name (RFC 4514 §2.4)."""
    text = re.sub(r'([,+"\\<>;=])', r"\\\1", value).replace("\0", "\\00")
    if text[:1] in (" ", "#"):
        text = "\\" + text
    return text[:-1] + "\\ " if text.endswith(" ") and len(value) > 1 else text


def suffix(domain: str) -> str:
    """The name under which a domain's directory stands (RFC 2247): `dc=msg,dc=exemple,dc=fr`."""
    return ",".join(f"dc={label}" for label in domain.split("."))


def _trimmed(text: str) -> str:
    bare = text.rstrip(" ")
    # RFC 4514 §2.4: a space at the end counts where it is escaped.
    lost = len(bare) - len(bare.rstrip("\\"))
    return bare + " " if lost % 2 and len(bare) < len(text) else bare


def _unescaped(text: str) -> str:
    if text.startswith("#"):  # RFC 4514 §2.4: BER in hexadecimal; no name of ours is written so
        raise InvalidName
    octets = _HEX.sub(lambda m: bytes.fromhex(m[1].decode()) if m[1] else m[2], text.encode("utf-8", "surrogatepass"))
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise InvalidName from None
