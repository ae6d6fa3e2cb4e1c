"""The pages over real HTTPS: sign in, read, open, answer; and everything that must not be possible."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from server.audit.indicators import Indicators
from server.base.errors import Reason
from server.base.limits import SESSION_IDLE_SECONDS, WEB_BODY_BYTES, WEB_HEADER_BYTES
from server.base.sections import Identity
from server.web.problems import PROBLEMS
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World
from tests.web_site import PDF, SUBJECT, Site, deliver, prescription, sign_in, site, token_in

MESSAGE = "/messages/1/1"


@pytest.fixture
async def web(world: World, tmp_path: Path) -> AsyncIterator[Site]:
    async with site(world, tmp_path) as made:
        yield made


@pytest.fixture
async def patient(web: Site, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A patient who has a signed prescription and is signed in."""
    await deliver(web.world, web, prescription(tmp_path), PATIENT)
    async with web.browser() as browser:
        answer = await sign_in(browser, PATIENT)
        assert answer.headers["location"] == "/messages"
        yield browser


async def test_a_sign_in_and_an_answer_are_counted_by_type_of_mailbox(web: Site, tmp_path: Path) -> None:
    counted = Indicators(web.world.edge_pool)
    await deliver(web.world, web, prescription(tmp_path), PATIENT)
    async with web.browser() as browser:
        await sign_in(browser, PATIENT)
        form = (await browser.get(f"{MESSAGE}/reponse")).text
        fields = {
            "jeton": token_in(form),
            "envoi": re.findall(r'name="envoi" value="([^"]+)"', form)[0],
            "texte": "Oui",
        }
        assert (await browser.post(f"{MESSAGE}/reponse", data=fields)).status_code == 303
    await counted.tell()
    rows = await web.world.admin.fetch("SELECT name, kind, count FROM indicator")
    assert {(row["name"], row["kind"], row["count"]) for row in rows} >= {
        ("web", "PATIENT", 1),
        ("sent", "PATIENT", 1),
        ("from_patients", "PER", 1),
    }


async def test_answers_without_sign_in(web: Site) -> None:
    async with web.browser() as browser:
        front = await browser.get("/")
        assert front.status_code == 200
        assert '<html lang="fr">' in front.text
        assert "Mode développement" in front.text
        assert (await browser.get("/health")).json() == {"status": "ok"}
        statement = await browser.get("/fhir/metadata", headers={"Accept": "application/fhir+json"})
        assert statement.headers["content-type"] == "application/fhir+json"
        assert statement.json()["fhirVersion"] == "4.0.1"
        assert statement.json()["implementation"]["url"] == f"{web.base}/fhir"
        assert (await browser.get("/fhir/metadata?_format=xml")).json()["resourceType"] == "OperationOutcome"
        assert (await browser.get("/fhir/Patient")).status_code == 404
        assert (await browser.get("/static/caducee.css")).status_code == 200


async def test_every_answer_has_its_guards(web: Site, patient: httpx.AsyncClient) -> None:
    for path in ("/", "/messages", MESSAGE, "/nowhere", "/fhir/metadata", "/static/caducee.css"):
        headers = (await patient.get(path)).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["strict-transport-security"]
        assert headers["referrer-policy"] == "same-origin"
        assert "server" not in headers
        assert headers["cache-control"] == ("public, max-age=3600" if "static" in path else "no-store"), path
    assert "<script" not in (await patient.get(MESSAGE)).text


