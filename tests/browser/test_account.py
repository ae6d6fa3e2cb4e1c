"""Patients' accounts in a real Chromium: by passkey, with an authenticator of its own; by password without a script."""

from __future__ import annotations

import re
from base64 import b32decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from server.base import clock
from server.identity.local import invitations, totp
from server.transport.notices import Notices
from tests.browser.test_record import FLAGS, enter, look, tab_to
from tests.programs import need
from tests.store_world import PATIENT, World
from tests.web_site import Site, site


@pytest.fixture
async def web(world: World, tmp_path: Path) -> AsyncIterator[Site]:
    async with site(world, tmp_path) as made:
        yield made


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=need("chromium", "chromium-browser", "google-chrome"), args=FLAGS
        )
        yield chromium
        await chromium.close()


@asynccontextmanager
async def browsing(chromium: Browser, width: int, **given: Any) -> AsyncIterator[Page]:
    """A new browser profile on the screen of a telephone or a desk."""
    context = await chromium.new_context(
        viewport={"width": width, "height": 740}, locale="fr-FR", ignore_https_errors=True, **given
    )
    page = await context.new_page()
    page.set_default_timeout(30_000)
    yield page
    await context.close()


async def with_authenticator(page: Page) -> Any:
    """The virtual authenticator of a telephone: it verifies its holder and keeps passkeys."""
    tools = await page.context.new_cdp_session(page)
    await tools.send("WebAuthn.enable")
    made = await tools.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": True,
                "automaticPresenceSimulation": True,
            }
        },
    )
    return tools, made["authenticatorId"]


async def code_for(world: World) -> str:
    return (await invitations.invite(world.admin, world.edge, world.owners[PATIENT], "operator"))[0]


async def give_code(web: Site, page: Page) -> None:
    """By keyboard, from the front page to the choice of how to sign in."""
    await page.goto(web.base)
    await look(page, "accueil-patient")
    await tab_to(page, "a[href='/activation']")
    await enter(page)
    await look(page, "activation")
    await tab_to(page, "#adresse")
    await page.keyboard.type(PATIENT)
    await tab_to(page, "#code")
    await page.keyboard.type(await code_for(web.world))
    await enter(page)
    await look(page, "activation-moyen")


async def test_a_passkey_activates_signs_in_and_confirms(web: Site, chromium: Browser) -> None:
    complaints: list[str] = []
    async with browsing(chromium, 360) as page:
        page.on("console", lambda message: complaints.append(message.text))
        tools, authenticator = await with_authenticator(page)
        await give_code(web, page)
        await tab_to(page, "form[data-passkey] button")
        await enter(page)
        assert page.url.endswith("/messages")
        held = await tools.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})
        assert [(one["rpId"], one["isResidentCredential"]) for one in held["credentials"]] == [("localhost", True)]
        await page.goto(f"{web.base}/compte")
        await look(page, "compte-cle")
        assert "Chrome, Linux" in await page.locator("#cles + ul").inner_text()
        await page.locator(".tools button").click()
        await tab_to(page, "a[href='/connexion/compte']")
        await enter(page)
        await look(page, "connexion-compte")
        await tab_to(page, "form[data-passkey] button")
        await enter(page)
        assert page.url.endswith("/messages")
        await page.goto(f"{web.base}/connexion/encore?suite=/compte")
        await look(page, "connexion-encore")
        await tab_to(page, "form[data-passkey] button")
        await enter(page)
        assert page.url.endswith("/compte")
        # Somebody who cannot verify themselves, and a passkey that is gone: the page says so and stays.
        await tools.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": False})
        await page.goto(f"{web.base}/connexion/encore?suite=/compte")
        await page.locator("form[data-passkey] button").click()
        await page.locator("[data-refused]").wait_for(state="visible")
        await look(page, "connexion-encore-refusee")
    assert [text for text in complaints if "Content Security Policy" in text] == []
    jobs = Notices(web.world.jobs_pool, web.world.edge, web.world.keyring, web.world.database.settings)
    await jobs.tell()
    assert len(await web.world.texts(PATIENT)) == 1


@pytest.mark.parametrize("width", [360, 1280], ids=["telephone", "desk"])
async def test_a_password_with_a_code_needs_no_script(web: Site, chromium: Browser, width: int) -> None:
    async with browsing(chromium, width, java_script_enabled=False) as page:
        await page.goto(f"{web.base}/activation")
        await page.fill("#adresse", PATIENT)
        await page.fill("#code", await code_for(web.world))
        await page.get_by_role("button", name="Continuer").click()
        assert not await page.locator("form[data-passkey]").is_visible()
        letters = await page.locator("code").inner_text()
        secret = b32decode(letters.replace(" ", ""))
        await page.fill("#nouveau", "trois chats dorment")
        await page.fill("#chiffres", totp.code(secret, step()))
        await page.get_by_role("button", name="Activer mon compte").click()
        codes = re.findall("[A-Z2-9-]{19}", await page.locator("main").inner_text())
        assert len(codes) == 10
        await page.get_by_role("link", name="Je les ai notés").click()
        await page.get_by_role("button", name="Se déconnecter").click()
        await page.get_by_role("link", name="Se connecter à mon compte").click()
        await page.fill("#adresse", PATIENT)
        await page.fill("#secret", "trois chats dorment")
        await page.fill("#chiffres", totp.code(secret, step() + 1))  # the one that was used is used
        await page.get_by_role("button", name="Se connecter").click()
        assert page.url.endswith("/messages")
    async with browsing(chromium, width) as page:
        await page.goto(f"{web.base}/connexion/compte")
        await page.fill("#adresse", PATIENT)
        await page.fill("#secret", "trois chats dorment")
        await page.fill("#chiffres", codes[0])
        await page.get_by_role("button", name="Se connecter").click()
        await page.goto(f"{web.base}/compte")
        await look(page, "compte-mot-de-passe")
        assert await page.locator("#appareils ~ ul li").count() == 2
        await page.fill("#nom", "Courrier sur le poste")
        await page.get_by_role("button", name="Créer un mot de passe").click()
        await look(page, "mot-de-passe-application")
        await page.goto(f"{web.base}/compte/mot-de-passe")
        await look(page, "compte-application")
        await page.goto(f"{web.base}/compte/cle")
        await look(page, "nouvelle-cle")
        await page.goto(f"{web.base}/compte")
        await page.get_by_role("button", name="Nouveaux codes de secours").click()
        await look(page, "codes-secours")


def step() -> int:
    return int(clock.now().timestamp()) // totp.STEP_SECONDS
