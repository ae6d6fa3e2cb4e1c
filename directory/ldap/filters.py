"""Whether an entry fits a filter: RFC 4511 §4.5.1.7, three-valued; None is Undefined.

A filter is what the ASN.1 of RFC 4511 decodes to: a pair of its kind and what that holds. It is as deep as the message
was let be; octets that are no UTF-8 fit nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from directory.folding import words
from directory.ldap import names
from directory.ldap.entries import EVERY_KIND, Entry
from directory.ldap.schema import RULE_OIDS, AttributeType, class_named, rule_of, types
from directory.ldap.values import PREPARED, Form, about, stands_in

Filter: TypeAlias = tuple[str | None, Any]
Fitting: TypeAlias = Callable[[Entry], bool | None]
Assertion: TypeAlias = Callable[[Sequence[Any]], bool | None]  # of the values that an entry holds of one type


def fits(entry: Entry, asked: Filter) -> bool | None:
    """The filter's value for the entry."""
    return fitting(asked)(entry)


def fitting(asked: Filter) -> Fitting:
    """The filter read once, as a question to ask of many entries: hundreds are looked at for one answer."""
    kind, value = asked
    if kind == "not":
        return _denied(fitting(value))
    if kind in ("and", "or"):
        return _several([fitting(part) for part in value], decisive=kind == "or")
    if kind == "extensibleMatch":
        return lambda entry: _extensible(entry, value)
    if kind is None:  # RFC 4511 §4.5.1.7: a kind that may be added, and that we do not know
        return _undefined
    known = types(text(value if kind == "present" else value["type" if kind == "substrings" else "attributeDesc"]))
    if not known:
        return _undefined
    if kind == "present":
        return lambda entry: any(entry.attributes.get(one.name) for one in known)
    return _any([(one.name, _assertion(one, kind, value)) for one in known])


def _undefined(_: object) -> None:
    return None


def _denied(inner: Fitting) -> Fitting:
    def denied(entry: Entry) -> bool | None:
        found = inner(entry)
        return None if found is None else not found

    return denied


def _several(parts: Sequence[Fitting], *, decisive: bool) -> Fitting:
    def several(entry: Entry) -> bool | None:
        defined = True
        for part in parts:
            found = part(entry)
            if found is decisive:
                return decisive
            defined = defined and found is not None
        return not decisive if defined else None

    return several


def _any(parts: Sequence[tuple[str, Assertion]]) -> Fitting:
    """One value of one type is enough; Undefined only where no type can say."""

    def anyone(entry: Entry) -> bool | None:
        results = [assertion(entry.attributes.get(name, ())) for name, assertion in parts]
        if True in results:
            return True
        return False if False in results else None

    return anyone


def _assertion(one: AttributeType, kind: str, value: Any) -> Assertion:
    """What is asserted of the values of a type. Of a type that holds octets nothing can be: it has no rule."""
    if kind == "substrings":
        return _substrings(one, value["substrings"])
    try:
        asserted = value["assertionValue"].decode()
    except UnicodeDecodeError:
        return _undefined
    if kind in ("greaterOrEqual", "lessOrEqual"):
        return _ordering(one, asserted, greater=kind == "greaterOrEqual")
    if kind == "approxMatch" and one.form is Form.WORDS:
        near = words(asserted)
        return lambda held: any(about(item, near) for item in held)
    return _equality(one, asserted)


def equals(one: AttributeType, values: Sequence[str], asserted: str) -> bool | None:
    """Whether one of a type's values equals what is asserted, by the type's rule; None: that is no value of it."""
    return _equality(one, asserted)(values)


def _equality(one: AttributeType, asserted: str) -> Assertion:
    if one.form is Form.NAME:
        return lambda held: _is_name(held, asserted)
    prepare: Callable[[str], str] | None = class_named if one.form is Form.OBJECT_CLASS else PREPARED.get(one.form)
    if prepare is None:
        return _undefined
    wanted = prepare(asserted)
    return lambda held: bool(wanted) and any(prepare(item) == wanted for item in held)


def _is_name(values: Sequence[str], asserted: str) -> bool | None:
    try:
        name = names.parse(asserted)
        return any(names.parse(item) == name for item in values)
    except names.InvalidName:
        return None


def _ordering(one: AttributeType, asserted: str, *, greater: bool) -> Assertion:
    if not one.ordered:
        return _undefined
    prepare = PREPARED[one.form]
    least = prepare(asserted)
    return lambda held: any(prepare(item) >= least if greater else prepare(item) <= least for item in held)


def _substrings(one: AttributeType, given: Sequence[tuple[str | None, bytes]]) -> Assertion:
    prepare = PREPARED.get(one.form)
    pieces = pieces_of(given)
    if prepare is None or pieces is None:
        return _undefined
    initial, final = prepare(pieces.initial), prepare(pieces.final)
    anywhere = [prepare(piece) for piece in pieces.anywhere]
    if not all(anywhere) or (pieces.initial and not initial) or (pieces.final and not final):
        return lambda held: False  # a piece of signs that are not compared
    return lambda held: any(stands_in(prepare(item), initial, anywhere, final) for item in held)


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


def mentioned(asked: Filter) -> frozenset[str]:
    """The attributes that a filter looks at, by their types' first names."""
    kind, value = asked
    if kind in ("and", "or"):
        return frozenset().union(*map(mentioned, value))
    if kind == "not":
        return mentioned(value)
    if kind is None:
        return frozenset()
    if kind == "extensibleMatch" and value.get("type") is None:
        return EVERY_KIND
    description = value if kind == "present" else value.get("attributeDesc") or value.get("type")
    return frozenset(one.name for one in types(text(description)))


def text(octets: bytes) -> str:
    """An attribute description; what is no UTF-8 names nothing."""
    return octets.decode("utf-8", "replace")
