"""The development provider over real HTTPS: as programs and browsers use it, and as somebody attacks it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet

from crypto.pki import development
from server.base import clock
from server.provider.addresses import PROTOCOL, REALM
from server.provider.model import Client
from tests.programs import need
from tests.provider_server import DOCTOR, SECRETARY, SOFTWARE, WEB, WEB_URI, ProviderServer, hidden, provider_server
from tests.web_server import Page, web_server


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the PKI is, which takes a moment to make."""
    folder = tmp_path_factory.mktemp("provider")
    development.create(folder / "pki", "msg.exemple.fr", clock.now(), ["localhost", "127.0.0.1"])
    return folder


@pytest.fixture
async def server(place: Path) -> AsyncIterator[ProviderServer]:
    async with provider_server(place) as running:
        yield running


VERIFIER = secrets.token_urlsafe(48)
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
GOOD = {
    "client_id": WEB.client_id,
    "redirect_uri": WEB_URI,
    "response_type": "code",
    "scope": "openid scope_all",
    "acr_values": "eidas1",
    "state": "état &=",
    "nonce": "n-1",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


def query(**changes: str) -> str:
    return "/auth?" + urlencode({name: value for name, value in (GOOD | changes).items() if value})


def answered(place: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(place).query).items()}


async def redeem(browser: httpx.AsyncClient, code: str, **changes: str) -> httpx.Response:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": WEB_URI, "code_verifier": VERIFIER}
    return await browser.post(f"{PROTOCOL}/token", data=form | changes, auth=(WEB.client_id, WEB.secret))


async def introspected(browser: httpx.AsyncClient, token: str) -> dict[str, Any]:
    answer = await browser.post(f"{PROTOCOL}/token/introspect", data={"token": token}, auth=(WEB.client_id, WEB.secret))
    return dict(answer.json())


