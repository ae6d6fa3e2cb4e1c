"""The development provider in a test: real HTTPS on a free port in the test's own loop, with people and clients given,
and ways to misbehave that relying parties must withstand."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.types import ASGIApp, Receive, Scope, Send

from crypto.pki import development
from server.base import clock, log
from server.base.tls import client_context, server_context
from server.http.server import HttpsServer
from server.provider.addresses import PROTOCOL, REALM
from server.provider.edge import application
from server.provider.keys import SigningKeys
from server.provider.model import Client, Person
from server.provider.provider import CIBA_GRANT, Provider

DOCTOR = Person("810000000017", "MARTIN", "Aline", "MME", "10", speciality="SM54", structure="CABINET DU DR MARTIN")
SECRETARY = Person("899000000051", "PETIT", "Lou")  # without SubjectRefPro
PEOPLE = (DOCTOR, SECRETARY)
WEB_URI = "https://localhost:1/connexion/retour"
WEB = Client("caducee-web", "Caducée", "secret-of-the-web", (WEB_URI,), ("https://localhost:1/",))
SOFTWARE = Client("logiciel", "Logiciel de cabinet", "secret:of the/software+", ciba=True)


@dataclass
class Faults:
    """What the provider does wrong from now on; each can be set and taken back at any moment."""

    delay: float = 0.0  # seconds before each answer
    down: bool = False  # 503 to everything
    broken: bool = False  # 200, with a body that is no JSON
    algorithm: str = "RS256"  # "none", or "HS256" with the public key as the secret
    strange_key: bool = False  # a key that certs does not publish, under the kid of one that it does
    claims: dict[str, Any] = field(default_factory=dict)  # put over those of each token; None takes one away
    introspection: dict[str, Any] = field(default_factory=dict)  # put over each answer of introspection
    userinfo: dict[str, Any] = field(default_factory=dict)


class CrookedKeys(SigningKeys):
    """Signs as the faults say."""

    def __init__(self, now: datetime, faults: Faults) -> None:
        super().__init__(now)
        self._faults = faults
        self._strange = RSAKey.generate_key(2048)

    def sign(self, claims: dict[str, Any], now: datetime, kind: str = "JWT") -> str:
        faults, mixed = self._faults, claims | self._faults.claims
        claims = {name: value for name, value in mixed.items() if value is not None}
        header = {"typ": kind, "kid": self._current.kid, "alg": faults.algorithm}
        if faults.algorithm != "RS256":
            signed, secret = f"{_part(header)}.{_part(claims)}", self._current.as_pem(private=False)
            mark = hmac.digest(secret, signed.encode(), "sha256") if faults.algorithm == "HS256" else b""
            return f"{signed}.{_base64(mark)}"
        if faults.strange_key:
            return jwt.encode(header, claims, self._strange, ["RS256"])
        return super().sign(claims, now, kind)


@dataclass
class ProviderServer:
    """Where it is, and how to make it do things. `asked`: method and path of each request, in order."""

    issuer: str
    root: Path
    provider: Provider
    people: dict[str, Person]
    faults: Faults
    asked: list[tuple[str, str]]

    @property
    def origin(self) -> str:
        return self.issuer.removesuffix(REALM)

    def tls(self) -> ssl.SSLContext:
        return client_context(self.root)

    def client(self) -> httpx.AsyncClient:
        """A program, or a browser without a cookie."""
        return httpx.AsyncClient(base_url=self.origin, verify=self.tls(), timeout=60, headers={"Origin": self.origin})

    def rotate(self) -> None:
        """Change the signing key; the former stays published, the one before it does not."""
        self.provider.keys.rotate(clock.now())

    def tokens(self, person: Person = DOCTOR, client: Client = SOFTWARE, acr: str = "eidas1") -> dict[str, Any]:
        """What a sign-in by CIBA gives, without the network: access_token, refresh_token, id_token …"""
        provider, now = self.provider, clock.now()
        hint = {"scope": "openid scope_all", "login_hint": person.national_id, "acr_values": acr}
        name = provider.ask(client, hint, now)["auth_req_id"]
        provider.decide(person.national_id, name, True, now)
        return provider.token(client, {"grant_type": CIBA_GRANT, "auth_req_id": name}, now)

    async def sign_in(self, address: str, person: Person = DOCTOR, means: str = "eidas1") -> str:
        """Follow an authorization request as a browser would and choose a person; where the browser is sent then."""
        async with self.client() as browser:
            page = await browser.get(address)
            if page.status_code == 303:
                return page.headers["location"]
            fields = hidden(page.text) | {"personne": person.national_id, "moyen": means}
            answer = await browser.post(f"{self.origin}/connexion", data=fields)
            assert answer.status_code == 303, answer.text
            return answer.headers["location"]


@asynccontextmanager
async def provider_server(
    place: Path, people: Iterable[Person] = PEOPLE, clients: Iterable[Client] = (WEB, SOFTWARE), port: int = 0
) -> AsyncIterator[ProviderServer]:
    """Serve the provider under the root in `place`/pki, which is made when it is not there."""
    if not (place / "pki" / "root.pem").exists():
        development.create(place / "pki", "msg.exemple.fr", clock.now(), ["localhost", "127.0.0.1"])
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    known, faults = {person.national_id: person for person in people}, Faults()
    registered = {client.client_id: client for client in clients}
    issuer = f"https://localhost:{bound.getsockname()[1]}{REALM}"
    provider = Provider(issuer, registered, lambda: known, CrookedKeys(clock.now(), faults))
    root = place / "pki" / "root.pem"
    app = application(provider, frozenset({"localhost", "127.0.0.1"}), client_context(root), log.configure("provider"))
    made = ProviderServer(issuer, root, provider, known, faults, [])
    tls = server_context(place / "pki" / "server.pem", place / "pki" / "server.key")
    server = HttpsServer(_misbehaving(app, made), tls)
    await server.listen(bound)
    try:
        yield made
    finally:
        await server.drain(clock.monotonic() + 5)
        await server.close()


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of a page's first form."""
    inputs = page.partition("<form")[2].partition("</form>")[0].split('<input type="hidden" name="')[1:]
    return {one.partition('"')[0]: one.split('"')[2] for one in inputs}


