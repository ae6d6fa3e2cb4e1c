"""Which rows a filter may fit, by the indexes that there are: never fewer than it fits, and then each is looked at.

The condition of a filter is wider than the filter: what no index answers (a telephone number, a negation) is EVERY,
which narrows nothing inside "and" and spoils an "or". A condition that no index narrows is not asked at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from directory.folding import words
from directory.indexing import Field, is_telling
from directory.ldap.entries import keys_of
from directory.ldap.filters import Filter, Pieces, pieces_of, text
from directory.ldap.schema import class_named, types
from directory.ldap.values import lowered

BEGUN_FROM = 2  # letters, as in directory.search: a single one begins too many words


@dataclass(frozen=True, slots=True)
class Word:
    """A folded word in one of these fields of the index: as it is, begun, or perhaps mistyped."""

    word: str
    fields: tuple[Field, ...]
    begun: bool = False
    mistyped: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """Mailboxes: of this address, of one that begins so, or that have these (begun) words before the @."""

    begins: str = ""
    whole: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Numbers:
    """People by national id, structures by their own number, FINESS or SIRET."""

    numbers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Who has one; narrows what another condition finds."""


@dataclass(frozen=True, slots=True)
class Both:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Either:
    parts: tuple[Condition, ...]


Condition: TypeAlias = Word | Address | Numbers | Mailbox | Both | Either
_LOCAL = re.compile(r"[a-z0-9]+")  # as the index of addresses parts them
EVERY = Both(())
NONE = Either(())

# The fields of the index that hold all words of an attribute.
_NAME = (Field.LAST_NAME, Field.FIRST_NAME)
_PERSON = {
    "cn": _NAME,
    "sn": (Field.LAST_NAME,),
    "givenName": (Field.FIRST_NAME,),
    "displayName": _NAME,
    "o": (Field.WORKPLACE,),
    "title": (Field.LABEL,),
    "caduceeSpecialty": (Field.LABEL,),
    "l": (Field.TOWN,),
    "postalCode": (Field.POSTCODE,),
}
_STRUCTURE = {
    "cn": (Field.OWN_NAME,),
    "displayName": (Field.OWN_NAME,),
    "o": (Field.OWN_NAME,),
    "ou": (Field.WORKPLACE,),
    "businessCategory": (Field.LABEL,),
    "l": (Field.TOWN,),
    "postalCode": (Field.POSTCODE,),
}
_PLACE = {"mail", "userCertificate", "street", "postalAddress", "st", "telephoneNumber"}
_OF_EACH = {
    "objectClass",
    "uid",
    "entryDN",
    "entryUUID",
    "structuralObjectClass",
    "subschemaSubentry",
    "hasSubordinates",
}
_HELD = {
    True: {*_PERSON, *_PLACE, *_OF_EACH, "employeeNumber", "caduceeNationalId", "caduceeProfessionCode"},
    False: {*_STRUCTURE, *_PLACE, *_OF_EACH, "caduceeFiness", "caduceeSiret"},
}
_CLASSES = {
    True: {"top", "person", "organizationalperson", "inetorgperson", "caduceeprofessional"},
    False: {"top", "organization", "uidobject", "caduceestructure"},
}


def both(parts: Iterable[Condition]) -> Condition:
    """All of them, without those that say nothing."""
    flat: dict[Condition, None] = {}
    for part in parts:
        if part == NONE:
            return NONE
        flat.update(dict.fromkeys(part.parts if isinstance(part, Both) else (part,)))
    return next(iter(flat)) if len(flat) == 1 else Both(tuple(flat))


def either(parts: Iterable[Condition]) -> Condition:
    """One of them."""
    flat: dict[Condition, None] = {}
    for part in parts:
        if part == EVERY:
            return EVERY
        flat.update(dict.fromkeys(part.parts if isinstance(part, Either) else (part,)))
    return next(iter(flat)) if len(flat) == 1 else Either(tuple(flat))


def indexed(condition: Condition) -> bool:
    """Whether an index narrows it."""
    match condition:
        case Mailbox():
            return False
        case Both(parts):
            return any(indexed(part) for part in parts)
        case Either(parts):
            return all(indexed(part) for part in parts)
    return True