async def test_main_job(web: Site, patient: httpx.AsyncClient) -> None:
    inbox = (await patient.get("/messages")).text
    assert SUBJECT in inbox
    assert "Non lu" in inbox
    page = (await patient.get(MESSAGE)).text
    assert "Signature valide" in page
    assert "Anne DUPONT" in page
    assert "RPPS 10101010101" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Non lu" not in (await patient.get("/messages")).text

    pdf = await patient.get(re.search(r'class="piece" href="([^"]+)"', page)[1])  # type: ignore[index]
    assert pdf.content == PDF
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.headers["content-disposition"].startswith('inline; filename="ordonnance.pdf"')

    record = (await patient.get("/dossier")).text
    assert record.count('class="document"') == 1
    document = re.search(r'href="(/dossier/[0-9a-f]{32})"', record)[1]  # type: ignore[index]
    assert (await patient.get(document)).content == PDF
    assert (await patient.get(f"{document}/message")).headers["location"] == MESSAGE
    assert (await patient.get("/dossier")).text.count('class="document"') == 1  # filed once, however often looked at

    form = (await patient.get(f"{MESSAGE}/reponse")).text
    fields = {
        "jeton": token_in(form),
        "envoi": re.search(r'name="envoi" value="([^"]+)"', form)[1],
        "texte": "Merci.\né",
    }  # type: ignore[index]
    for _ in range(2):  # a double click sends one message
        sent = await patient.post(f"{MESSAGE}/reponse", data=fields)
        assert sent.headers["location"] == f"{MESSAGE}?envoyee=1"
    texts = await web.world.texts(DOCTOR)
    assert len(texts) == 1
    assert b"In-Reply-To: <1@cabinet.example>" in texts[0]
    assert f"Subject: Re: {SUBJECT}".encode() in texts[0]
    assert "Répondu" in (await patient.get("/messages")).text
    assert SUBJECT in (await patient.get("/messages/2")).text


async def test_reading_is_in_the_trail_before_bytes_leave(web: Site, patient: httpx.AsyncClient) -> None:
    async def readings() -> int:
        return int(await web.world.admin.fetchval("SELECT count(*) FROM audit WHERE kind = 'content-read'"))

    for path in ("/messages", MESSAGE, f"{MESSAGE}/pieces/1.2", f"{MESSAGE}/original"):
        before = await readings()
        await patient.get(path)
        assert await readings() == before + 1, path


async def test_professional_reads_and_has_no_record(web: Site, tmp_path: Path) -> None:
    await deliver(web.world, web, prescription(tmp_path), PHARMACY)
    async with web.browser("en-GB,en;q=0.9") as browser:
        await sign_in(browser, PHARMACY)
        page = (await browser.get(MESSAGE)).text
        assert '<html lang="en">' in page
        assert "Valid signature" in page
        assert (await browser.get("/dossier")).status_code == 403
        assert "Health record" not in page
        assert (await browser.get("/langue/fr", headers={"Referer": f"{web.base}{MESSAGE}"})).headers[
            "location"
        ] == MESSAGE
        assert '<html lang="fr">' in (await browser.get(MESSAGE)).text
        assert (await browser.get("/langue/en", headers={"Referer": "https://evil.example//x"})).headers[
            "location"
        ] == "/"


async def test_nobody_reads_anothers(web: Site, patient: httpx.AsyncClient) -> None:
    document = re.search(r'href="(/dossier/[0-9a-f]{32})"', (await patient.get("/dossier")).text)[1]  # type: ignore[index]
    async with web.browser() as stranger:
        for path in ("/messages", MESSAGE, f"{MESSAGE}/original", document, "/compte"):
            assert (await stranger.get(path)).status_code == 303
            assert (await stranger.get(path, headers={"Accept": "*/*"})).status_code == 401
        await sign_in(stranger, DOCTOR)
        assert (await stranger.get(MESSAGE)).status_code == 404
        assert (await stranger.get(document)).status_code == 403


async def test_patient_answers_only_who_wrote(web: Site, patient: httpx.AsyncClient, tmp_path: Path) -> None:
    # The reply goes to Reply-To, who never wrote to this patient: the policy of transport refuses, the text is kept.
    data = prescription(tmp_path).replace(b"Subject:", f"Reply-To: {PHARMACY}\r\nSubject:".encode(), 1)
    await deliver(web.world, web, data.replace(b"<1@cabinet", b"<2@cabinet"), PATIENT)
    fields = await filled(patient, "/messages/1/2")
    await web.world.admin.execute("DELETE FROM contact")
    refused = await patient.post("/messages/1/2/reponse", data=fields)
    assert refused.status_code == 422
    assert "Vous pouvez écrire seulement aux professionnels qui vous ont écrit" in refused.text
    assert ">\nOui</textarea>" in refused.text
    assert await web.world.texts(PHARMACY) == []


