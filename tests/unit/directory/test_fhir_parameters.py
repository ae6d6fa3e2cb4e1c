"""The grammar of a search: what is understood, what is left aside, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from directory.fhir import queries, walking
from directory.fhir.answering import accepts
from directory.fhir.dates import Range, moments
from directory.fhir.names import Type, id_of, key_of, service_id
from directory.fhir.outcome import Refusal
from directory.fhir.parameters import (
    COUNT,
    LARGEST_COUNT,
    PARAMETERS,
    QUERY_BYTES,
    Question,
    pairs,
    question,
    token,
    values_of,
)
from directory.fhir.planning import plan


def ask(query: str, kind: Type = Type.PRACTITIONER) -> Question:
    return question(kind, pairs(query.encode()))


def refused(query: str, kind: Type = Type.PRACTITIONER) -> str:
    def understand() -> None:
        asked = ask(query, kind)
        walking.read(asked.cursor, asked, plan(asked))

    with pytest.raises(Refusal) as caught:
        understand()
    return caught.value.code


def test_escapes_stand_for_the_sign_itself() -> None:
    assert values_of(r"a\,b,c\$d\\e,f\|g") == ["a,b", r"c$d\e", r"f\|g"]
    assert token(r"https://a|b\|c") == ("https://a", "b|c")
    assert token("|b") == ("", "b")
    assert token(r"a\|b") == (None, "a|b")


def test_parameters_are_and_and_commas_are_or() -> None:
    asked = ask("family=Martin,Durand&family:exact=MARTIN&given=&foo=1&foo=2&_elements=name")
    assert [(one.written, one.values) for one in asked.criteria] == [
        ("family", ("Martin", "Durand")),
        ("family:exact", ("MARTIN",)),
    ]
    assert asked.ignored == ("foo",)
    assert asked.asked == (("family", "Martin,Durand"), ("family:exact", "MARTIN"), ("_elements", "name"))
    assert (asked.count, asked.elements) == (COUNT, ("name",))


def test_a_giant_count_is_bounded() -> None:
    assert ask("_count=999999999").count == LARGEST_COUNT
    assert ask("_count=0").count_only
    assert refused("_count=-1") == "invalid"
    assert refused("_count=1e9") == "invalid"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("family:sounds=martin", "not-supported"),
        ("identifier:contains=1", "not-supported"),
        ("family=%ff", "invalid"),
        ("family=a%00b", "invalid"),
        ("_lastUpdated=yesterday", "invalid"),
        ("_lastUpdated=ge2026-13", "invalid"),
        ("_lastUpdated=ap2026", "not-supported"),
        ("_lastUpdated=2026,2027", "invalid"),
        ("active=perhaps", "invalid"),
        ("_include=Practitioner:friend", "not-supported"),
        ("_summary=text", "not-supported"),
        ("_page=zzzz", "invalid"),
        ("name:contains=goff", "too-costly"),
        ("mailbox-mss:contains=dupont", "too-costly"),
        ("family=" + "a" * 301, "too-costly"),
        ("family=" + ",".join(["a"] * 21), "too-costly"),
        ("&".join(["family=a"] * 11), "too-costly"),
        ("&".join(["foo=a"] * (PARAMETERS + 1)), "too-costly"),
        ("family=" + "a" * QUERY_BYTES, "too-costly"),
    ],
)
def test_what_is_refused(query: str, code: str) -> None:
    assert refused(query) == code


def test_chains_go_one_step() -> None:
    asked = ask("practitioner.family=martin&organization:Organization.address-city=Lyon", Type.ROLE)
    assert [one.name for one in asked.criteria] == ["practitioner.family", "organization.address-city"]
    assert refused("practitioner.organization.name=a", Type.ROLE) == "not-supported"
    assert ask("organization:Practitioner.name=a", Type.ROLE).ignored == ("organization:Practitioner.name",)
    assert refused("role=L", Type.ROLE) == "too-costly"
    assert refused("practitioner=Patient/1", Type.ROLE) == "invalid"


def test_dates_are_as_wide_as_they_are_written() -> None:
    day, next_day = datetime(2026, 11, 26, tzinfo=UTC), datetime(2026, 11, 27, tzinfo=UTC)
    assert moments("2026-11-26") == Range(day, next_day)
    assert moments("gt2026-11-26") == Range(next_day, None)
    assert moments("ge2026-11-26") == Range(day, None)
    assert moments("lt2026-11-26") == Range(None, day)
    assert moments("le2026-11-26") == Range(None, next_day)
    assert moments("2026-12") == Range(datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert moments("2026-11-26T01:00:00+01:00").start == day
    assert moments("ge2026-11-26T00:00:00.5Z").start == day.replace(microsecond=500_000)
    assert moments("2026").end == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_place_is_bound_to_its_question() -> None:
    asked, other = ask("family=martin"), ask("family=durand")
    place = walking.Place(0, ("martin", "claire", "810"))
    text = walking.written(place, asked)
    assert walking.read(text, asked, plan(asked)) == place
    assert walking.read(text, ask("family=martin&_count=7"), plan(asked)) == place
    with pytest.raises(Refusal):
        walking.read(text, other, plan(other))
    with pytest.raises(Refusal):
        walking.read(walking.written(walking.Place(0, ("martin",)), asked), asked, plan(asked))


def test_ids_stand_for_keys_both_ways() -> None:
    for key, made in (("810003461033", "810003461033"), ("3750012345/12", "3750012345-2f12"), ("é-", "-c3-a9-2d")):
        assert id_of(key) == made
        assert key_of(made) == key
    assert id_of("/" * 22) is None
    for made in ("", "a.b", "-2F", "-41", "-ff", "a" * 65):
        assert key_of(made) is None
    assert len(service_id("a@b.fr")) == 32


def test_what_a_client_accepts() -> None:
    for wanted in ("json", "application/fhir+json", "application/fhir json"):
        accepts([("_format", wanted)], "text/html")
    for accept in ("", "*/*", "application/fhir+json;fhirVersion=4.0, text/html", "application/json"):
        accepts([], accept)
    for formats, accept in (
        ([("_format", "xml")], "application/json"),
        ([], "application/fhir+xml"),
        ([], "text/turtle"),
    ):
        with pytest.raises(Refusal) as caught:
            accepts(formats, accept)
        assert caught.value.status == 406


def test_a_page_of_a_walk_asks_each_value_once() -> None:
    [branch] = plan(ask("family=martin"))
    sql, values = queries.page(branch.walk, branch.where, branch.fits, ("martin", "a", "8"), 51)
    assert values == ["martin", "martin\U0010ffff", "martin", "a", "8", 51]
    assert sql.endswith("LIMIT $6")
