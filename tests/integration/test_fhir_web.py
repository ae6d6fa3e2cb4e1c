"""The FHIR base over real HTTPS: the examples of docs/fhir.md by curl, who may ask, who asks too much."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.capabilitystatement import CapabilityStatement

from directory.load import load
from server.base.harvest import Harvest
from server.base.settings import Directory
from server.identity.accounts import Accounts
from tests import relying
from tests.directory_sample import write
from tests.repo.sources import ROOT
from tests.store_world import DOCTOR, PATIENT, World
from tests.web_site import Site, site

EXAMPLES = re.findall(r"^    ((?:fhir|curl) .*)$", (ROOT / "docs/fhir.md").read_text(encoding="utf-8"), re.MULTILINE)
FUNCTION = re.search(r"^    (fhir\(\) .*)$", (ROOT / "docs/fhir.md").read_text(encoding="utf-8"), re.MULTILINE)


@dataclass
class Served:
    site: Site
    passwords: dict[str, str]

    def client(self, address: str = "", **headers: str) -> httpx.AsyncClient:
        """A program that asks, as this mailbox."""
        return httpx.AsyncClient(
            base_url=f"{self.site.base}/fhir",
            verify=ssl.create_default_context(cafile=str(self.site.root)),
            headers=headers,
            auth=(address, self.passwords[address]) if address else None,
            timeout=60,
        )


@pytest.fixture
async def served(world: World, tmp_path: Path) -> AsyncIterator[Served]:
    await load(world.admin, write(tmp_path / "national", people=60), datetime.now(UTC))
    pool = await world.database.pool("admin")
    accounts = Accounts(pool, world.edge)
    passwords = {one: await accounts.new_app_password(world.owners[one], "test") for one in (DOCTOR, PATIENT)}
    await pool.close()
    async with site(world, tmp_path, identity=relying.identity(tmp_path, relying.free_port())) as made:
        yield Served(made, passwords)


@pytest.fixture
async def token(served: Served) -> AsyncIterator[str]:
    """The doctor's, of an identity provider that runs."""
    async with relying.provided(served.site.world, served.site.settings, served.site.base) as psc:
        yield str(psc.tokens(person=relying.DOCTOR)["access_token"])


async def test_the_examples_of_the_guide(served: Served) -> None:
    assert FUNCTION is not None
    assert len(EXAMPLES) > 10
    environment = {
        "BASE": f"{served.site.base}/fhir",
        "ROOT": str(served.site.root),
        "ADDRESS": DOCTOR,
        "PASSWORD": served.passwords[DOCTOR],
        "PATH": "/usr/bin:/bin",
    }
    for example in EXAMPLES:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"{FUNCTION[1]}\n{example}"),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await process.communicate()
        assert process.returncode == 0, f"{example}: {error.decode()}"
        body = json.loads(out)
        if body["resourceType"] == "Bundle":
            Bundle.model_validate(body)
            assert any(one["search"]["mode"] == "match" for one in body.get("entry", ())), example
            assert {one["fullUrl"].startswith(environment["BASE"]) for one in body["entry"]} == {True}
        else:
            assert body["resourceType"] in {"CapabilityStatement", "Practitioner"}, f"{example}: {body}"


async def test_who_may_ask(served: Served, token: str) -> None:
    async with served.client() as stranger:
        statement = await stranger.get("/metadata")
        CapabilityStatement.model_validate(statement.json())
        assert statement.headers["content-type"] == "application/fhir+json"
        assert (await stranger.get("/metadata?_format=xml")).status_code == 406
        assert (await stranger.post("/metadata")).status_code == 405
        assert (await stranger.get("/Patient/1")).status_code == 404
        for headers in (
            {},
            {"Authorization": "Basic !!"},
            {"Authorization": "Basic YWJj"},
            {"Authorization": "Bearer x"},
            {"Authorization": "Negotiate x"},
            {"Authorization": "Basic " + "A" * 5_000},
            {"ESANTE-API-KEY": "x"},
        ):
            answer = await stranger.get("/Practitioner?family=martin", headers=headers)
            assert answer.status_code == 401, headers
            assert answer.headers["www-authenticate"].startswith("Basic")
            assert answer.json()["issue"][0]["code"] == "login"
        assert (await stranger.get("/Practitioner", headers={"Authorization": f"Bearer {token}"})).status_code == 200
        # Methods that write are answered as FHIR answers, before anybody is asked who they are or after.
        for method in ("PUT", "PATCH", "DELETE"):
            refused = await stranger.request(method, "/Practitioner/1", headers={"Authorization": f"Bearer {token}"})
            assert refused.json()["issue"][0]["code"] == "not-supported"
            assert refused.status_code == 405
    async with served.client(PATIENT) as patient:
        answer = await patient.get("/Practitioner?family=martin")
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (403, "forbidden")
    async with served.client(DOCTOR) as doctor:
        read = await doctor.get("/Practitioner/889990000013")
        assert read.headers["cache-control"] == "private, no-cache"
        again = await doctor.get("/Practitioner/889990000013", headers={"If-None-Match": read.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = await doctor.head("/Practitioner/889990000013")
        assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", read.headers["etag"])
        assert (await doctor.get("/Practitioner/889990000013", headers={"Accept": "text/turtle"})).status_code == 406
        assert (await doctor.post("/Practitioner/_search", json={})).status_code == 415


async def test_anybody_where_the_settings_say_so_until_they_copy_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.web.application.Harvest", lambda: Harvest(60, 3.0))
    await load(world.admin, write(tmp_path / "national", people=60), datetime.now(UTC))
    async with site(world, tmp_path, directory=Directory(anonymous=True)) as made, Served(made, {}).client() as client:
        assert len((await client.get("/Practitioner?_count=50")).json()["entry"]) == 50
        assert (await client.get("/Practitioner?_count=50")).status_code == 200
        refused = await client.get("/Practitioner?_count=1")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        assert refused.json()["issue"][0]["code"] == "throttled"
        assert (await client.get("/metadata")).status_code == 200
