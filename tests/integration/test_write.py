"""Writing from the pages without a script: found in the directory, chosen, sent; and what policy keeps from it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from directory.load import load
from server.base.harvest import Harvest
from server.web import application
from tests.directory_sample import write
from tests.integration.test_web import sign_in, token_in
from tests.store_world import DOCTOR, NOON, PATIENT, PHARMACY, World
from tests.web_site import Site, deliver, prescription, site

FOUND = "pharmacie.centre@msg.exemple.fr"  # of the sample; no mailbox here has it


@pytest.fixture
async def web(world: World, tmp_path: Path) -> AsyncIterator[Site]:
    async with site(world, tmp_path) as made:
        yield made


@pytest.fixture
async def doctor(web: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with web.browser() as browser:
        await sign_in(browser, DOCTOR)
        yield browser


async def post(browser: httpx.AsyncClient, page: str, **fields: object) -> httpx.Response:
    """Send the form of a page, its hidden fields and ticked recipients as a browser would."""
    hidden = {"jeton": token_in(page), "envoi": re.findall(r'name="envoi" value="([^"]+)"', page)[0]}
    return await browser.post("/ecrire", data=hidden | {"a": ticked(page)} | fields)


def ticked(page: str) -> list[str]:
    return re.findall(r'name="a" value="([^"]+)" checked', page)


async def test_the_directory_leads_to_a_message(web: Site, doctor: httpx.AsyncClient, tmp_path: Path) -> None:
    await load(web.world.admin, write(tmp_path / "national"), NOON)
    page = (await doctor.get("/annuaire", params={"q": "pharmacie du centre 69003"})).text
    assert f'href="/ecrire?a={FOUND.replace("@", "%40")}"' in page
    form = (await doctor.get("/ecrire", params={"a": FOUND})).text
    assert ticked(form) == [FOUND]
    # A question to the directory loses nothing of the draft.
    asked = (await post(doctor, form, qui="martin généraliste lyon 3", objet="Bilan", texte="Voici.", ajouter="1")).text
    assert 'name="choisir" value="claire.martin@msg.exemple.fr"' in asked
    chosen = (await post(doctor, asked, choisir="claire.martin@msg.exemple.fr", objet="Bilan", texte="Voici.")).text
    assert ticked(chosen) == [FOUND, "claire.martin@msg.exemple.fr"]
    assert 'value="Bilan"' in chosen
    proposed = await doctor.get("/annuaire/completion", params={"q": "pharmacie cent"})
    assert FOUND in {one["address"] for one in proposed.json()}
    assert set(proposed.json()[0]) == {"address", "name", "profession", "place", "shared"}


async def test_a_message_leaves_once_and_its_copy_stays(web: Site, doctor: httpx.AsyncClient) -> None:
    form = (await doctor.get("/ecrire")).text
    fields = {"qui": f"Pharmacie <{PHARMACY}>; {PATIENT}", "objet": "Bilan", "texte": "Voici.", "envoyer": "1"}
    for _ in range(2):
        answer = await post(doctor, form, **fields)
        assert answer.headers["location"] == "/messages?envoye=1"
    assert "Votre message est envoyé" in (await doctor.get("/messages?envoye=1")).text
    for address, folder in ((PHARMACY, 1), (PATIENT, 1), (DOCTOR, 2)):
        (text,) = await web.world.texts(address, folder)
        assert f"To: <{PHARMACY}>".encode() in text
        assert b"Subject: Bilan" in text


async def test_nothing_leaves_before_all_is_said(web: Site, doctor: httpx.AsyncClient) -> None:
    form = (await doctor.get("/ecrire")).text
    empty = await post(doctor, form, envoyer="1")
    assert empty.status_code == 422
    for sentence in ("au moins un destinataire", "Écrivez un objet", "Écrivez votre message"):
        assert sentence in empty.text
    wrong = await post(doctor, form, qui="a@-", objet="o", texte="t", envoyer="1")
    assert "n’est pas une adresse" in wrong.text
    words = await post(doctor, form, qui="quelqu’un", objet="o", texte="t", envoyer="1")
    assert "parmi les résultats" in words.text
    # One who cannot be written to keeps the message from all.
    refused = await post(doctor, form, qui=f"{PHARMACY}, {FOUND}", objet="o", texte="t", envoyer="1")
    assert f"{FOUND} : Cette adresse n’existe pas" in refused.text
    many = ", ".join(f"p{number}@msg.exemple.fr" for number in range(21))
    assert "trop de destinataires" in (await post(doctor, form, qui=many, objet="o", texte="t", envoyer="1")).text
    assert await web.world.texts(PHARMACY) == []


async def test_a_patient_writes_to_who_wrote_and_searches_nobody(web: Site, tmp_path: Path) -> None:
    await deliver(web.world, web, prescription(tmp_path), PATIENT)
    async with web.browser() as browser:
        await sign_in(browser, PATIENT)
        form = (await browser.get("/ecrire")).text
        assert "completion" not in form
        said = {"objet": "Question", "texte": "Bonjour", "envoyer": "1"}
        stranger = await post(browser, form, qui=PHARMACY, **said)
        assert "seulement aux professionnels qui vous ont écrit" in stranger.text
        assert (await post(browser, form, qui=DOCTOR, **said)).headers["location"] == "/messages?envoye=1"
        assert "n’est pas une adresse" in (await post(browser, form, qui="pharmacie", **said)).text
        for path in ("/annuaire?q=martin", "/annuaire/completion?q=martin"):
            assert (await browser.get(path)).status_code == 403
    assert len(await web.world.texts(DOCTOR)) == 1


async def test_no_patient_is_taken_from_a_url(doctor: httpx.AsyncClient) -> None:
    for patient in (PATIENT, "279035121518989@patient.mssante.fr"):
        form = (await doctor.get("/ecrire", params={"a": [patient, PHARMACY]})).text
        assert ticked(form) == [PHARMACY]
        assert patient not in form


async def test_completion_is_for_who_signed_in(web: Site, doctor: httpx.AsyncClient) -> None:
    async with web.browser() as browser:
        assert (await browser.get("/annuaire/completion?q=a", headers={"Accept": "*/*"})).status_code == 401
    assert (await doctor.get("/annuaire/completion", params={"q": "x" * 10_000 + "'; --"})).json() == []


async def test_who_copies_the_directory_waits(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "Harvest", partial(Harvest, entries=0))
    async with site(world, tmp_path) as web, web.browser() as browser:
        await sign_in(browser, DOCTOR)
        assert (await browser.get("/annuaire/completion?q=martin")).status_code == 429
        assert "Trop de tentatives" in (await browser.get("/annuaire?q=martin")).text
