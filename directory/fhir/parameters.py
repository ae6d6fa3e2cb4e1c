"""Reads what a search asks (FHIR R4 §3.1.1): bytes of a query or form in, a Question out. Pure; all bounds are here.

    search    = parameter *( "&" parameter )
    parameter = name [ "." chained ] [ ":" modifier ] "=" value *( "," value )
    value     = [ prefix / system "|" ] text, in which "\\," "\\|" "\\$" "\\\\" stand for the sign itself (§3.1.1.4.0)

A parameter that is unknown is kept aside, so that the caller may ignore it or refuse it (§3.1.1.4.1, Prefer: handling);
a modifier or a value that is not understood is always refused. Repeated parameters must all hold; values parted by
commas may be one or the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from directory.fhir.names import Type
from directory.fhir.outcome import invalid, not_supported, too_costly

QUERY_BYTES = 8 * 1024  # of a query, or of a form
PARAMETERS = 40
CRITERIA = 10  # of them that look for something
VALUES = 20  # "or" of one parameter
VALUE_CHARACTERS = 300
COUNT = 50  # as the national directory answers by default
LARGEST_COUNT = 200
CURSOR_CHARACTERS = 2_000

STRING_MODIFIERS = ("", "exact", "contains")
# Parameters of each type, and the modifiers of each. What is chained stands under the name before the dot.
_COMMON = {"_id": ("",), "_lastUpdated": ("",), "active": ("",), "mailbox-mss": STRING_MODIFIERS}
_NAMES = {"family": STRING_MODIFIERS, "given": STRING_MODIFIERS, "name": STRING_MODIFIERS}
_MAIL = {"mailbox-mss-type": ("",), "telecom": ("",), "email": ("",)}
_ADDRESS = {"address": ("",), "address-city": ("", "exact"), "address-postalcode": ("", "exact")}
KNOWN: dict[Type, dict[str, tuple[str, ...]]] = {
    Type.PRACTITIONER: {**_COMMON, **_NAMES, **_MAIL, "identifier": ("",), "qualification-code": ("",)},
    Type.ROLE: {
        **_COMMON,
        **_MAIL,
        **dict.fromkeys(("practitioner", "organization", "specialty", "role"), ("",)),
        **{f"practitioner.{name}": how for name, how in (_NAMES | {"identifier": ("",)}).items()},
        **{
            f"organization.{name}": how
            for name, how in (_ADDRESS | {"identifier": ("",), "name": STRING_MODIFIERS}).items()
        },
    },
    Type.ORGANIZATION: {
        **_COMMON,
        **_MAIL,
        **_ADDRESS,
        **dict.fromkeys(("identifier", "type", "partof"), ("",)),
        "name": STRING_MODIFIERS,
    },
    Type.SERVICE: {**_COMMON, "organization": ("",)},
}
INCLUDES: dict[Type, tuple[str, ...]] = {
    Type.PRACTITIONER: (),
    Type.ROLE: ("PractitionerRole:practitioner", "PractitionerRole:organization"),
    Type.ORGANIZATION: ("Organization:partof",),
    Type.SERVICE: ("HealthcareService:organization",),
}
REVINCLUDES: dict[Type, tuple[str, ...]] = {
    Type.PRACTITIONER: ("PractitionerRole:practitioner",),
    Type.ROLE: (),
    Type.ORGANIZATION: ("PractitionerRole:organization", "HealthcareService:organization", "Organization:partof"),
    Type.SERVICE: (),
}
_TYPED = {"practitioner": "Practitioner", "organization": "Organization"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_PARAMETER = re.compile(r"[A-Za-z0-9_.:-]{1,60}", re.ASCII)
_ELEMENT = re.compile(r"[A-Za-z]{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Criterion:
    """One parameter that looks for something; one of the `values` must fit."""

    name: str
    modifier: str
    values: tuple[str, ...]

    @property
    def written(self) -> str:
        return f"{self.name}:{self.modifier}" if self.modifier else self.name


@dataclass(frozen=True, slots=True)
class Question:
    """A search as it was understood. `asked` is what of it a link repeats; `ignored` the parameters not understood."""

    type: Type
    criteria: tuple[Criterion, ...]
    count: int
    includes: tuple[str, ...]
    elements: tuple[str, ...]
    count_only: bool
    total: bool
    cursor: str
    asked: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]


def pairs(query: bytes) -> list[tuple[str, str]]:
    """(name, value) of a query or form. Raises Refusal: too long, too many, no UTF-8, a control character."""
    if len(query) > QUERY_BYTES:
        raise too_costly(f"More than {QUERY_BYTES} bytes are asked at once.")
    found: list[tuple[str, str]] = []
    for piece in query.split(b"&"):
        if not piece:
            continue
        if len(found) == PARAMETERS:
            raise too_costly(f"More than {PARAMETERS} parameters.")
        name, _, value = piece.partition(b"=")
        found.append((_text(name), _text(value)))
    return found


def _text(octets: bytes) -> str:
    try:
        text = unquote_to_bytes(octets.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise invalid("The query is not written in UTF-8.") from None
    if _CONTROL.search(text):
        raise invalid("The query holds a control character.")
    return text


def question(kind: Type, asked: Iterable[tuple[str, str]]) -> Question:
    """Understand the parameters of a search. Raises Refusal for what is wrong, never for what is only unknown."""
    criteria: list[Criterion] = []
    kept: list[tuple[str, str]] = []
    ignored: list[str] = []
    includes: dict[str, None] = {}
    count, elements, cursor = COUNT, "", ""
    count_only = total = False
    for name, value in asked:
        if not value:
            continue  # §3.1.1.4: an empty parameter is as one that is not there
        if name in {"_include", "_revinclude"}:
            includes.update(dict.fromkeys(_includes(kind, name, value)))
        elif name == "_count":
            count = _count(value)
        elif name == "_elements":
            elements = _elements(value)
        elif name == "_total":
            total = _one_of(name, value, ("none", "estimate", "accurate")) == "accurate"
        elif name == "_summary":
            count_only = _one_of(name, value, ("false", "count")) == "count"
        elif name == "_page":
            cursor = _cursor(value)
            continue
        elif name == "_format":
            continue  # decided before the search
        elif criterion := _criterion(kind, name, value):
            criteria.append(criterion)
        else:
            ignored.append(name if _PARAMETER.fullmatch(name) else "(no name of a parameter)")
            continue
        kept.append((name, value))
    if len(criteria) > CRITERIA:
        raise too_costly(f"More than {CRITERIA} parameters that look for something.")
    return Question(
        kind,
        tuple(criteria),
        count,
        tuple(includes),
        tuple(elements.split(",")) if elements else (),
        count_only or count == 0,
        total,
        cursor,
        tuple(kept),
        tuple(dict.fromkeys(ignored)),
    )


def _criterion(kind: Type, name: str, value: str) -> Criterion | None:
    base, _, chained = name.partition(".")
    if chained:
        reference, _, typed = base.partition(":")
        if typed and _TYPED.get(reference) != typed:
            return None
        if "." in chained:
            raise not_supported("A chain of more than one step is not served.")
        bare, _, modifier = chained.partition(":")
        bare = f"{reference}.{bare}"
    else:
        bare, _, modifier = base.partition(":")
        if _TYPED.get(bare) == modifier:  # organization:Organization=…
            modifier = ""
    modifiers = KNOWN[kind].get(bare)
    if modifiers is None:
        return None
    if modifier not in modifiers:
        raise not_supported(f"The parameter {bare} is not served with this modifier.")
    values = tuple(one for one in values_of(value) if one)
    if len(values) > VALUES:
        raise too_costly(f"More than {VALUES} values of one parameter.")
    if any(len(one) > VALUE_CHARACTERS for one in values):
        raise too_costly(f"A value of more than {VALUE_CHARACTERS} characters.")
    return Criterion(bare, modifier, values) if values else None


def values_of(text: str) -> list[str]:
    """What commas part; an escaped comma, dollar or backslash is the sign itself, an escaped bar stays so."""
    values = [""]
    signs = iter(text)
    for sign in signs:
        if sign == "\\":
            escaped = next(signs, "")
            values[-1] += escaped if escaped in {",", "$", "\\"} else sign + escaped
        elif sign == ",":
            values.append("")
        else:
            values[-1] += sign
    return values


def token(value: str) -> tuple[str | None, str]:
    """(system, code) of a token: "a|b", "|b" (no system: ""), "b" (any system: None)."""
    found = re.match(r"((?:[^\\|]|\\.)*)\|(.*)", value)
    if found is None:
        return None, value.replace("\\|", "|")
    return found[1].replace("\\|", "|"), found[2].replace("\\|", "|")


def _includes(kind: Type, name: str, value: str) -> tuple[str, ...]:
    served = (INCLUDES if name == "_include" else REVINCLUDES)[kind]
    if value == "*" and name == "_include":
        return served
    if value not in served:
        raise not_supported(f"This {name} is not served.")
    return (value,)


def _count(value: str) -> int:
    # §3.1.1.5.2: the server may answer fewer than asked for, never more.
    if _NUMBER.fullmatch(value) is None:
        raise invalid("_count is a number from 0 on.")
    return min(int(value), LARGEST_COUNT)


def _elements(value: str) -> str:
    if not all(_ELEMENT.fullmatch(one) for one in value.split(",")):
        raise invalid("_elements names elements at the top of a resource, parted by commas.")
    return value


def _one_of(name: str, value: str, served: tuple[str, ...]) -> str:
    if value not in served:
        raise not_supported(f"{name} is one of {', '.join(served)}.")
    return value


def _cursor(value: str) -> str:
    if len(value) > CURSOR_CHARACTERS:
        raise invalid("This is no page of ours.")
    return value
