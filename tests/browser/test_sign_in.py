"""A professional signs in at the identity provider in a real browser, whose policies stop no step, and out of both."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from playwright.async_api import async_playwright

from server.base import clock
from server.identity import delegations
from server.identity.delegations import Delegation
from server.identity.model import Rights
from tests import relying
from tests.browser.test_record import FLAGS, look
from tests.programs import need
from tests.store_world import DOCTOR, PHARMACY, World
from tests.web_site import site


async def test_a_doctor_signs_in_chooses_a_mailbox_and_signs_out_of_both(world: World, tmp_path: Path) -> None:
    part = Delegation(world.owners[DOCTOR], Rights.READ, clock.now() + timedelta(days=1))
    await delegations.grant(world.admin, world.edge, world.owners[PHARMACY], (world.owners[DOCTOR], DOCTOR), part)
    identity = relying.identity(tmp_path, relying.free_port())
    async with (
        site(world, tmp_path, identity=identity) as web,
        relying.provided(world, web.settings, web.base) as psc,
        async_playwright() as playwright,
    ):
        chromium = await playwright.chromium.launch(
            executable_path=need("chromium", "chromium-browser", "google-chrome"), args=FLAGS
        )
        context = await chromium.new_context(locale="fr-FR", ignore_https_errors=True)
        page = await context.new_page()
        page.set_default_timeout(30_000)
        await page.goto(web.base)
        await look(page, "accueil-fournisseur")
        await page.get_by_role("link", name="Se connecter avec Pro Santé Connect").click()
        await page.locator("#personne").select_option(relying.DOCTOR.national_id)
        await page.get_by_role("button", name="Se connecter").click()
        await page.wait_for_url("**/boites")
        await look(page, "boites")
        await page.get_by_role("button", name="Pharmacie du Pont").click()
        await page.wait_for_url("**/messages")
        assert DOCTOR in await page.locator(".who").inner_text()
        await page.get_by_role("button", name="Se déconnecter").click()
        await page.get_by_role("heading", name="Vous êtes déconnecté").wait_for()
        await look(page, "depart")
        await page.get_by_role("button", name="Se déconnecter de Pro Santé Connect").click()
        await page.wait_for_url(f"{web.base}/")
        assert psc.provider._sessions.all(clock.now()) == []
        await chromium.close()
