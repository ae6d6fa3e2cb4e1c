"""Accounts of patients and the page of every holder over real HTTPS: what is given, what is managed, what must fail."""

from __future__ import annotations

import html
import re
from base64 import b32decode
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from server.base import clock
from server.base.limits import ENROLMENT_SECONDS, RECENT_SECONDS, RECOVERY_CODES
from server.identity.accounts import Accounts
from server.identity.local import invitations, totp
from server.identity.sasl import AppPassword
from server.identity.throttle import ACCOUNT_FAILURES
from server.mailbox.create import create
from server.mailbox.model import NewMailbox, OwnerKind
from tests import relying
from tests.authenticator import Authenticator
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World
from tests.web_site import Site, site

PASSWORD = "trois chats dorment"
SECRETARY = "secretaire@msg.exemple.fr"


@pytest.fixture
async def web(world: World, tmp_path: Path) -> AsyncIterator[Site]:
    async with site(world, tmp_path) as made:
        yield made


class Person:
    """Somebody with a browser; `secret` of their application, `authenticator` for passkeys."""

    def __init__(self, web: Site, browser: httpx.AsyncClient) -> None:
        self.web, self.browser = web, browser
        self.secret = b""
        self.authenticator = Authenticator()

    async def page(self, path: str) -> str:
        return (await self.browser.get(path, follow_redirects=True)).text

    async def post(self, path: str, page: str, **fields: str) -> httpx.Response:
        return await self.browser.post(path, data={"jeton": field(page, "jeton"), **fields})

    async def invited(self) -> str:
        owner = self.web.world.owners[PATIENT]
        return (await invitations.invite(self.web.world.admin, self.web.world.edge, owner, "operator"))[0]

    async def give(self, code: str, address: str = PATIENT) -> httpx.Response:
        return await self.post("/activation", await self.page("/activation"), adresse=address, code=code)

    def digits(self, page: str = "") -> str:
        """Of now, or of the secret that a page shows."""
        if page:
            letters = re.findall(r"<code>([A-Z2-7 ]+)</code>", page)[0]
            self.secret = b32decode(letters.replace(" ", ""))
        return totp.code(self.secret, int(clock.now().timestamp()) // totp.STEP_SECONDS)

    async def activate(self) -> httpx.Response:
        """With a password."""
        await self.give(await self.invited())
        page = await self.page("/activation/moyen")
        return await self.post("/activation/mot-de-passe", page, motdepasse=PASSWORD, code=self.digits(page))

    async def sign_in(self, code: str, password: str = PASSWORD, address: str = PATIENT) -> httpx.Response:
        page = await self.page("/connexion/compte")
        return await self.post("/connexion/mot-de-passe", page, adresse=address, motdepasse=password, code=code)

    async def develop(self, address: str) -> None:
        """The development sign-in."""
        await self.post("/connexion", await self.page("/"), adresse=address)

    async def show(self, path: str, page: str) -> httpx.Response:
        """Show the passkey that a page asks for."""
        return await self.post(path, page, reponse=self.authenticator.get(options(page), self.web.base))

    async def sign_out(self) -> None:
        """From any page."""
        await self.post("/deconnexion", await self.page("/compte"))


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, page
    return html.unescape(found[1])


def options(page: str) -> str:
    found = re.search(r'data-options="([^"]*)"', page)
    assert found, page
    return html.unescape(found[1])


@pytest.fixture
async def patient(web: Site) -> AsyncIterator[Person]:
    async with web.browser() as browser:
        yield Person(web, browser)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> object:
    """Moves the clock."""

    def move(seconds: float) -> None:
        moment = clock.now() + timedelta(seconds=seconds)
        monkeypatch.setattr(clock, "now", lambda: moment)

    return move


async def test_a_patient_activates_with_a_password_and_signs_in(web: Site, patient: Person, later: object) -> None:
    assert (await patient.give(await patient.invited())).headers["location"] == "/activation/moyen"
    page = await patient.page("/activation/moyen")
    assert "Bonjour Jeanne Martin" in page
    for password, digits, told in (
        ("court", patient.digits(page), "trop court"),
        ("azertyuiop123", patient.digits(page), "faciles à deviner"),
        ("jeanne martin 54", patient.digits(page), "votre nom"),
        (PASSWORD, "1", "Recommencez"),
    ):
        answer = await patient.post("/activation/mot-de-passe", page, motdepasse=password, code=digits)
        assert (answer.status_code, told in answer.text) == (422, True)
        assert options(page) != options(answer.text)  # the application's secret stays, the challenge does not
        page = answer.text
    answer = await patient.post("/activation/mot-de-passe", page, motdepasse=PASSWORD, code=patient.digits(page))
    codes = re.findall(r"<code>([A-Z2-9-]{19})</code>", answer.text)
    assert len(set(codes)) == RECOVERY_CODES
    assert PATIENT in await patient.page("/compte")
    assert "10 codes de secours restants" in await patient.page("/compte")
    await patient.sign_out()
    later(90)  # type: ignore[operator]
    digits = patient.digits()
    assert (await patient.sign_in(digits)).headers["location"] == "/messages"
    await patient.sign_out()
    replayed = await patient.sign_in(digits)
    assert replayed.status_code == 403
    assert PASSWORD not in replayed.text
    assert (await patient.sign_in(codes[0])).headers["location"] == "/messages"
    await patient.sign_out()
    assert (await patient.sign_in(codes[0])).status_code == 403


async def test_a_patient_activates_with_a_passkey_and_signs_in(patient: Person) -> None:
    await patient.give(await patient.invited())
    page = await patient.page("/activation/moyen")
    answer = patient.authenticator.create(options(page), patient.web.base)
    foreign = Authenticator().create(options(page), "https://autre.example")
    assert (await patient.post("/activation/cle", page, reponse=foreign)).status_code == 422
    made = await patient.post("/activation/cle", page, reponse=answer, nom="Téléphone")
    assert made.headers["location"] == "/messages"
    assert "Téléphone" in await patient.page("/compte")
    await patient.sign_out()
    page = await patient.page("/connexion/compte")
    assert (await patient.show("/connexion/cle", page)).headers["location"] == "/messages"
    await patient.sign_out()
    # A challenge of this browser that was answered already, and one of another browser.
    page = await patient.page("/connexion/compte")
    answer = patient.authenticator.get(options(page), patient.web.base)
    async with patient.web.browser() as other:
        stranger = Person(patient.web, other)
        theirs = await stranger.page("/connexion/compte")
        assert (await stranger.post("/connexion/cle", theirs, reponse=answer)).status_code == 403
    assert (await patient.post("/connexion/cle", page, reponse=answer)).status_code == 303
    await patient.sign_out()
    page = await patient.page("/connexion/compte")
    assert (await patient.post("/connexion/cle", page, reponse=answer)).status_code == 403


async def test_an_activation_answers_alike_and_its_ticket_ends(patient: Person, later: object) -> None:
    code = await patient.invited()
    wrong = code[:-1] + ("2" if code[-1] != "2" else "3")
    answers = [await patient.give(wrong), await patient.give(code, DOCTOR), await patient.give(code, "x@y.fr")]
    texts = {re.sub(r'value="[^"]*"', "", answer.text) for answer in answers}
    assert ({answer.status_code for answer in answers}, len(texts)) == ({403}, 1)
    await patient.give(code)
    page = await patient.page("/activation/moyen")
    async with patient.web.browser() as other:  # the ticket serves no other browser
        for cookie in patient.browser.cookies.jar:
            if cookie.name == "__Host-inscription":
                other.cookies.jar.set_cookie(cookie)
        assert (await other.get("/activation/moyen")).headers["location"] == "/activation?fin=1"
    later(ENROLMENT_SECONDS + 1)  # type: ignore[operator]
    answer = await patient.post("/activation/mot-de-passe", page, motdepasse=PASSWORD, code=patient.digits(page))
    assert answer.headers["location"] == "/activation?fin=1"
    assert "il reste valable" in await patient.page("/activation?fin=1")
    assert (await patient.give(code)).status_code == 303


async def test_no_address_of_ours_names_a_patient(web: Site, patient: Person) -> None:
    seen: list[str] = []

    async def look(response: httpx.Response) -> None:
        seen.extend((str(response.request.url), response.headers.get("location", "")))

    patient.browser.event_hooks["response"] = [look]
    await patient.activate()
    await patient.page("/compte")
    assert len(seen) > 5
    ins = PATIENT.partition("@")[0]
    assert not [one for one in seen if ins in one or PASSWORD[:5] in one]


async def test_unknown_and_wrong_are_one_answer(patient: Person) -> None:
    await patient.activate()
    await patient.sign_out()
    answers = [
        await patient.sign_in("000000", password="faux et long assez"),
        await patient.sign_in("000000", address="2800199001001@patient.msg.exemple.fr"),
        await patient.sign_in("000001", address=DOCTOR),
        await patient.sign_in("", password=""),
    ]
    texts = {re.sub(r'(value|data-options)="[^"]*"', "", answer.text) for answer in answers}
    assert ({answer.status_code for answer in answers}, len(texts)) == ({403}, 1)


async def test_who_guesses_fills_no_trail(patient: Person) -> None:
    for n in range(ACCOUNT_FAILURES + 3):
        answer = await patient.sign_in("000000", address="personne@patient.msg.exemple.fr")
        assert answer.status_code == (403 if n < ACCOUNT_FAILURES else 429)
        await patient.post("/connexion/cle", answer.text, reponse="{}")
    kinds = await patient.web.world.admin.fetch("SELECT kind FROM audit")
    assert [row["kind"] for row in kinds].count("sign-in-refused") == ACCOUNT_FAILURES


async def test_a_session_that_somebody_planted_is_not_the_one_that_is_opened(patient: Person, later: object) -> None:
    await patient.activate()
    before = patient.browser.cookies["__Host-session"]
    await patient.sign_out()
    later(90)  # type: ignore[operator]
    patient.browser.cookies.set("__Host-session", before, domain="localhost")
    await patient.sign_in(patient.digits())
    stolen = await patient.browser.get("/compte", headers={"Cookie": f"__Host-session={before}"})
    assert stolen.status_code == 303


# Every POST of these pages; what stands in braces is a number or name.
POSTS = [
    "/activation",
    "/activation/cle",
    "/activation/mot-de-passe",
    "/connexion/cle",
    "/connexion/mot-de-passe",
    "/connexion/preuve/cle",
    "/connexion/preuve/mot-de-passe",
    "/connexion/preuve/essai",
    "/compte/cle",
    "/compte/cles/1/fin",
    "/compte/mot-de-passe",
    "/compte/mot-de-passe/autre",
    "/compte/codes",
    "/compte/mots-de-passe",
    "/compte/mots-de-passe/1/fin",
    "/compte/appareils/1/fin",
    "/compte/fournisseurs/psc",
    "/compte/delegations",
    "/compte/delegations/fin",
    "/sessions/fin",
]


async def test_a_form_of_another_site_does_nothing(patient: Person) -> None:
    await patient.activate()
    page = await patient.page("/compte")
    token = field(page, "jeton")
    for path in POSTS:
        for data, headers in (
            ({"jeton": "0" * 64}, {}),
            ({"autre": "1"}, {}),
            ({"jeton": token}, {"Origin": "https://autre.example"}),
            ({"jeton": token}, {"Sec-Fetch-Site": "cross-site"}),
        ):
            answer = await patient.browser.post(path, data=data, headers=headers)
            assert answer.status_code == 403, (path, data, headers)


async def test_sensitive_acts_ask_for_a_recent_proof(patient: Person, later: object) -> None:
    await patient.activate()
    page = await patient.page("/compte")
    later(RECENT_SECONDS + 60)  # type: ignore[operator]
    again = "/connexion/encore?suite=/compte"
    for path in ("/compte/mots-de-passe", "/compte/cle", "/compte/codes", "/compte/mot-de-passe/autre"):
        answer = await patient.post(path, page, motdepasse="quatre chats dorment", nom="x", reponse="{}")
        assert answer.headers["location"] == again, path
    for path in ("/compte/cle", "/compte/mot-de-passe"):
        assert (await patient.browser.get(path)).headers["location"] == again
    page = await patient.page(again)
    assert "/compte/mots-de-passe" not in await patient.page("/compte")
    wrong = await patient.post("/connexion/preuve/mot-de-passe", page, motdepasse="x", code=patient.digits())
    assert wrong.status_code == 403
    old = patient.browser.cookies["__Host-session"]
    right = {"motdepasse": PASSWORD, "code": patient.digits()}
    for suite in ("//autre.example", "https://autre.example/", "/\\autre.example", "/compte?x=1"):
        assert field(await patient.page(f"/connexion/encore?suite={suite}"), "suite") == "/messages"
    proven = await patient.post("/connexion/preuve/mot-de-passe", page, suite="//autre.example", **right)
    assert proven.headers["location"] == "/messages"
    assert patient.browser.cookies["__Host-session"] != old
    assert 'action="/compte/mots-de-passe"' in await patient.page("/compte")


async def test_somebody_elses_proof_is_none(web: Site, patient: Person) -> None:
    await patient.give(await patient.invited())
    page = await patient.page("/activation/moyen")
    await patient.post("/activation/cle", page, reponse=patient.authenticator.create(options(page), web.base))
    async with web.browser() as other:
        doctor = Person(web, other)
        doctor.authenticator = patient.authenticator
        await doctor.develop(DOCTOR)
        token = field(await doctor.page("/compte"), "jeton")
        asked = options(await patient.page("/connexion/encore?suite=/compte"))
        answer = await other.post(
            "/connexion/preuve/cle", data={"jeton": token, "reponse": patient.authenticator.get(asked, web.base)}
        )
        assert answer.status_code == 403


async def test_a_patient_manages_what_proves_them(web: Site, patient: Person, later: object) -> None:
    await patient.activate()
    async with web.browser() as other:
        elsewhere = Person(web, other)
        elsewhere.secret = patient.secret
        later(90)  # type: ignore[operator]
        await elsewhere.sign_in(patient.digits())
        assert "Oublier" in await elsewhere.page("/compte")
        page = await patient.page("/compte/cle")
        made = patient.authenticator.create(options(page), web.base)
        assert (await patient.post("/compte/cle", page, reponse=made, nom="Clé")).headers["location"] == "/compte#cles"
        weak = await patient.post("/compte/mot-de-passe/autre", page, motdepasse="azertyuiop123")
        assert "faciles à deviner" in weak.text
        changed = await patient.post("/compte/mot-de-passe/autre", page, motdepasse="quatre chiens courent")
        assert changed.status_code == 303
        assert ">nouveau<" in await patient.page("/compte")
        # Whoever had the old password is out.
        assert (await other.get("/compte")).headers["location"] == "/?fin=1"
        later(60)  # type: ignore[operator]
        assert (await elsewhere.sign_in(patient.digits())).status_code == 403
        codes = await patient.post("/compte/codes", page)
        assert len(re.findall(r"<code>[A-Z2-9-]{19}</code>", codes.text)) == RECOVERY_CODES
        enrol = await patient.page("/compte/mot-de-passe")
        digits = patient.digits(enrol)
        again = await patient.post("/compte/mot-de-passe", enrol, motdepasse="cinq chevaux galopent", code=digits)
        assert "Codes de secours" in again.text
        later(60)  # type: ignore[operator]
        assert (await elsewhere.sign_in(patient.digits(), password="cinq chevaux galopent")).status_code == 303
        number = re.findall(r"/compte/cles/(\d+)/fin", await patient.page("/compte"))[0]
        assert (await patient.post(f"/compte/cles/{number}/fin", page)).status_code == 303
        await patient.sign_out()
        page = await patient.page("/connexion/compte")
        assert (await patient.show("/connexion/cle", page)).status_code == 403


async def test_an_app_password_is_shown_once_and_ends(web: Site, patient: Person) -> None:
    await patient.develop(DOCTOR)
    page = await patient.page("/compte")
    assert "Clés d’accès" not in page  # professionals prove who they are elsewhere
    made = await patient.post("/compte/mots-de-passe", page, nom="Poste\r\ndu cabinet" + "x" * 100)
    secret = re.findall(r"<code>([a-z2-7-]{39})</code>", made.text)[0]
    accounts = Accounts(web.world.edge_pool, web.world.edge)
    given = AppPassword("", DOCTOR, secret)
    assert (await accounts.sign_in(given, "192.0.2.1")).owner_id == web.world.owners[DOCTOR]
    assert await web.world.admin.fetchval("SELECT count(*) FROM holder_alert") == 2  # a browser, and the program
    page = await patient.page("/compte")
    assert secret not in page
    assert "dernier usage le" in page
    number = re.findall(r"/compte/mots-de-passe/(\d+)/fin", page)[0]
    async with web.browser() as other:
        stranger = Person(web, other)
        await stranger.develop(PHARMACY)
        await stranger.post(f"/compte/mots-de-passe/{number}/fin", await stranger.page("/compte"))
    assert (await accounts.sign_in(given, "192.0.2.1")).owner_id == web.world.owners[DOCTOR]
    await patient.post(f"/compte/mots-de-passe/{number}/fin", page)
    with pytest.raises(Exception, match="not accepted"):
        await accounts.sign_in(given, "192.0.2.1")


async def test_a_doctor_lends_the_mailbox_and_takes_it_back(web: Site, patient: Person) -> None:
    world = web.world
    await create(
        world.admin, world.keyring, world.edge, [NewMailbox(SECRETARY, OwnerKind.PER, "Léa Roux", rpps="10000000002")]
    )
    doctor = patient
    await doctor.develop(DOCTOR)
    page = await doctor.page("/compte")
    day = f"{clock.now() + timedelta(days=30):%Y-%m-%d}"
    for fields in (
        {"adresse": SECRETARY, "lire": "on"},  # a loan has an end
        {"adresse": SECRETARY, "jusquau": day},
        {"adresse": "personne@msg.exemple.fr", "lire": "on", "jusquau": day},
        {"adresse": PHARMACY, "lire": "on", "jusquau": day},
        {"adresse": SECRETARY, "lire": "on", "jusquau": "demain"},
        {"adresse": SECRETARY, "lire": "on", "jusquau": "9999-12-31"},
    ):
        assert (await doctor.post("/compte/delegations", page, **fields)).status_code == 422, fields
    french = f"{clock.now() + timedelta(days=30):%d/%m/%Y}"
    given = await doctor.post("/compte/delegations", page, adresse=SECRETARY, lire="on", jusquau=french)
    assert given.headers["location"] == "/compte#delegations"
    page = await doctor.page("/compte")
    assert "Léa Roux" in page
    async with web.browser() as other:
        secretary = Person(web, other)
        await secretary.develop(SECRETARY)
        await secretary.post("/boites", await secretary.page("/boites"), boite=str(world.owners[DOCTOR]))
        theirs = await secretary.page("/compte")
        assert DOCTOR in theirs
        for words in ("Mots de passe d’application", "Délégations"):  # who only reads manages nothing
            assert words not in theirs
        for path in ("/compte/mots-de-passe", "/compte/delegations/fin", "/compte/mots-de-passe/1/fin"):
            refused = await secretary.post(path, theirs, nom="x", adresse=SECRETARY)
            assert refused.status_code == 403, path
        refused = await secretary.post("/compte/delegations", theirs, adresse=DOCTOR, lire="on")
        assert refused.status_code == 422
        await doctor.post("/compte/delegations/fin", page, adresse=SECRETARY)
        assert (await other.get("/compte")).headers["location"] == "/boites?fin=1"
    kinds = await world.admin.fetch("SELECT kind FROM audit WHERE owner_id = $1", world.owners[DOCTOR])
    assert {"delegated", "delegation-revoked"} <= {row["kind"] for row in kinds}


async def test_a_browser_is_known_after_its_first_sign_in(web: Site, patient: Person) -> None:
    await patient.develop(DOCTOR)
    cookie = patient.browser.cookies["__Host-appareil"]
    await patient.sign_out()
    await patient.develop(DOCTOR)
    assert patient.browser.cookies["__Host-appareil"] == cookie
    assert await web.world.admin.fetchval("SELECT count(*) FROM holder_alert") == 1
    await patient.sign_out()
    await patient.develop(PHARMACY)  # the same browser, another holder
    assert await web.world.admin.fetchval("SELECT count(*) FROM holder_alert") == 2
    page = await patient.page("/compte")
    assert "cet appareil" in page
    number = re.findall(r"/compte/appareils/(\d+)/fin", page)[0]
    await patient.post(f"/compte/appareils/{number}/fin", page)
    assert "Aucun appareil connu" in await patient.page("/compte")


async def test_a_patient_binds_an_account_of_a_provider_in_the_session_that_asked(world: World, tmp_path: Path) -> None:
    settings = relying.identity(tmp_path, relying.free_port(), kind="patient", label="FranceConnect")
    async with (
        site(world, tmp_path, identity=settings) as web,
        relying.provided(world, web.settings, web.base) as there,
    ):

        async def back(browser: httpx.AsyncClient, suite: str = "") -> httpx.Response:
            begun = await browser.get(f"/connexion/{relying.NAME}{suite}")
            return await browser.get(await there.sign_in(begun.headers["location"], person=relying.DOCTOR))

        async with web.browser() as browser, web.browser() as attacker:
            patient, other = Person(web, browser), Person(web, attacker)
            await patient.develop(PATIENT)
            # A link alone binds nothing, nor does what was asked for in another session.
            assert "Aucune boîte" in (await back(browser, "?suite=/compte")).text
            await patient.develop(PATIENT)
            asked = await patient.post(f"/compte/fournisseurs/{relying.NAME}", await patient.page("/compte"))
            assert "Lier FranceConnect" in asked.text
            await other.develop(PHARMACY)
            for cookie in browser.cookies.jar:
                if cookie.name == "__Host-liaison":
                    attacker.cookies.jar.set_cookie(cookie)
            assert "Aucune boîte" in (await back(attacker)).text
            assert (await back(browser, "?suite=/compte")).headers["location"] == "/compte"
            refused = await other.post(f"/compte/fournisseurs/{relying.NAME}", await other.page("/compte"))
            assert refused.status_code == 403  # a pharmacy has no local account
        async with web.browser() as browser:
            assert (await back(browser)).headers["location"] == "/messages"
            assert "Jeanne Martin" in await Person(web, browser).page("/messages")
    assert await world.admin.fetchval("SELECT count(*) FROM audit WHERE kind = 'holder-bound'") >= 1
