"""The FHIR API on a real PostgreSQL, from the published files to the answer."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given, settings
from hypothesis import strategies as st

from directory.fhir import profiles, walking
from directory.fhir.answering import Answer, Request, answer
from directory.fhir.conditions import folded
from directory.load import load
from server.db.embedded import EmbeddedPostgres
from server.db.grants import make_users
from tests.conftest import TEMPLATE
from tests.directory_sample import write

BASE = "https://msg.exemple.fr/fhir"
RPPS_OF_MARTIN = "89990000013"
MARTIN = f"8{RPPS_OF_MARTIN}"


class Client:
    """Asks as the socket's side does, and checks every answer: its structure, the links, the codes."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def ask(self, path: str, query: str = "", method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        parts = tuple(part for part in path.split("/") if part)
        return await answer(self.connection, Request(method, BASE, parts, query.encode(), told, body))

    async def search(self, query: str, **headers: str) -> dict[str, Any]:
        path, _, asked = query.partition("?")
        found = await self.ask(path, asked, **headers)
        assert found.status == 200, found.body
        assert found.body is not None
        Bundle.model_validate(found.body)
        for resource in resources(found.body):
            assert list(profiles.unknown_codes(resource)) == []
            assert "meta" in resource
        return found.body

    async def ids(self, query: str) -> list[str]:
        return ids(await self.search(query))

    async def refused(self, query: str, **headers: str) -> tuple[int, str]:
        path, _, asked = query.partition("?")
        found = await self.ask(path, asked, **headers)
        assert found.body is not None
        assert found.body["resourceType"] == "OperationOutcome"
        return found.status, found.body["issue"][0]["code"]

    async def pages(self, query: str, follow: str = "next") -> list[list[str]]:
        """The ids of each page, following links to the end."""
        pages = []
        while query:
            bundle = await self.search(query)
            pages.append(ids(bundle))
            query = link(bundle, follow)
        return pages


def resources(bundle: dict[str, Any], mode: str = "match") -> list[dict[str, Any]]:
    return [one["resource"] for one in bundle.get("entry", ()) if one["search"]["mode"] == mode]


def ids(bundle: dict[str, Any]) -> list[str]:
    return [one["id"] for one in resources(bundle)]


def link(bundle: dict[str, Any], relation: str) -> str:
    """What a link asks, below the base; an empty text: there is no such link."""
    urls = [one["url"] for one in bundle["link"] if one["relation"] == relation]
    if not urls:
        return ""
    parts = urlsplit(urls[0])
    return f"{parts.path.removeprefix('/fhir/')}?{parts.query}"