async def test_a_doctor_signs_in_with_a_code(server: ProviderServer) -> None:
    found = answered(await server.sign_in(query()))
    assert (found["state"], found["iss"]) == (GOOD["state"], server.issuer)
    async with server.client() as browser:
        answer = await redeem(browser, found["code"])
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        keys = KeySet.import_key_set((await browser.get(f"{PROTOCOL}/certs")).json())
        assert len(keys.keys) == 2
        tokens = answer.json()
        claims = jwt.decode(tokens["id_token"], keys, ["RS256"]).claims
        assert (claims["iss"], claims["aud"], claims["nonce"]) == (server.issuer, WEB.client_id, "n-1")
        assert claims["acr"] == "eidas1"
        digest = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
        assert claims["at_hash"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        access = jwt.decode(tokens["access_token"], keys, ["RS256"]).claims
        assert access["exp"] - access["iat"] == tokens["expires_in"] == 120
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        told = (await browser.get(f"{PROTOCOL}/userinfo", headers=bearer)).json()
        assert told["SubjectNameID"] == DOCTOR.national_id
        assert told["SubjectRefPro"]["exercices"][0]["codeProfession"] == "10"
        said = await introspected(browser, tokens["access_token"])
        assert said["active"]
        assert (said["azp"], said["SubjectNameID"]) == (WEB.client_id, DOCTOR.national_id)
        refreshing = await introspected(browser, tokens["refresh_token"])
        assert refreshing["active"]
        assert "SubjectNameID" not in refreshing


async def test_somebody_without_a_profession_has_no_professional_reference(server: ProviderServer) -> None:
    token = server.tokens(SECRETARY)["access_token"]
    async with server.client() as browser:
        told = (await browser.get(f"{PROTOCOL}/userinfo", headers={"Authorization": f"Bearer {token}"})).json()
    assert told["SubjectNameID"] == SECRETARY.national_id
    assert not {"SubjectRefPro", "SubjectRole"} & set(told)


async def curl(server: ProviderServer, path: str, *words: str) -> Any:
    """What curl gets."""
    command = [need("curl"), "--silent", "--show-error", "--cacert", str(server.root), server.origin + path, *words]
    done = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await done.communicate()
    assert done.returncode == 0
    return json.loads(out)


async def test_practice_software_of_another_make_gets_a_token_by_ciba(server: ProviderServer) -> None:
    """curl as the software, a browser as the telephone."""
    found = await curl(server, f"{REALM}/.well-known/wallet-openid-configuration")
    assert found == await curl(server, f"{REALM}/.well-known/openid-configuration")
    assert found["issuer"] == server.issuer

    async def post(endpoint: str, **form: str) -> Any:
        # RFC 6749 §2.3.1, which curl leaves to its caller: identifier and secret are form-encoded
        user = urlencode({"": SOFTWARE.client_id})[1:] + ":" + urlencode({"": SOFTWARE.secret})[1:]
        return await curl(server, urlsplit(found[endpoint]).path, "--user", user, "--data", urlencode(form))

    hint = {"scope": "openid", "login_hint": DOCTOR.national_id, "binding_message": "<b>K7</b>"}
    asked = await post("backchannel_authentication_endpoint", **hint)
    polling = {"grant_type": "urn:openid:params:grant-type:ciba", "auth_req_id": asked["auth_req_id"]}
    assert (await post("token_endpoint", **polling))["error"] == "authorization_pending"
    async with server.client() as telephone:
        page = await telephone.get("/application")
        assert "Aline MARTIN" in page.text
        assert "&lt;b&gt;K7&lt;/b&gt;" in page.text
        assert "<b>K7" not in page.text
        done = await telephone.post("/application", data=hidden(page.text))
        assert done.status_code == 303
        assert "Aucune demande" in (await telephone.get(done.headers["location"])).text
    tokens = await post("token_endpoint", **polling)
    said = await post("introspection_endpoint", token=tokens["access_token"])
    assert (said["SubjectNameID"], said["azp"]) == (DOCTOR.national_id, SOFTWARE.client_id)


async def test_the_page_says_what_it_is_and_forms_go_to_the_client_alone(server: ProviderServer) -> None:
    async with server.client() as browser:
        page = await browser.get(query(login_hint=DOCTOR.national_id, acr_values="eidas3"))
    assert "Fournisseur d’identité de développement – ne prouve rien" in page.text
    assert "form-action 'self' https://localhost:1;" in page.headers["content-security-policy"]
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert (page.headers["x-frame-options"], page.headers["cache-control"]) == ("DENY", "no-store")
    assert SECRETARY.national_id not in page.text  # the hint names somebody else
    assert "Carte CPS" in page.text
    assert "Application e-CPS" not in page.text  # it does not reach what is asked for


async def test_who_is_signed_in_goes_on_at_once(server: ProviderServer) -> None:
    async with server.client() as browser:
        page = await browser.get(query())
        fields = hidden(page.text) | {"personne": DOCTOR.national_id}
        await browser.post("/connexion", data=fields)
        again = await browser.get(query(prompt="none"))
        assert "code" in answered(again.headers["location"])
        assert (await browser.get(query(prompt="login"))).status_code == 200
        assert (await browser.post("/connexion", data=fields)).status_code == 400  # a page is good once


async def test_a_person_may_turn_back(server: ProviderServer) -> None:
    async with server.client() as browser:
        fields = hidden((await browser.get(query())).text) | {"annuler": "1"}
        answer = await browser.post("/connexion", data=fields)
    assert answered(answer.headers["location"])["error"] == "access_denied"


# Attacks


async def test_an_unknown_address_is_never_gone_to(server: ProviderServer) -> None:
    async with server.client() as browser:
        for changes in (
            {"redirect_uri": "https://evil.example/"},
            {"client_id": "evil"},
            {"redirect_uri": WEB_URI + "/"},
        ):
            answer = await browser.get(query(**changes), headers={"Accept": "text/html"})
            assert answer.status_code == 400
            assert "Cette demande est refusée" in answer.text
        told = await browser.get(query(code_challenge_method="plain"))
        assert answered(told.headers["location"])["error"] == "invalid_request"
        out = await browser.get(f"{PROTOCOL}/logout?post_logout_redirect_uri=https://evil.example/")
        assert (out.status_code, "location" in out.headers) == (400, False)


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({}, False),  # another browser: its cookie is not that of the page
        ({"Origin": "https://evil.example"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
    ],
)
async def test_a_form_of_another_page_signs_nobody_in(
    server: ProviderServer, headers: dict[str, str], kept: bool
) -> None:
    async with server.client() as attacker, server.client() as victim:
        fields = hidden((await attacker.get(query())).text) | {"personne": DOCTOR.national_id}
        await victim.get(query())
        answer = await (attacker if kept else victim).post("/connexion", data=fields, headers=headers)
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
        other = await (attacker if kept else victim).post("/application", data=fields, headers=headers)
        assert other.status_code == 403


async def test_a_code_is_good_once_and_for_its_own_client(server: ProviderServer) -> None:
    code = answered(await server.sign_in(query()))["code"]
    async with server.client() as browser:
        strange = await browser.post(f"{PROTOCOL}/token", data={"grant_type": "authorization_code"}, auth=("x", "y"))
        assert strange.status_code == 401
        assert strange.headers["www-authenticate"].startswith("Basic")
        tokens = (await redeem(browser, code)).json()
        again = await redeem(browser, code)
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
        assert await introspected(browser, tokens["access_token"]) == {"active": False}
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        gone = await browser.get(f"{PROTOCOL}/userinfo", headers=bearer)
        assert (gone.status_code, gone.headers["www-authenticate"].partition(" ")[0]) == (401, "Bearer")


async def test_what_is_no_form_or_too_much_of_one(server: ProviderServer) -> None:
    async with server.client() as browser:
        place, auth = f"{PROTOCOL}/token", (WEB.client_id, WEB.secret)
        for body, kind, status in (
            (b"a" * 70_000, "application/x-www-form-urlencoded", 413),
            (b"a" * 600_000, "application/x-www-form-urlencoded", 413),
            (b"grant_type=a&grant_type=b", "application/x-www-form-urlencoded", 400),
            (b"{}", "application/json", 400),
            (b"a=%ff", "application/x-www-form-urlencoded", 400),
        ):
            answer = await browser.post(place, content=body, headers={"Content-Type": kind}, auth=auth)
            assert (answer.status_code, answer.json()["error"]) == (status, "invalid_request")
        assert (await browser.get("/auth?" + "a" * 20_000)).status_code in (400, 414, 431)
        assert (await browser.get(query(), headers={"Host": "evil.example"})).status_code == 400
        assert (await browser.get("/nothing")).status_code == 404


# Logout


async def test_a_logout_is_confirmed_or_shown_to_be_the_clients(place: Path) -> None:
    pki = place / "pki"
    with web_server(pki / "server.pem", pki / "server.key") as client:
        client.pages["/fin"] = Page(status=204)
        told = Client(
            WEB.client_id, WEB.name, WEB.secret, (WEB_URI,), WEB.post_logout_redirect_uris, client.url("/fin")
        )
        async with provider_server(place, clients=(told, SOFTWARE)) as server, server.client() as browser:
            fields = hidden((await browser.get(query())).text) | {"personne": DOCTOR.national_id}
            code = answered((await browser.post("/connexion", data=fields)).headers["location"])["code"]
            tokens = (await redeem(browser, code)).json()
            page = await browser.get(f"{PROTOCOL}/logout")
            assert "Se déconnecter ?" in page.text
            assert client.asked == []
            out = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": told.post_logout_redirect_uris[0]}
            ended = await browser.get(f"{PROTOCOL}/logout?{urlencode(out)}")
            assert ended.headers["location"] == told.post_logout_redirect_uris[0]
            assert [(method, path) for method, path, _ in client.asked] == [("POST", "/fin")]
            assert (await browser.get(query(prompt="none"))).headers["location"].find("login_required") > 0
            page = await browser.get(f"{PROTOCOL}/logout")
            assert "Vous êtes déconnecté" in (await browser.post(f"{PROTOCOL}/logout", data=hidden(page.text))).text


# What the server of the tests does wrong when it is told to


async def test_the_provider_misbehaves_when_it_is_told_to(server: ProviderServer) -> None:
    def header(token: str) -> dict[str, Any]:
        part = token.partition(".")[0]
        return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))

    keys = KeySet.import_key_set(server.provider.keys.public())
    for algorithm in ("none", "HS256"):
        server.faults.algorithm = algorithm
        assert header(server.tokens()["access_token"])["alg"] == algorithm
    server.faults.algorithm, server.faults.strange_key = "RS256", True
    with pytest.raises(BadSignatureError):
        jwt.decode(server.tokens()["id_token"], keys, ["RS256"])
    server.faults.strange_key, server.faults.claims = False, {"iss": "https://evil.example", "acr": None}
    said = jwt.decode(server.tokens()["id_token"], keys, ["RS256"]).claims
    assert (said["iss"], "acr" in said) == ("https://evil.example", False)
    server.faults.claims = {}
    token = server.tokens()["access_token"]
    server.faults.introspection = {"azp": "other", "acr": None}
    async with server.client() as browser:
        answer = await introspected(browser, token)
        assert (answer["azp"], "acr" in answer) == ("other", False)
        server.faults.down = True
        assert (await browser.get("/auth")).status_code == 503
    assert ("GET", "/auth") in server.asked
