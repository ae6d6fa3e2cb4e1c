"""The development provider over real HTTPS: as programs and browsers use it, and as somebody attacks it."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from server.provider.endpoints import PROTOCOL
from tests.provider_server import DOCTOR, SECRETARY, WEB, WEB_URI, ProviderServer, provider_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ProviderServer]:
    async with provider_server(tmp_path) as running:
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