@pytest.fixture(scope="module")
def loaded(cluster: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a small directory, loaded once for the tests of this file, which only read it but the last."""
    name = "fhir"
    files = write(tmp_path_factory.mktemp("national"), people=80)

    async def make() -> None:
        admin = await asyncpg.connect(cluster.dsn())
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
        await admin.close()
        owner = await asyncpg.connect(cluster.dsn(database=name))
        await make_users(owner, cluster.home / "keys")
        await load(owner, files, datetime.now(UTC))
        await owner.close()

    asyncio.run(make())
    return name  # the cluster is removed with all its databases


@pytest.fixture
async def client(cluster: EmbeddedPostgres, loaded: str) -> AsyncIterator[Client]:
    """As the web role asks: it may read the directory and no more."""
    reader = await asyncpg.connect(cluster.dsn("web", loaded))
    yield Client(reader)
    await reader.close()


async def test_searches_find_what_they_say(client: Client) -> None:
    [martin] = await client.ids("Practitioner?family=martin&given=claire")
    assert martin == MARTIN
    for query in (
        f"identifier={RPPS_OF_MARTIN}",
        f"identifier=https://rpps.esante.gouv.fr|{RPPS_OF_MARTIN}",
        f"identifier=urn:oid:1.2.250.1.71.4.2.1|{MARTIN}",
        "name=Claire Mart",
        "name=Dr MARTIN Claire",
        "family:exact=MARTIN&given:exact=Claire",
        "name=martin&given:contains=LAIR",
        f"_id={MARTIN},810000000000",
        f"_id={MARTIN}&qualification-code=SM54&active=true",
        "family=martin&given=Claire&mailbox-mss-type=CAB,PER&_count=1&foo=1",
    ):
        found = await client.ids(f"Practitioner?{query}")
        assert found == ([] if "mailbox" in query else [MARTIN]), query
    for query in (f"identifier=https://adeli.esante.gouv.fr|{RPPS_OF_MARTIN}", "identifier=a:b|1", "family=***"):
        assert await client.ids(f"Practitioner?{query}") == []
    # A mailbox tied to a place of practice is the activity's.
    [role] = await client.ids("PractitionerRole?mailbox-mss=claire.martin@msg.exemple.fr")
    for query in (
        f"practitioner={MARTIN}",
        f"practitioner=Practitioner/{MARTIN}",
        f"practitioner={BASE}/Practitioner/{MARTIN}",
        "practitioner.family=martin&practitioner.given=claire",
        f"practitioner.identifier={RPPS_OF_MARTIN}",
        "practitioner.name=claire martin&organization.address-postalcode=69003",
        "organization.name=cabinet du docteur martin&organization.address-city=lyon&specialty=SM54&role=L",
        "telecom=email|Claire.Martin@msg.exemple.fr&mailbox-mss-type=PER",
    ):
        assert await client.ids(f"PractitionerRole?{query}") == [role], query
    [pharmacy] = await client.ids("Organization?name=Pharmacie du centre&address-city=Lyon")
    for query in (
        "mailbox-mss:exact=pharmacie.centre@msg.exemple.fr",
        f"_id={pharmacy}",
        "name=pharmacie&address=69003&type=SA33",
    ):
        assert await client.ids(f"Organization?{query}") == [pharmacy], query
    assert pharmacy in await client.ids("Organization?mailbox-mss:contains=@msg.ex")
    [service] = resources(await client.search(f"HealthcareService?organization={pharmacy}"))
    assert service["name"] == "Officine"
    assert (await client.ask(f"HealthcareService/{service['id']}")).body == service


async def test_one_or_other_finds_each_once(client: Client) -> None:
    everybody = await client.ids("Practitioner?_count=200")
    assert len(everybody) == len(set(everybody)) == 86
    doctors = set(await client.ids("Practitioner?qualification-code=10&_count=200"))
    assert set(await client.ids("Practitioner?qualification-code=10,SM54,21&_count=200")) >= doctors
    for query in (
        "family=martin,mart,le",
        "name=jean,le goff,m",
        "given=jean,jean-pierre,a",
        "qualification-code=10,SM54,SM26",
    ):
        found = await client.ids(f"Practitioner?{query}&_count=200")
        assert len(found) == len(set(found)), query
        alone: set[str] = set()
        name, _, values = query.partition("=")
        for value in values.split(","):
            alone |= set(await client.ids(f"Practitioner?{name}={value}&_count=200"))
        assert set(found) == alone, query


async def test_pages_hold_everything_once_both_ways(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "STEP", 7)
    monkeypatch.setattr(walking, "SCANNED", 14)  # so that walks are cut inside a page
    for query in (
        "Practitioner?_count=9",
        "Practitioner?name=m,jean&_count=3",
        "PractitionerRole?mailbox-mss-type=PER&_count=4",
        "PractitionerRole?organization.address-city=lyon&specialty=SM54,SM26&_count=2",
        "Organization?address=6&type=SA07&_count=5",
        "PractitionerRole?mailbox-mss:contains=@msg.exemple.fr&_count=10",
    ):
        pages = await client.pages(query)
        assert len(pages) > 1, query
        seen = [one for page in pages for one in page]
        assert len(seen) == len(set(seen)) > 0, query
        whole = await client.pages(query.partition("&_count")[0].partition("?_count")[0])
        assert sorted(one for page in whole for one in page) == sorted(seen), query
        bundle = await client.search(query)
        while link(bundle, "next"):
            bundle = await client.search(link(bundle, "next"))
        back = await client.pages(link(bundle, "self"), "previous")
        assert sorted(one for page in back for one in page) == sorted(seen), query


async def test_includes(client: Client) -> None:
    bundle = await client.search("PractitionerRole?specialty=SM54&_include=*&_count=5")
    beside = {f"{one['resourceType']}/{one['id']}" for one in resources(bundle, "include")}
    referred = {one[name]["reference"] for one in resources(bundle) for name in ("practitioner", "organization")}
    assert beside == referred
    bundle = await client.search(f"Practitioner?_id={MARTIN}&_revinclude=PractitionerRole:practitioner")
    assert [one["practitioner"]["reference"] for one in resources(bundle, "include")] == [f"Practitioner/{MARTIN}"]
    assert (await client.ask("Practitioner", "_count=3")).entries == 3
    part = resources(await client.search(f"Practitioner?_id={MARTIN}&_elements=name"))[0]
    assert part.keys() == {"resourceType", "id", "meta", "name"}
    assert part["meta"]["tag"][0]["code"] == "SUBSETTED"


async def test_totals(client: Client) -> None:
    assert (await client.search("Practitioner?_summary=count"))["total"] == 86
    assert (await client.search("Practitioner?family=martin&_count=0")).get("entry") is None
    assert (await client.search("Practitioner?_count=5&_total=accurate"))["total"] == 86
    assert "total" not in await client.search("Practitioner?_count=5")
    assert (await client.search("Practitioner?family=martin"))["total"] == 4
    assert await client.refused("Practitioner?family=martin&active=true&given:contains=a&_summary=count") == (
        403,
        "too-costly",
    )


async def test_strict_and_lenient(client: Client) -> None:
    lenient = await client.search("Practitioner?family=martin&foo=1&foo.bar=2")
    assert "foo" not in link(lenient, "self")
    assert resources_of_outcome(lenient) == ["not-supported"]
    assert await client.refused("Practitioner?family=martin&foo=1", prefer="respond-async; handling=strict") == (
        400,
        "not-supported",
    )
    posted = await client.ask(
        "Practitioner/_search",
        "given=claire",
        "POST",
        b"family=martin",
        content_type="application/x-www-form-urlencoded",
    )
    assert posted.body is not None
    assert ids(posted.body) == [MARTIN]
    assert link(posted.body, "self") == "Practitioner?given=claire&family=martin"


def resources_of_outcome(bundle: dict[str, Any]) -> list[str]:
    return [
        issue["code"]
        for one in bundle["entry"]
        if one["search"]["mode"] == "outcome"
        for issue in one["resource"]["issue"]
    ]


async def test_what_is_no_search_or_read(client: Client) -> None:
    for path, query, method, headers, expected in (
        ("Patient", "", "GET", {}, (404, "not-supported")),
        ("Practitioner/1/2", "", "GET", {}, (404, "not-found")),
        ("Practitioner/999", "", "GET", {}, (404, "not-found")),
        ("Practitioner/a_b", "", "GET", {}, (404, "not-found")),
        ("PractitionerRole/99999999999999999999999", "", "GET", {}, (404, "not-found")),
        ("Practitioner", "", "POST", {}, (405, "not-supported")),
        (f"Practitioner/{MARTIN}", "", "DELETE", {}, (405, "not-supported")),
        ("Practitioner/_search", "", "POST", {"content_type": "application/json"}, (415, "not-supported")),
        ("Practitioner", "_format=xml", "GET", {}, (406, "not-supported")),
        (f"Practitioner/{MARTIN}", "", "GET", {"accept": "application/fhir+xml"}, (406, "not-supported")),
        ("Practitioner", "family=%ff", "GET", {}, (400, "invalid")),
        ("Practitioner", "_page=' OR 1=1", "GET", {}, (400, "invalid")),
    ):
        found = await client.ask(path, query, method, **headers)
        assert found.body is not None
        assert (found.status, found.body["issue"][0]["code"]) == expected, path
    # What looks like SQL or a pattern is text to look for.
    for text in ("'; DROP TABLE professional --", "%", "_____", "\\", "(.*)", "%24%7Bx%7D", "٣", "Ⅷ"):
        assert await client.ids(f"Practitioner?family={text}") == []


async def test_reading_again_costs_little(client: Client) -> None:
    first = await client.ask(f"Practitioner/{MARTIN}")
    assert first.status == 200
    assert first.headers["Last-Modified"].endswith("GMT")
    again = await client.ask(f"Practitioner/{MARTIN}", if_none_match=f'"x", {first.headers["ETag"]}')
    assert (again.status, again.body, again.entries) == (304, None, 0)


async def test_postgresql_folds_as_python_does(client: Client) -> None:
    latin = st.characters(max_codepoint=0x024F, exclude_categories=("Cs", "Cc"))
    marks = st.sampled_from("̧́ ̈-'’ŒœÆæẞßØøĐđŁłıİÐðÞþﬁℌ①²ªſ")
    collected: list[str] = ["", "LE GOFF", "D'ARC", "Œting", "Saint-Étienne", "ẞ", "Þór"]

    @settings(max_examples=300, database=None)
    @given(st.text(st.one_of(latin, marks), max_size=12))
    def collect(text: str) -> None:
        collected.append(text)

    collect()
    rows = await client.connection.fetch(
        "SELECT said, directory.folded(said) AS folded FROM unnest($1::text[]) AS said", collected
    )
    wrong = [(row["said"], row["folded"], folded(row["said"])) for row in rows if row["folded"] != folded(row["said"])]
    assert wrong == [], [unicodedata.normalize("NFD", one[0]) for one in wrong]


async def test_who_follows_is_told_everything_once(client: Client, cluster: EmbeddedPostgres, loaded: str) -> None:
    """A mailbox, a specialty, an activity and a person that change or leave are seen by asking what changed since."""
    kinds = ("Practitioner", "PractitionerRole", "Organization", "HealthcareService")
    copy = {kind: {one for page in await client.pages(f"{kind}?_count=20") for one in page} for kind in kinds}
    since = (await client.search("Practitioner?_count=1"))["meta"]["lastUpdated"]
    assert all(copy.values())
    owner = await asyncpg.connect(cluster.dsn(database=loaded))
    since = (
        (await owner.fetchval("SELECT max(changed_at) FROM directory.professional")).isoformat().replace("+00:00", "Z")
    )
    [pharmacy] = await client.ids("Organization?name=Pharmacie du centre&address-city=Lyon")
    leaving = (await client.ids("Practitioner?qualification-code=21"))[-1]
    async with owner.transaction():
        await owner.execute(
            "UPDATE directory.mailbox_entry SET paperless = false, changed_at = now()"
            " WHERE address = 'claire.martin@msg.exemple.fr'"
        )
        await owner.execute("DELETE FROM directory.mailbox_entry WHERE address = 'pharmacie.centre@msg.exemple.fr'")
        await owner.execute("DELETE FROM directory.professional WHERE national_id = $1", leaving)
        await owner.execute("INSERT INTO directory.gone VALUES ('professional', $1, now())", leaving)
    changed = {kind: resources(await client.search(f"{kind}?_lastUpdated=gt{since}&_count=200")) for kind in kinds}
    seen = {kind: [(one["id"], one["active"]) for one in found] for kind, found in changed.items()}
    assert (MARTIN, True) in seen["Practitioner"]
    assert (leaving, False) in seen["Practitioner"]
    assert len(seen["PractitionerRole"]) == 1
    assert seen["Organization"] == [(pharmacy, True)]
    assert [active for _, active in seen["HealthcareService"]] == [False]
    assert seen["HealthcareService"][0][0] in copy["HealthcareService"]
    for kind, found in seen.items():
        for one, active in found:
            (copy[kind].add if active else copy[kind].discard)(one)
            read = await client.ask(f"{kind}/{one}")
            assert read.body is not None
            assert (read.status, read.body["active"]) == (200, active)
        everything = await client.pages(f"{kind}?active=true&_count=50")
        assert copy[kind] == {one for page in everything for one in page}
    assert await client.ids("Practitioner?active=false") == [leaving]
    assert await client.ids(f"Practitioner?_id={leaving},{MARTIN}&_lastUpdated=gt{since}&active=false") == [leaving]
    # A mailbox on the red list is shown to nobody, and what it was is told as gone.
    await owner.execute("UPDATE directory.mailbox_entry SET unlisted = true, changed_at = now()")
    assert await client.ids("HealthcareService?active=true") == []
    assert len(await client.ids("HealthcareService?active=false")) == len(copy["HealthcareService"]) + 1
    for kind in kinds[:3]:
        assert await client.ids(f"{kind}?mailbox-mss:contains=@msg.exemple.fr") == []
        told = [one for page in await client.pages(f"{kind}?_count=200&_elements=telecom") for one in page]
        assert told
    assert "@" not in str([await client.search(f"{kind}?_count=200") for kind in kinds])
    await owner.close()
