"""The patient's way in a real Chromium: a telephone's 360 px or a desk's 1,280, light or dark, by keyboard alone, as a
screen reader would be told it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright

from tests.programs import need
from tests.store_world import DOCTOR, PATIENT, World
from tests.web_site import PDF, SUBJECT, Site, deliver, prescription, site

FLAGS = [
    "--headless",
    "--no-sandbox",  # Chromium's own sandbox refuses root; the pages are ours
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Pictures of every page, for a person to look at; kept only where a folder is named.
PICTURES = os.environ.get("CADUCEE_PICTURES")


@pytest.fixture
async def web(world: World, tmp_path: Path) -> AsyncIterator[Site]:
    async with site(world, tmp_path) as made:
        await deliver(world, made, prescription(tmp_path), PATIENT)
        yield made


@pytest.fixture
def complaints() -> list[str]:
    """What the browser wrote to its console."""
    return []


@pytest.fixture(params=[("light", 360), ("dark", 360), ("light", 1280)], ids=["telephone", "at-night", "desk"])
async def page(web: Site, request: pytest.FixtureRequest, complaints: list[str]) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=need("chromium", "chromium-browser", "google-chrome"), args=FLAGS
        )
        context = await chromium.new_context(
            viewport={"width": request.param[1], "height": 740},
            locale="fr-FR",
            ignore_https_errors=True,
            color_scheme=request.param[0],
        )
        page = await context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: complaints.append(message.text))
        await page.goto(web.base)
        yield page
        await chromium.close()


async def look(page: Page, name: str) -> None:
    """Every page: no wider than the screen, a main landmark, one first heading, a title and a language."""
    width = await page.evaluate("innerWidth")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width, name
    assert await page.locator("main").count() == 1
    assert await page.locator("h1").count() == 1
    assert await page.evaluate("document.documentElement.lang") == "fr"
    small = await page.evaluate(SMALL_TARGETS)
    assert small == [], f"{name}: too small to touch: {small}"
    faint = await page.evaluate(FAINT_TEXTS)
    assert faint == [], f"{name}: contrast below 4.5: {faint}"
    if PICTURES:
        scheme = "dark" if await page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else "light"
        await page.screenshot(path=Path(PICTURES) / f"{name}-{scheme}-{width}.png", full_page=True)


# WCAG 2.2, 2.5.8: a target is at least 24 px, unless it stands in a sentence.
SMALL_TARGETS = """() => [...document.querySelectorAll('a[href], button, input:not([type=hidden]), textarea')]
  .filter(e => !e.matches('.skip')).map(e => [e.textContent.trim(), e.getBoundingClientRect()])
  .filter(([, box]) => box.height < 24 || box.width < 24).map(([text]) => text)"""
# WCAG 2.2, 1.4.3, computed from what the browser paints.
FAINT_TEXTS = """() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return m.length > 3 ? m : [...m, 1]; };
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) found.push(e.textContent.trim().slice(0, 40) + ' ' + ratio.toFixed(2));
  }
  return found;
}"""


async def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the element has the focus, and see that the focus is visible on the way."""
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await page.evaluate("s => document.activeElement.matches(s)", selector):
            style = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert style != "none", f"{selector} has the focus and does not show it"
            return
    raise AssertionError(f"{selector} cannot be reached by keyboard")


async def enter(page: Page) -> None:
    """Press Enter on what has the focus, and wait for the page that it leads to."""
    async with page.expect_navigation():
        await page.keyboard.press("Enter")


async def test_patient_reads_opens_and_answers_by_keyboard(web: Site, page: Page, complaints: list[str]) -> None:
    await look(page, "accueil")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    await page.keyboard.press("Enter")
    await tab_to(page, "#adresse")
    await page.keyboard.type("personne@msg.exemple.fr")
    await enter(page)
    assert await page.get_by_role("alert").is_visible()
    await look(page, "refus")

    await tab_to(page, "#adresse")
    await page.keyboard.press("Control+a")
    await page.keyboard.type(PATIENT)
    await enter(page)
    await look(page, "boite")

    await tab_to(page, "a.message")
    await enter(page)
    assert await page.get_by_role("heading", level=1).inner_text() == SUBJECT
    assert await page.get_by_role("region", name="Signature valide").is_visible()
    assert await page.get_by_role("navigation", name="Navigation principale").is_visible()
    await look(page, "message")

    await tab_to(page, "a.piece")
    address = await page.evaluate("document.activeElement.href")
    assert await (await page.context.request.get(address)).body() == PDF
    await enter(page)
    # The browser's own viewer shows it: no download, no error page.
    assert await page.evaluate("document.contentType") == "application/pdf"
    if PICTURES:
        await page.wait_for_timeout(2_000)  # the viewer paints in a process of its own and says nothing of it
        await page.screenshot(path=Path(PICTURES) / "pdf.png")
    await page.go_back()

    await tab_to(page, "a.repondre")
    await enter(page)
    await look(page, "reponse")
    await tab_to(page, "#texte")
    await page.keyboard.type("Merci docteur, bien reçu.")
    await tab_to(page, "#reponse button")
    await enter(page)
    assert "Votre réponse est envoyée" in await page.get_by_role("status").inner_text()
    await look(page, "envoyee")
    (text,) = await web.world.texts(DOCTOR)
    assert "Merci docteur, bien reçu.".encode() in text or b"Merci docteur, bien re=C3=A7u." in text

    await page.goto(f"{web.base}/dossier")
    assert await page.locator("a.document").count() == 1
    await look(page, "dossier")
    await page.goto(f"{web.base}/compte")
    await look(page, "sessions")
    await page.goto(f"{web.base}/messages/1/999")
    await look(page, "erreur")
    assert [text for text in complaints if "Content Security Policy" in text] == []
    await tab_to(page, ".tools button")
    await enter(page)
    assert "Vous êtes déconnecté." in await page.get_by_role("status").inner_text()
    await page.go_back()
    assert "Zoé" not in await page.locator("body").inner_text()
    assert (await page.context.cookies(web.base))[0]["name"] != "__Host-session"


async def test_no_page_needs_or_runs_script(page: Page, complaints: list[str]) -> None:
    assert await page.locator("script").count() == 0
    ran = await page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        " document.body.append(s); return window.ran === 1 }"
    )
    assert ran is False
    assert any("Content Security Policy" in text for text in complaints)