async def filled(browser: httpx.AsyncClient, path: str = MESSAGE) -> dict[str, str]:
    """The form of an answer, filled in."""
    form = (await browser.get(f"{path}/reponse")).text
    return {"jeton": token_in(form), "envoi": re.findall(r'name="envoi" value="([^"]+)"', form)[0], "texte": "Oui"}


async def answers(browser: httpx.AsyncClient, path: str) -> httpx.Response:
    """Send an answer (with the fields of another message's form where there is none here)."""
    return await browser.post(f"{path}/reponse", data=await filled(browser))


async def test_an_answer_goes_to_reply_to(web: Site, patient: httpx.AsyncClient, tmp_path: Path) -> None:
    data = prescription(tmp_path).replace(b"Subject:", f"Reply-To: {PHARMACY}\r\nSubject:".encode(), 1)
    await deliver(web.world, web, data.replace(b"<1@cabinet", b"<2@cabinet"), PATIENT)
    assert (await answers(patient, "/messages/1/2")).status_code == 303
    assert (len(await web.world.texts(PHARMACY)), await web.world.texts(DOCTOR)) == (1, [])


async def test_an_ended_conversation_is_ended_in_the_pages(
    web: Site, patient: httpx.AsyncClient, tmp_path: Path
) -> None:
    end = f"From: {DOCTOR}\r\nTo: {PATIENT}\r\nSubject: [FIN]\r\nMessage-ID: <fin@cabinet.example>\r\n\r\nFin\r\n"
    fields = await filled(patient)
    await deliver(web.world, web, end.encode(), PATIENT)
    for refused in (await patient.get(f"{MESSAGE}/reponse"), await patient.post(f"{MESSAGE}/reponse", data=fields)):
        assert refused.status_code == 422
        assert "n’ont pas mis fin à l’échange" in refused.text
    assert await web.world.texts(DOCTOR) == []
    refusals = "SELECT count(*) FROM audit WHERE kind = 'message-refused'"
    while not (told := await web.world.admin.fetchval(refusals)):
        await asyncio.sleep(0.1)
    assert told == 1, "to look at the form is no attempt"
    await deliver(web.world, web, prescription(tmp_path).replace(b"<1@cabinet", b"<2@cabinet"), PATIENT)
    assert (await answers(patient, MESSAGE)).status_code == 303, "a later message opens again"


async def test_a_message_that_takes_no_answer_offers_none(
    web: Site, patient: httpx.AsyncClient, tmp_path: Path
) -> None:
    data = prescription(tmp_path).replace(b"Subject:", b"X-MSS-MES: FIN\r\nSubject:", 1)
    await deliver(web.world, web, data.replace(b"<1@cabinet", b"<2@cabinet"), PATIENT)
    assert "/reponse" not in (await patient.get("/messages/1/2")).text
    assert "/reponse" in (await patient.get(MESSAGE)).text
    refused = await answers(patient, "/messages/1/2")
    assert refused.status_code == 422
    assert "n’attend pas de réponse" in refused.text
    assert await web.world.texts(DOCTOR) == []


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
async def test_forms_of_other_sites_do_nothing(patient: httpx.AsyncClient, headers: dict[str, str]) -> None:
    token = token_in((await patient.get("/messages")).text)
    assert (await patient.post("/deconnexion", data={"jeton": token}, headers=headers)).status_code == 403
    assert (await patient.post("/deconnexion", data={"jeton": "0" * 64})).status_code == 403
    assert (await patient.post("/deconnexion", data={"autre": "x"})).status_code == 403
    assert (await patient.get("/messages")).status_code == 200


async def test_session_rotates_ends_and_locks(web: Site, patient: httpx.AsyncClient) -> None:
    first = patient.cookies["__Host-session"]
    stored = await web.world.admin.fetch("SELECT token_hash::text || agent AS row FROM session")
    assert all(first not in row["row"] for row in stored)
    async with web.browser() as other:
        await sign_in(other, PATIENT)
        page = (await other.get("/compte")).text
        assert page.count("Ouverte le") == 2
        await other.post("/sessions/fin", data={"jeton": token_in(page)})
        assert (await patient.get("/messages")).headers["location"] == "/?fin=1"
        second = other.cookies["__Host-session"]
        assert second != first
        # Idle for two hours: locked, and gone for whoever finds the browser.
        await web.world.admin.execute(
            "UPDATE session SET seen_at = seen_at - make_interval(secs => $1)", float(SESSION_IDLE_SECONDS + 1)
        )
        assert (await other.get("/messages")).status_code == 303