def _misbehaving(app: ASGIApp, server: ProviderServer) -> ASGIApp:
    async def misbehave(scope: Scope, receive: Receive, send: Send) -> None:
        faults, path = server.faults, scope["path"]
        server.asked.append((scope["method"], path))
        if faults.delay:
            await asyncio.sleep(faults.delay)
        if faults.down or faults.broken:
            headers = [(b"content-type", b"application/json"), (b"content-length", b"1")]
            await send({"type": "http.response.start", "status": 503 if faults.down else 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"{"})
            return
        changes = {f"{PROTOCOL}/token/introspect": faults.introspection, f"{PROTOCOL}/userinfo": faults.userinfo}
        if changes.get(path):
            await _changed(app, scope, receive, send, changes[path])
        else:
            await app(scope, receive, send)

    return misbehave


async def _changed(app: ASGIApp, scope: Scope, receive: Receive, send: Send, over: dict[str, Any]) -> None:
    """Put values over those of a JSON answer; None takes one away."""
    start: dict[str, Any] = {}
    body = b""

    async def catch(message: Any) -> None:
        nonlocal body
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            body += message.get("body", b"")

    await app(scope, receive, catch)
    said = {name: value for name, value in (json.loads(body) | over).items() if value is not None}
    text = json.dumps(said).encode()
    kept = [(name, value) for name, value in start["headers"] if name != b"content-length"]
    await send(start | {"headers": [*kept, (b"content-length", str(len(text)).encode())]})
    await send({"type": "http.response.body", "body": text})


def _part(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value).encode())


def _base64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