def leaves(condition: Condition) -> list[Condition]:
    """What it is made of, each once."""
    if isinstance(condition, Both | Either):
        return list(dict.fromkeys(leaf for part in condition.parts for leaf in leaves(part)))
    return [condition]


def plan(asked: Filter, *, person: bool) -> Condition:
    """The condition on people at a place, or on structures."""
    kind, value = asked
    if kind == "and":
        return both(plan(part, person=person) for part in value)
    if kind == "or":
        return either(plan(part, person=person) for part in value)
    if kind == "not":
        return EVERY
    if kind is None:
        return NONE
    if kind == "extensibleMatch":
        if value.get("type") is None or value.get("dnAttributes"):
            return EVERY
        kind, description, octets = "equalityMatch", value["type"], value["matchValue"]
    elif kind == "present":
        description, octets = value, b""
    elif kind == "substrings":
        description, octets = value["type"], b""
    else:
        description, octets = value["attributeDesc"], value["assertionValue"]
    held = [one.name for one in types(text(description)) if one.name in _HELD[person]]
    if kind == "present":
        return either(Mailbox() if name in ("mail", "userCertificate") else EVERY for name in held)
    if kind == "substrings":
        pieces = pieces_of(value["substrings"])
        return either(_pieces(name, pieces, person) for name in held) if pieces else NONE
    try:
        asserted = octets.decode()
    except UnicodeDecodeError:
        return NONE
    return either(_value(name, kind, asserted, person) for name in held)


def _value(name: str, kind: str, asserted: str, person: bool) -> Condition:
    """Equality, or what is near it."""
    if kind in ("greaterOrEqual", "lessOrEqual"):
        return EVERY
    fields = (_PERSON if person else _STRUCTURE).get(name)
    if fields is not None:
        near = kind == "approxMatch"
        parts = words(asserted)
        found = [Word(word, fields, near, near) for word in parts if is_telling(word, fields, begun=near)]
        return both(found) if parts else NONE
    if name in ("objectClass", "structuralObjectClass"):
        return EVERY if class_named(asserted) in _CLASSES[person] else NONE
    if name == "mail":
        return Address(lowered(asserted), whole=True)
    if name == "uid":
        keys = keys_of(asserted.strip(), person=person)
        return Numbers(tuple(dict.fromkeys(key[0] or key[2] for key in keys))) if keys else NONE
    written = {asserted.strip(), asserted.strip().upper()}
    if name == "employeeNumber":  # behind the digit of its type: "8" and the RPPS number, "0" and the ADELI
        return Numbers(tuple(sorted(digit + number for digit in "0123456789" for number in written)))
    if name in ("caduceeNationalId", "caduceeFiness", "caduceeSiret"):
        return Numbers(tuple(sorted(written)))
    return EVERY


def _pieces(name: str, pieces: Pieces, person: bool) -> Condition:
    fields = (_PERSON if person else _STRUCTURE).get(name)
    if fields is not None:
        return both(_words_of(pieces, fields))
    if name != "mail":
        return EVERY
    begins = lowered(pieces.initial)
    if len(begins) >= BEGUN_FROM:
        return Address(begins)
    before = [piece.partition("@")[0] for piece in pieces.anywhere]
    if "@" in pieces.final:
        before.append(pieces.final.partition("@")[0])
    found = [word for piece in before for word in _LOCAL.findall(piece.lower()) if len(word) >= BEGUN_FROM]
    return Address(words=tuple(dict.fromkeys(found))) if found else EVERY


def _words_of(pieces: Pieces, fields: tuple[Field, ...]) -> Sequence[Word]:
    """The words that must stand there: whole inside a piece and at its end the last, else begun."""
    found: list[Word] = []
    for piece, ends in ((pieces.initial, False), *((one, False) for one in pieces.anywhere), (pieces.final, True)):
        parts = words(piece)
        for place, word in enumerate(parts):
            begun = place == len(parts) - 1 and not ends
            if is_telling(word, fields, begun=begun) and (not begun or len(word) >= BEGUN_FROM):
                found.append(Word(word, fields, begun))
    return found