async def test_sign_in_makes_a_new_token(web: Site) -> None:
    async with web.browser() as browser:
        planted = "A" * 43
        browser.cookies.set("__Host-session", planted, domain="localhost")
        await sign_in(browser, PATIENT)
        assert [c.value for c in browser.cookies.jar if c.name == "__Host-session" and c.value == planted] in (
            [],
            [planted],
        )
        answer = await browser.get("/messages", headers={"Cookie": f"__Host-session={planted}"})
        assert answer.status_code == 303


async def test_cookies_are_kept_from_script_and_neighbours(web: Site) -> None:
    async with web.browser() as browser:
        given = (await sign_in(browser, PATIENT)).headers.get_list("set-cookie")
        (session,) = [cookie for cookie in given if cookie.startswith("__Host-session=")]
        for mark in ("HttpOnly", "Secure", "Path=/", "SameSite=lax"):
            assert mark in session
        assert "Domain" not in session


async def test_unknown_address_is_told_and_kept(web: Site) -> None:
    async with web.browser() as browser:
        for address in ("personne@msg.exemple.fr", "x" * 5_000, "a\0b@msg.exemple.fr", ""):
            refused = await sign_in(browser, address)
            assert refused.status_code == 403
            assert 'role="alert"' in refused.text


async def test_development_sign_in_is_off_unless_asked_for(world: World, tmp_path: Path) -> None:
    async with site(world, tmp_path, identity=Identity()) as closed, closed.browser() as browser:
        front = await browser.get("/")
        assert "connexion" not in re.findall(r'action="/([^"]*)"', front.text)
        assert (await browser.post("/connexion", data={"adresse": PATIENT})).status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/messages/1/99999", 404),
        ("/messages/999", 404),
        ("/messages/1/1/pieces/9", 404),
        ("/messages/1/1/pieces/..%2f", 404),
        ("/messages/x", 404),
        ("/messages/99999999999999999999", 404),
        ("/messages/1/99999999999999999999999", 404),
        ("/dossier/" + "0" * 32, 404),
        ("/dossier/%00", 404),
        ("/static/../edge.py", 404),
        ("/static/%2e%2e/edge.py", 404),
    ],
)
async def test_odd_paths_have_plain_answers(patient: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await patient.get(path)
    assert answer.status_code == status
    assert "Traceback" not in answer.text
    assert "Cela n’a pas marché" in answer.text


async def test_store_away_is_temporary(web: Site, patient: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    await web.world.admin.execute("REVOKE SELECT ON session FROM caducee_web")
    answer = await patient.get("/messages")
    assert answer.status_code == 503
    assert "session" not in answer.text.replace("/sessions", "")
    problem = await patient.get("/messages", headers={"Accept": "application/json"})
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json()["status"] == 503
    assert problem.headers["retry-after"]


async def raw(web: Site, data: bytes) -> bytes:
    port = int(web.base.rpartition(":")[2])
    tls = ssl.create_default_context(cafile=str(web.root))
    reader, writer = await asyncio.open_connection("localhost", port, ssl=tls)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(4096), 30)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", b"400"),
        (b"\x16\x03\x01 garbage\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (20 * WEB_HEADER_BYTES) + b"\r\n\r\n", b"4"),
        (b"POST /connexion HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (WEB_BODY_BYTES + 1), b"413"),
        (
            b"POST /connexion HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b"a" * 65536 + b"\r\n") * 9 + b"0\r\n\r\n",
            b"413",
        ),
        (b"POST /connexion HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\r\n", b"400"),
    ],
)  # fmt: skip
async def test_raw_requests(web: Site, request_text: bytes, status: bytes) -> None:
    answer = await raw(web, request_text)
    assert answer.startswith(b"HTTP/1.1 " + status), answer[:200]
    assert b"Traceback" not in answer


def test_every_reason_has_its_row() -> None:
    assert set(PROBLEMS) == set(Reason)
