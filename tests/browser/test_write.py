"""A new message in a real browser: recipients proposed while one types, by keyboard alone, heard by a screen reader."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, ViewportSize, async_playwright

from directory.load import load
from tests.browser.test_record import FLAGS, enter, look, tab_to
from tests.directory_sample import write
from tests.programs import need
from tests.store_world import DOCTOR, NOON, PHARMACY, World
from tests.web_site import Site, site

TELEPHONE, DESK = ViewportSize(width=360, height=740), ViewportSize(width=1280, height=740)


@pytest.fixture
async def web(world: World, tmp_path: Path) -> AsyncIterator[Site]:
    await load(world.admin, write(tmp_path / "national"), NOON)
    async with site(world, tmp_path) as made:
        yield made


@pytest.fixture
async def page(web: Site) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=need("chromium", "chromium-browser", "google-chrome"), args=FLAGS
        )
        context = await chromium.new_context(viewport=TELEPHONE, locale="fr-FR", ignore_https_errors=True)
        page = await context.new_page()
        page.set_default_timeout(30_000)
        await page.goto(web.base)
        await page.locator("#adresse").fill(DOCTOR)
        await page.locator("#connexion button").click()
        await page.wait_for_url("**/messages")
        yield page
        await chromium.close()


async def test_a_recipient_is_chosen_by_keyboard_and_the_message_leaves(web: Site, page: Page) -> None:
    await page.goto(f"{web.base}/annuaire?q=pharmacie+centre")
    await look(page, "annuaire")
    await page.goto(f"{web.base}/ecrire")
    await look(page, "ecrire")
    await tab_to(page, "#qui")
    field = page.get_by_role("combobox", name="Ajouter un destinataire")
    assert await field.get_attribute("aria-expanded") == "false"
    await page.keyboard.type("pharmacie cen")
    await page.get_by_role("option").first.wait_for()
    assert await field.get_attribute("aria-expanded") == "true"
    assert "proposition" in await page.get_by_role("status").inner_text()
    await page.keyboard.press("ArrowDown")
    for size in (DESK, TELEPHONE):
        await page.set_viewport_size(size)
        await look(page, "completion")
    await page.keyboard.press("Escape")
    assert await field.get_attribute("aria-expanded") == "false"
    await page.keyboard.press("ArrowDown")
    await page.get_by_role("option").first.wait_for()
    await page.keyboard.press("ArrowUp")  # from the field to the last one
    chosen = await page.get_by_role("option", selected=True).locator("small").last.inner_text()
    await page.keyboard.press("Enter")
    assert "est ajouté aux destinataires" in await page.get_by_role("status").inner_text()
    assert await field.input_value() == ""
    await page.keyboard.type(PHARMACY)
    await enter(page)
    boxes = page.get_by_role("checkbox")
    assert [await boxes.nth(i).get_attribute("value") for i in range(await boxes.count())] == [chosen, PHARMACY]

    await tab_to(page, "#objet")
    await page.keyboard.type("Renouvellement")
    await tab_to(page, "#texte")
    await page.keyboard.type("Bonjour, voici.")
    await tab_to(page, "button[name=envoyer]")
    await enter(page)
    # Nothing is lost, and who cannot be written to is named.
    assert f"{chosen} : Cette adresse n’existe pas" in await page.get_by_role("alert").inner_text()
    assert await page.locator("#texte").input_value() == "Bonjour, voici."
    await look(page, "ecrire-refus")
    await tab_to(page, "#choisis input")
    await page.keyboard.press("Space")
    await tab_to(page, "button[name=envoyer]")
    await enter(page)
    assert "Votre message est envoyé" in await page.get_by_role("status").inner_text()
    await look(page, "ecrire-envoye")
    (text,) = await web.world.texts(PHARMACY)
    assert b"Subject: Renouvellement" in text
