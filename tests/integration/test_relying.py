"""Sign-in to the pages at an identity provider, over real HTTPS on both sides; and what must not be possible by it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from server.audit import trail
from server.base import clock
from server.identity.holders import WARNING
from server.identity.oidc.faults import Fault
from server.identity.oidc.statements import LOGOUT_EVENT
from server.relying import provider as relying_provider
from server.web.pages.provider import COOKIE, SENTENCES
from server.web.visitor import SESSION_COOKIE
from tests import relying
from tests.provider_server import DOCTOR as STRANGER
from tests.provider_server import SECRETARY as STUDENT
from tests.provider_server import ProviderServer
from tests.relying import NAME
from tests.store_world import DOCTOR, World
from tests.web_site import Site, site, token_in

BEGIN, BACK, END = (f"/connexion/{NAME}{path}" for path in ("", "/retour", "/fin"))


@pytest.fixture
async def web(world: World, tmp_path: Path) -> AsyncIterator[Site]:
    async with site(world, tmp_path, identity=relying.identity(tmp_path, relying.free_port())) as made:
        yield made


@pytest.fixture
async def psc(web: Site) -> AsyncIterator[ProviderServer]:
    async with relying.provided(web.world, web.settings, web.base) as server:
        yield server


async def way_back(browser: httpx.AsyncClient, psc: ProviderServer, begin: str = BEGIN, **chosen: Any) -> str:
    """From our link to the provider and through its pages: where it sends the browser."""
    answer = await browser.get(begin)
    assert answer.status_code == 303, answer.text
    return await psc.sign_in(answer.headers["location"], **{"person": relying.DOCTOR, **chosen})


async def sign_in(browser: httpx.AsyncClient, psc: ProviderServer, begin: str = BEGIN, **chosen: Any) -> httpx.Response:
    return await browser.get(await way_back(browser, psc, begin, **chosen))


async def refused(browser: httpx.AsyncClient, answer: httpx.Response, fault: Fault) -> None:
    """The page says why, and nobody is signed in."""
    assert answer.status_code == 403, answer.headers
    assert SENTENCES[fault].partition("’")[0] in answer.text
    assert SESSION_COOKIE not in browser.cookies
    assert (await browser.get("/messages")).headers["location"] == "/"


async def test_a_doctor_signs_in_and_out(web: Site, psc: ProviderServer) -> None:
    world = web.world
    async with web.browser() as browser:
        assert "Se connecter avec Pro Santé Connect" in (await browser.get("/")).text
        begun = await browser.get(BEGIN)
        asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.headers["location"]).query).items()}
        assert (asked["acr_values"], asked["code_challenge_method"], asked["scope"]) == (
            "eidas1",
            "S256",
            "openid scope_all",
        )
        cookie = next(one for one in begun.headers.get_list("set-cookie") if one.startswith(COOKIE))
        assert {"HttpOnly", "Secure", "SameSite=lax"} <= set(cookie.split("; "))
        assert asked["state"] not in cookie
        # The card where the app would do: more than was asked for.
        answer = await sign_in(browser, psc, means="eidas3")
        assert (answer.status_code, answer.headers["location"]) == (303, "/messages")
        assert "Dr Anne Dupont" in (await browser.get("/messages")).text
        row = await world.admin.fetchrow("SELECT * FROM session")
        assert (row["provider"], row["acr"], row["how"]) == (NAME, "eidas3", "provider")
        told = await trail.of_owner(world.admin, world.keyring, world.owners[DOCTOR])
        assert (told[0].kind, told[0].detail["how"]) == ("signed-in", NAME)
        stored = b"".join(value for value in row.values() if isinstance(value, bytes))
        assert relying.DOCTOR.national_id.encode() not in stored
        page = await browser.post("/deconnexion", data={"jeton": token_in((await browser.get("/messages")).text)})
        assert f"form-action 'self' {psc.origin}" in page.headers["content-security-policy"]
        assert f'action="{psc.origin}' in page.text
        assert 'name="id_token_hint"' in page.text
        assert (await browser.get("/messages")).headers["location"] == "/"
        assert await world.admin.fetchval("SELECT count(*) FROM session") == 0


async def test_a_callback_counts_once_and_in_its_own_browser(web: Site, psc: ProviderServer) -> None:
    async with web.browser() as attacker, web.browser() as victim:
        # Login CSRF: a victim who follows the attacker's callback is not signed in as the attacker.
        callback = await way_back(attacker, psc)
        await refused(victim, await victim.get(callback), Fault.NOT_OURS)
        await victim.get(BEGIN)
        await refused(victim, await victim.get(callback), Fault.NOT_OURS)
        # Replay: the same callback again, with the cookie it came with.
        kept = dict(attacker.cookies)
        assert (await attacker.get(callback)).status_code == 303
        async with web.browser() as again:
            for name, value in kept.items():
                again.cookies.set(name, value, domain="localhost.local")
            await refused(again, await again.get(callback), Fault.NOT_OURS)
    async with web.browser() as browser:
        callback = await way_back(browser, psc)
        await refused(browser, await browser.get(callback + "&state=other"), Fault.MALFORMED)
        callback = await way_back(browser, psc)
        await refused(browser, await browser.get(callback.replace("state=", "state=x")), Fault.NOT_OURS)
        callback = await way_back(browser, psc)
        await refused(browser, await browser.get(callback.replace("code=", "code=x")), Fault.INACTIVE)
        # Mix-up: who answers says that they are another.
        callback = (await way_back(browser, psc)).partition("&iss=")[0]
        await refused(browser, await browser.get(f"{callback}&iss=https%3A%2F%2Fevil.example"), Fault.NOT_THEIRS)
        await browser.get(BEGIN)
        await refused(browser, await browser.get(f"{BACK}?error=access_denied&state=x"), Fault.NOT_OURS)
        assert (await browser.get("/connexion/other/retour")).status_code == 404


async def test_a_session_is_new_and_leads_to_a_page_of_ours(web: Site, psc: ProviderServer) -> None:
    async with web.browser() as browser:
        planted = secrets.token_urlsafe(32)
        browser.cookies.set(SESSION_COOKIE, planted, domain="localhost.local")
        await sign_in(browser, psc)
        first = browser.cookies[SESSION_COOKIE]
        assert first != planted
        # While signed in at the provider: nothing is asked, and the session here is a new one all the same.
        answer = await sign_in(browser, psc, f"{BEGIN}?suite=/sessions")
        assert answer.headers["location"] == "/sessions"
        assert browser.cookies[SESSION_COOKIE] != first
        assert await web.world.admin.fetchval("SELECT count(*) FROM session") == 1
        for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example", "/a%0d%0aX:%20y"):
            answer = await sign_in(browser, psc, f"{BEGIN}?suite={elsewhere}")
            assert answer.headers["location"] == "/messages"


LIES: list[tuple[dict[str, Any], Fault]] = [
    ({"algorithm": "none"}, Fault.MALFORMED),
    ({"algorithm": "HS256"}, Fault.SIGNATURE),
    ({"strange_key": True}, Fault.SIGNATURE),
    ({"claims": {"iss": "https://evil.example"}}, Fault.ISSUER),
    ({"claims": {"aud": "logiciel"}}, Fault.AUDIENCE),
    ({"claims": {"nonce": "another"}}, Fault.NONCE),
    ({"claims": {"exp": 1}}, Fault.TIME),
    ({"claims": {"acr": "eidas0"}}, Fault.TOO_WEAK),
    ({"userinfo": {"sub": "f:1:another"}}, Fault.BINDING),
    ({"userinfo": {"SubjectNameID": None}}, Fault.NO_IDENTITY),
    ({"userinfo": {"SubjectRefPro": None}}, Fault.NOT_PROFESSIONAL),
]


async def test_what_the_provider_says_is_believed_by_rule(web: Site, psc: ProviderServer) -> None:
    for lie, fault in LIES:
        async with web.browser() as browser:
            callback = await way_back(browser, psc)
            truth = {name: getattr(psc.faults, name) for name in lie}
            for name, value in lie.items():
                setattr(psc.faults, name, value)
            await refused(browser, await browser.get(callback), fault)
            for name, value in truth.items():
                setattr(psc.faults, name, value)


async def test_who_has_no_mailbox_or_no_rights_is_told_so(web: Site, psc: ProviderServer) -> None:
    world = web.world
    async with web.browser() as browser:
        await refused(browser, await sign_in(browser, psc, person=STRANGER), Fault.NO_MAILBOX)
    async with web.browser() as browser:
        await refused(browser, await sign_in(browser, psc, person=STUDENT), Fault.NOT_PROFESSIONAL)
    # The directory no longer lists the doctor: a warning, then the end.
    missing = "UPDATE holder SET listed = true, missing_since = $1"
    await world.admin.execute(missing, clock.now() - timedelta(days=1))
    async with web.browser() as browser:
        assert (await sign_in(browser, psc)).headers["location"] == "/boites"
        assert "ne vous mentionne plus" in (await browser.get("/boites")).text
    await world.admin.execute(missing, clock.now() - WARNING - timedelta(days=1))
    async with web.browser() as browser:
        await refused(browser, await sign_in(browser, psc), Fault.LEFT)


async def test_a_provider_that_is_down_or_slow_stops_new_sessions_only(
    web: Site, psc: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relying_provider, "SECONDS", 1.0)
    monkeypatch.setattr(relying_provider, "RETRY", 0.0)
    async with web.browser() as inside, web.browser() as browser:
        await sign_in(inside, psc)
        callback = await way_back(browser, psc)
        psc.faults.down = True
        answer = await browser.get(callback)
        assert answer.status_code == 503
        assert "Le fournisseur d’identité ne répond pas" in answer.text
        psc.faults.down = False
        callback = await way_back(browser, psc)
        psc.faults.delay = 2.5
        assert (await browser.get(callback)).status_code == 503
        # What is open stays open, and its person can sign out.
        page = await inside.get("/messages")
        assert page.status_code == 200
        psc.faults.delay, psc.faults.down = 0.0, True
        assert (await inside.post("/deconnexion", data={"jeton": token_in(page.text)})).status_code in (200, 303)
        psc.faults.down = False
        # New keys are found at once, although the old ones are fresh.
        psc.rotate()
        assert (await sign_in(browser, psc)).status_code == 303


async def test_the_provider_ends_sessions(web: Site, psc: ProviderServer) -> None:
    now = int(clock.now().timestamp())

    def logout(**changes: Any) -> dict[str, str]:
        said = {"iss": psc.issuer, "aud": "caducee-web", "iat": now, "exp": now + 120, "jti": secrets.token_hex(8)}
        said |= {"events": {LOGOUT_EVENT: {}}, **changes}
        return {"logout_token": psc.provider.keys.sign(said, clock.now(), "logout+jwt")}

    async with web.browser() as browser, web.browser() as provider:
        await sign_in(browser, psc)
        (session,) = psc.provider._sessions.all(clock.now())
        for given in (
            {},
            {"logout_token": "x"},
            logout(sid=session.sid, aud="logiciel"),
            logout(sid=session.sid, events={}),
            logout(sid=session.sid, nonce="x"),
            logout(),
        ):
            assert (await provider.post(END, data=given)).status_code == 400
        assert (await provider.post(END, data=logout(sid="another"))).status_code == 200
        assert (await browser.get("/messages")).status_code == 200
        right = logout(sid=session.sid)
        assert (await provider.post(END, data=right)).status_code == 200
        assert (await browser.get("/messages")).headers["location"] == "/?fin=1"
        await sign_in(browser, psc)
        assert (await provider.post(END, data=right)).status_code == 400  # a replay ends nothing
        assert (await browser.get("/messages")).status_code == 200
        assert (await provider.get(f"{END}?iss=https://evil.example&sid={session.sid}")).status_code == 400
        session = psc.provider._sessions.all(clock.now())[-1]
        assert (await provider.get(END, params={"iss": psc.issuer, "sid": session.sid})).status_code == 200
        assert (await browser.get("/messages")).headers["location"] == "/?fin=1"


async def test_who_is_signed_in_proves_it_again(
    web: Site, psc: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with web.browser() as browser:
        await sign_in(browser, psc)
        begun = await browser.get("/connexion/encore?suite=/sessions")
        asked = parse_qs(urlsplit(begun.headers["location"]).query)
        assert (asked["prompt"], asked["max_age"]) == (["login"], ["300"])
        callback = await psc.sign_in(begun.headers["location"], relying.DOCTOR)
        assert (await browser.get(callback)).headers["location"] == "/sessions"
        # A provider that asks nothing and says so by an old auth_time is not believed to have asked.
        begun = await browser.get("/connexion/encore?suite=/sessions")
        callback = await psc.sign_in(begun.headers["location"], relying.DOCTOR)
        psc.faults.claims = {"auth_time": int(clock.now().timestamp()) - 3_600}
        answer = await browser.get(callback)
        assert answer.status_code == 403
