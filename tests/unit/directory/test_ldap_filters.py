"""Filters on entries: against a plain model of RFC 4511 §4.5.1.7, and against what the plan of each means."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from directory.indexing import Field
from directory.ldap.entries import Entry
from directory.ldap.filters import Filter, fits
from directory.ldap.plan import EVERY, NONE, Address, Word, indexed, plan
from tests.ldap_index import ENTRIES, ROWS, TREE, means

NAMED = {"cn": "words", "sn": "words", "l": "words", "mail": "address", "uid": "plain", "telephoneNumber": "digits"}
NAMES = ["Jean-Pierre", "jean", "LE GOFF", "le goff", "Lefèvre", "lefevre", "d'Arc", "arc", "pierre le", "É", "œting"]
ODD = ["", " ", "-", "a.b@x.fr", "A.B@X.FR", "b", "01 99 00 00 01", "0199000001", "*", "(", "\\", "\0", "oeting"]
TEXTS = st.sampled_from([*NAMES, *ODD])
VALUES = st.lists(TEXTS.filter(bool), min_size=1, max_size=2)
KINDS = st.sampled_from([*NAMED, "CN", "surname", "2.5.4.3", "nothing"])


def assertion(kind: str, value: str) -> dict[str, bytes]:
    return {"attributeDesc": kind.encode(), "assertionValue": value.encode()}


@st.composite
def pieces(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    texts = [text.encode() for text in draw(st.lists(TEXTS.filter(bool), min_size=1, max_size=4))]
    kinds = ["any"] * len(texts)
    if draw(st.booleans()):
        kinds[0] = "initial"
    if draw(st.booleans()) and (len(texts) > 1 or kinds[0] == "any"):
        kinds[-1] = "final"
    return list(zip(kinds, texts, strict=True))


LEAVES: st.SearchStrategy[Filter] = st.one_of(
    st.builds(lambda kind: ("present", kind.encode()), KINDS),
    st.builds(lambda kind, value: ("equalityMatch", assertion(kind, value)), KINDS, TEXTS),
    st.builds(lambda kind, some: ("substrings", {"type": kind.encode(), "substrings": some}), KINDS, pieces()),
    st.builds(lambda kind, value: ("greaterOrEqual", assertion(kind, value)), KINDS, TEXTS),
)
FILTERS: st.SearchStrategy[Filter] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda some: ("and", some), st.lists(inner, max_size=3)),
        st.builds(lambda some: ("or", some), st.lists(inner, max_size=3)),
        st.builds(lambda one: ("not", one), inner),
    ),
    max_leaves=8,
)


class Model:
    """The same rules, told in another way: values become texts of words, pieces a regular expression."""

    def __init__(self, attributes: dict[str, list[str]]) -> None:
        self.attributes = {kind.lower(): values for kind, values in attributes.items()}

    def value(self, asked: Filter) -> bool | None:
        kind, inner = asked
        if kind == "not":
            found = self.value(inner)
            return None if found is None else not found
        if kind == "and":
            some = [self.value(one) for one in inner]
            return False if False in some else (None if None in some else True)
        if kind == "or":
            some = [self.value(one) for one in inner]
            return True if True in some else (None if None in some else False)
        described = inner if kind == "present" else inner["type" if kind == "substrings" else "attributeDesc"]
        name = {"surname": "sn", "2.5.4.3": "cn"}.get(described.decode().lower(), described.decode().lower())
        known = {one.lower(): form for one, form in NAMED.items()}
        if name not in known:
            return None
        values = self.attributes.get(name, [])
        if kind == "present":
            return bool(values)
        if kind == "greaterOrEqual":
            return None  # none of these types is ordered
        form = known[name]
        held = [self.form(form, one) for one in values]
        if kind == "equalityMatch":
            wanted = self.form(form, inner["assertionValue"].decode())
            return wanted != "" and wanted in held
        some = [(where, self.form(form, piece.decode())) for where, piece in inner["substrings"]]
        if not all(piece for _, piece in some):
            return False
        return any(self.stands(form, one, some) for one in held)

    def stands(self, form: str, value: str, some: list[tuple[str, str]]) -> bool:
        pattern = "" if some[0][0] == "initial" else "(?s:.*?)"
        for place, (where, piece) in enumerate(some):
            begins = "" if where == "initial" or not piece[0].isalnum() else r"(?<![^\W_])"
            inside = "" if where != "any" or "@" in piece or "@" not in value else "(?=[^@]*@)"
            pattern += begins + re.escape(piece) + inside
            last = place == len(some) - 1
            pattern += "" if last and where == "final" else "(?s:.*?)"
        return re.fullmatch(pattern, value) is not None

    def form(self, form: str, text: str) -> str:
        bare = "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))
        bare = bare.replace("œ", "oe")
        if form == "words":
            return " ".join(re.findall("[a-z0-9]+", bare))
        if form == "plain":
            return " ".join(bare.split())
        if form == "digits":
            return re.sub("[^0-9+]", "", text)
        return text.strip().lower()


@settings(max_examples=300, deadline=None)
@given(attributes=st.dictionaries(st.sampled_from([*NAMED]), VALUES), asked=FILTERS)
def test_a_filter_says_what_the_model_says(attributes: dict[str, list[str]], asked: Filter) -> None:
    assert fits(Entry("uid=1", attributes), asked) == Model(attributes).value(asked)


WORDS = st.sampled_from(
    ["jean", "pierre", "pi", "jean-pierre", "le", "goff", "legoff", "cardio", "saint", "etienne", "42000", "cabinet"]
)
ASKED = st.sampled_from(
    ["cn", "sn", "givenName", "displayName", "o", "title", "caduceeSpecialty", "l", "postalCode", "ou", "mail"]
)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), depth=st.integers(0, 2))
def test_what_a_filter_fits_its_plan_means(data: st.DataObject, depth: int) -> None:
    def leaf() -> Filter:
        kind, word = data.draw(ASKED), data.draw(st.lists(WORDS, min_size=1, max_size=2).map(" ".join))
        if data.draw(st.booleans()):
            return ("approxMatch" if data.draw(st.booleans()) else "equalityMatch"), assertion(kind, word)
        where = data.draw(st.sampled_from(["initial", "any", "final"]))
        return "substrings", {"type": kind.encode(), "substrings": [(where, word.encode())]}

    def tree(depth: int) -> Filter:
        if not depth:
            return leaf()
        kind = data.draw(st.sampled_from(["and", "or", "not"]))
        return (kind, tree(depth - 1)) if kind == "not" else (kind, [tree(depth - 1) for _ in range(2)])

    asked = tree(depth)
    for (entry, held, row), told in zip(ENTRIES, ROWS, strict=True):
        assert told is row
        if fits(entry, asked):
            assert means(plan(asked, person=bool(row["national_id"])), held, row)


def substrings(kind: str, *some: tuple[str, str]) -> Filter:
    return "substrings", {"type": kind.encode(), "substrings": [(where, piece.encode()) for where, piece in some]}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("equalityMatch", assertion("sn", "Le Goff")), True),
        (("equalityMatch", assertion("givenName", "jean pierre")), True),
        (("equalityMatch", assertion("objectClass", "2.5.6.6")), True),
        (("equalityMatch", assertion("objectClass", "device")), False),
        (("equalityMatch", assertion("telephoneNumber", "01.99.00.00.01")), True),
        (("equalityMatch", assertion("cn;lang-fr", "Jean-Pierre LE GOFF")), None),
        (("equalityMatch", {"attributeDesc": b"cn", "assertionValue": b"\xff"}), None),
        (substrings("cn", ("any", "goff")), True),
        (substrings("cn", ("any", "off")), False),  # inside a word
        (substrings("cn", ("initial", "jean"), ("any", "pi"), ("final", "goff")), True),
        (substrings("cn", ("final", "goff"), ("initial", "jean")), None),  # RFC 4511 §4.5.1.7.2: out of order
        (substrings("mail", ("any", "legoff@")), True),
        (substrings("mail", ("any", "exemple")), False),  # nobody is called by the operator's domain
        (substrings("mail", ("final", "@msg.exemple.fr")), True),
        (("approxMatch", assertion("sn", "le gof")), True),
        (("approxMatch", assertion("caduceeSpecialty", "cardiolgie")), True),
        (("approxMatch", assertion("sn", "martin")), False),
        (("greaterOrEqual", assertion("caduceeNationalId", "8")), True),
        (("lessOrEqual", assertion("caduceeNationalId", "8")), False),
        (("greaterOrEqual", assertion("cn", "a")), None),
        (("extensibleMatch", {"type": b"sn", "matchValue": b"le goff"}), True),
        (("extensibleMatch", {"matchingRule": b"2.5.13.2", "matchValue": b"le goff"}), True),
        (("extensibleMatch", {"type": b"ou", "matchValue": b"personnes", "dnAttributes": True}), True),
        (("extensibleMatch", {"type": b"ou", "matchValue": b"personnes"}), False),
        (("extensibleMatch", {"matchingRule": b"1.2.3", "type": b"sn", "matchValue": b"le goff"}), None),
        (("equalityMatch", assertion("entryDN", f"UID=889990000013:10:R10000000001, {TREE.people}")), True),
        (("present", b"userCertificate;binary"), False),
        (("present", b"name"), True),
        ((None, None), None),  # kinds that may be added
        (("not", (None, None)), None),
        (("substrings", {"type": b"cn", "substrings": [(None, None)]}), None),
        (("and", []), True),  # RFC 4526
        (("or", []), False),
    ],
)
def test_filters_on_a_person(asked: Filter, expected: bool | None) -> None:
    assert fits(ENTRIES[0][0], asked) is expected


def test_what_no_index_narrows_is_known() -> None:
    def narrowed(asked: Any) -> bool:
        return indexed(plan(asked, person=True))

    name, phone = substrings("cn", ("any", "go")), ("equalityMatch", assertion("telephoneNumber", "1"))
    assert plan(name, person=True) == Word("go", (Field.LAST_NAME, Field.FIRST_NAME), begun=True)
    assert narrowed(("and", [name, phone]))
    assert not narrowed(("or", [name, phone]))
    assert not narrowed(("not", name))
    assert plan(("present", b"nothing"), person=True) == NONE
    assert plan(("present", b"cn"), person=True) == EVERY
    assert not narrowed(("and", [("present", b"mail"), phone]))
    assert plan(substrings("mail", ("any", "dr.le")), person=True) == Address(words=("dr", "le"))
    assert plan(("equalityMatch", assertion("sn", "x")), person=False) == NONE
