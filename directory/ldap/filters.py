"""Whether an entry fits a filter: RFC 4511 §4.5.1.7, three-valued; None is Undefined.

A filter is what the ASN.1 of RFC 4511 decodes to: a pair of its kind and what that holds. It is as deep as the message
was let be; octets that are no UTF-8 fit nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from directory.ldap import names
from directory.ldap.entries import Entry
from directory.ldap.schema import RULE_OIDS, AttributeType, class_named, rule_of, types
from directory.ldap.values import PREPARED, Form, about, stands_in

Filter: TypeAlias = tuple[str | None, Any]


def fits(entry: Entry, asked: Filter) -> bool | None:
    """The filter's value for the entry."""
    kind, value = asked
    if kind == "not":
        inner = fits(entry, value)
        return None if inner is None else not inner
    if kind in ("and", "or"):
        results = [fits(entry, part) for part in value]
        decisive = kind == "or"
        if decisive in results:
            return decisive
        return None if None in results else not decisive
    if kind == "present":
        known = types(text(value))
        return any(entry.attributes.get(one.name) for one in known) if known else None
    if kind == "extensibleMatch":
        return _extensible(entry, value)
    if kind is None:  # RFC 4511 §4.5.1.7: a kind that may be added, and that we do not know
        return None
    return _any(entry, types(text(value["type" if kind == "substrings" else "attributeDesc"])), kind, value)


def _any(entry: Entry, known: Sequence[AttributeType], kind: str, value: Any) -> bool | None:
    """One value of one type is enough; Undefined only where no type can say."""
    results = [_assert(one, entry.attributes.get(one.name, ()), kind, value) for one in known]
    if True in results:
        return True
    return False if False in results else None


def _assert(one: AttributeType, held: Sequence[str | bytes], kind: str, value: Any) -> bool | None:
    if one.form is Form.BINARY:
        return None
    values = [item for item in held if isinstance(item, str)]
    if kind == "substrings":
        return _substrings(one, values, value["substrings"])
    try:
        asserted = value["assertionValue"].decode()
    except UnicodeDecodeError:
        return None
    if kind == "equalityMatch":
        return equals(one, values, asserted)
    if kind == "approxMatch":
        if one.form is not Form.WORDS:
            return equals(one, values, asserted)
        return any(about(item, asserted) for item in values)
    if not one.ordered:
        return None
    least = PREPARED[one.form](asserted)
    prepared = [PREPARED[one.form](item) for item in values]
    return any(item >= least if kind == "greaterOrEqual" else item <= least for item in prepared)


def equals(one: AttributeType, values: Sequence[str], asserted: str) -> bool | None:
    """Whether one of a type's values equals what is asserted, by the type's rule; None: that is no value of it."""
    if one.form is Form.NAME:
        try:
            name = names.parse(asserted)
            return any(names.parse(item) == name for item in values)
        except names.InvalidName:
            return None
    prepare: Callable[[str], str] | None = class_named if one.form is Form.OBJECT_CLASS else PREPARED.get(one.form)
    if prepare is None:
        return None
    wanted = prepare(asserted)
    return bool(wanted) and any(prepare(item) == wanted for item in values)


def _substrings(one: AttributeType, values: Sequence[str], given: Sequence[tuple[str | None, bytes]]) -> bool | None:
    prepare = PREPARED.get(one.form)
    pieces = pieces_of(given)
    if prepare is None or pieces is None:
        return None
    initial, final = prepare(pieces.initial), prepare(pieces.final)
    anywhere = [prepare(piece) for piece in pieces.anywhere]
    if not all(anywhere) or (pieces.initial and not initial) or (pieces.final and not final):
        return False  # a piece of signs that are not compared
    return any(stands_in(prepare(item), initial, anywhere, final) for item in values)


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of a substring filter; empty where one is not given."""

    initial: str
    anywhere: tuple[str, ...]
    final: str


def pieces_of(given: Sequence[tuple[str | None, bytes]]) -> Pieces | None:
    """In order, initial first and once, final last and once; None where they are not so, not known, or no UTF-8."""
    kinds = [kind for kind, _ in given]
    if not given or None in kinds or "initial" in kinds[1:] or "final" in kinds[:-1]:
        return None
    try:
        texts = [piece.decode() for _, piece in given]
    except UnicodeDecodeError:
        return None
    found = {kind: piece for kind, piece in zip(kinds, texts, strict=True) if kind != "any"}
    anywhere = tuple(piece for kind, piece in zip(kinds, texts, strict=True) if kind == "any")
    return Pieces(found.get("initial", ""), anywhere, found.get("final", ""))


def _extensible(entry: Entry, value: Any) -> bool | None:
    """RFC 4511 §4.5.1.7.7: equality by a named rule, of one type or of all that have it, in the name too if asked."""
    wanted = text(value["matchingRule"]) if value.get("matchingRule") is not None else ""
    rules = {rule for rule, oid in RULE_OIDS.items() if wanted.lower() in (rule.lower(), oid)}
    if wanted and not rules:
        return None
    known = types(text(value["type"])) if value.get("type") is not None else None
    try:
        asserted = value["matchValue"].decode()
    except UnicodeDecodeError:
        return None
    results = [
        equals(one, held, asserted)
        for one, held in _held(entry, bool(value.get("dnAttributes")))
        if (known is None or one in known) and (not rules or rule_of(one) in rules)
    ]
    if True in results:
        return True
    return None if known == () or (known is None and not rules) else False


def _held(entry: Entry, of_the_name: bool) -> Iterator[tuple[AttributeType, list[str]]]:
    for name, values in entry.attributes.items():
        yield types(name)[0], [item for item in values if isinstance(item, str)]
    if of_the_name:
        for part in names.parse(entry.name):
            for kind, item in part:
                for one in types(kind)[:1]:
                    yield one, [item]


def mentions(asked: Filter, name: str) -> bool:
    """Whether a filter asks for an attribute of this type."""
    kind, value = asked
    if kind in ("and", "or"):
        return any(mentions(part, name) for part in value)
    if kind == "not":
        return mentions(value, name)
    if kind is None:
        return False
    description = value if kind == "present" else value.get("attributeDesc") or value.get("type") or b""
    return name in [one.name for one in types(text(description))]


def text(octets: bytes) -> str:
    """An attribute description; what is no UTF-8 names nothing."""
    return octets.decode("utf-8", "replace")
