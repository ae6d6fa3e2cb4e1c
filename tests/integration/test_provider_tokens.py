"""Practice software signs in to IMAP and submission by its own access token of the identity provider."""

from __future__ import annotations

import asyncio
import base64
import imaplib
import json
import smtplib
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from crypto.smime.anchors import TrustAnchors
from server.base import clock
from server.base.errors import Reason, Refused, TryLater
from server.base.settings import Settings
from server.identity import delegations
from server.identity.accounts import Accounts
from server.identity.delegations import Delegation
from server.identity.model import Principal, Rights
from server.identity.sasl import OAUTHBEARER, XOAUTH2, Bearer
from server.identity.tokens import verifier
from server.relying import provider as relying_provider
from tests import imap_edge, relying
from tests.provider_server import DOCTOR as STRANGER
from tests.provider_server import SECRETARY as STUDENT
from tests.provider_server import WEB, Client, ProviderServer
from tests.smtp_edge import make_pki, post
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World

HERE = "192.0.2.1"
in_thread = asyncio.to_thread


@pytest.fixture
def settings(world: World, tmp_path: Path) -> Settings:
    make_pki(tmp_path / "pki")
    identity = relying.identity(tmp_path, relying.free_port())
    return world.database.settings.model_copy(update={"home": tmp_path, "identity": identity})


@pytest.fixture
async def psc(world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProviderServer]:
    monkeypatch.setattr(relying_provider, "REMEMBERED", 0.0)
    async with relying.provided(world, settings) as server:
        yield server


def access_token(psc: ProviderServer, **given: Any) -> str:
    return str(psc.tokens(**{"person": relying.DOCTOR, **given})["access_token"])


def accounts(world: World, settings: Settings, needs: Rights = Rights.READ) -> Accounts:
    tokens = verifier(settings, world.edge_pool, world.edge)
    assert tokens is not None
    return Accounts(world.edge_pool, world.edge, tokens=tokens, needs=needs)


async def lend(world: World, rights: Rights, mailbox: str = PHARMACY) -> None:
    part = Delegation(world.owners[DOCTOR], rights, None)
    await delegations.grant(world.admin, world.edge, world.owners[mailbox], (world.owners[DOCTOR], DOCTOR), part)


async def test_a_token_opens_the_holders_mailboxes_and_those_shared(
    world: World, settings: Settings, psc: ProviderServer
) -> None:
    asked = accounts(world, settings)

    async def opened(mailbox: str, token: str) -> Principal | Reason:
        try:
            return await asked.sign_in(Bearer(mailbox, token), HERE)
        except (Refused, TryLater) as refusal:
            return refusal.reason

    token = access_token(psc)
    doctor = await opened(DOCTOR.upper(), token)
    assert isinstance(doctor, Principal)
    assert (doctor.owner_id, doctor.address, doctor.how) == (world.owners[DOCTOR], DOCTOR, relying.NAME)
    assert doctor.until is not None
    assert doctor.until <= clock.now() + timedelta(hours=4)
    # Whose mailbox it is not, and what is no mailbox, answer alike; so does what is no token.
    for mailbox, given in ((PHARMACY, token), (PATIENT, token), ("nobody@msg.exemple.fr", token), ("", token)):
        assert await opened(mailbox, given) is Reason.BAD_CREDENTIALS
    for given in ("x", "a.b.c", token[:-4] + "AAAA", "A" * 20_000):
        assert await opened(DOCTOR, given) is Reason.BAD_CREDENTIALS
    await lend(world, Rights.READ | Rights.SEND)
    team = await opened(PHARMACY, token)
    assert isinstance(team, Principal)
    assert (team.address, team.actor) == (PHARMACY, DOCTOR)


def test_the_mechanisms_are_offered_where_software_has_tokens(world: World, settings: Settings) -> None:
    shown = [b"a certificate"]
    assert accounts(world, settings).mechanisms(shown) == ("PLAIN", "EXTERNAL", "XOAUTH2", "OAUTHBEARER")
    none = relying.identity(settings.home, 443, software=[])
    for identity in (none, none.model_copy(update={"providers": {}})):
        without = settings.model_copy(update={"identity": identity})
        assert verifier(without, world.edge_pool, world.edge) is None
    assert Accounts(world.edge_pool, world.edge).mechanisms() == ("PLAIN",)


async def test_tokens_that_open_nothing(world: World, settings: Settings, psc: ProviderServer) -> None:
    asked = accounts(world, settings)

    networks = count(1)

    async def is_refused(token: str) -> bool:
        with pytest.raises(Refused) as refusal:
            await asked.sign_in(Bearer(DOCTOR, token), f"192.0.2.{next(networks)}")
        return refusal.value.reason is Reason.BAD_CREDENTIALS

    token = access_token(psc)
    await asked.sign_in(Bearer(DOCTOR, token), HERE)
    now = int(clock.now().timestamp())
    answers: list[dict[str, Any]] = [
        {"active": False},
        {"iss": "https://evil.example"},
        {"azp": "unlisted"},
        {"azp": WEB.client_id},
        {"exp": now - 61},
        {"acr": "eidas0"},
        {"SubjectNameID": None},
        {"SubjectNameID": "899000000051"},
    ]
    for answer in answers:
        psc.faults.introspection = answer
        assert await is_refused(token), answer
    psc.faults.introspection = {}
    psc.faults.userinfo = {"SubjectRefPro": None}
    assert await is_refused(token)
    psc.faults.userinfo = {}
    # Signed by another, by a secret, by nobody, or saying something else of itself.
    for fault in ({"algorithm": "none"}, {"algorithm": "HS256"}, {"strange_key": True}):
        for name, value in fault.items():
            setattr(psc.faults, name, value)
        forged = access_token(psc)
        psc.faults.algorithm, psc.faults.strange_key = "RS256", False
        assert await is_refused(forged), fault
    for claims in ({"iss": "https://evil.example"}, {"azp": "unlisted"}, {"exp": now - 61}, {"typ": "ID"}):
        psc.faults.claims = claims
        forged = access_token(psc)
        psc.faults.claims = {}
        assert await is_refused(forged), claims
    tokens = psc.tokens(person=relying.DOCTOR)
    for other in (tokens["id_token"], tokens["refresh_token"]):
        assert await is_refused(str(other))
    for person in (STRANGER, STUDENT):
        assert await is_refused(access_token(psc, person=person))
    unlisted = Client("unlisted", "Un autre logiciel", "secret-of-another", ciba=True)
    assert await is_refused(access_token(psc, client=unlisted))
    assert psc.asked.count(("POST", "/auth/realms/esante-wallet/protocol/openid-connect/token/introspect")) < 20


async def test_imap_and_submission_take_both_mechanisms(
    world: World, settings: Settings, psc: ProviderServer, anchors: TrustAnchors, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = access_token(psc)
    said = {
        XOAUTH2: f"user={DOCTOR}\1auth=Bearer {token}\1\1",
        OAUTHBEARER: f"n,a={DOCTOR},\1host=localhost\1auth=Bearer {token}\1\1",
    }
    pki = settings.home / "pki"
    changes = {"identity": settings.identity, "home": settings.home}

    def imap(running: imap_edge.Access, mechanism: str, text: str) -> tuple[str, list[bytes]]:
        client = imap_edge.Client(running.port, running.tls())
        told: list[bytes] = []

        def answer(challenge: bytes) -> bytes:
            told.append(challenge)
            return text.encode() if len(told) == 1 else b"\1"

        try:
            return client.authenticate(mechanism, answer)[0], told
        except imaplib.IMAP4.error as error:
            return str(error), told
        finally:
            client.shutdown()

    def smtp(port: int, tls: Any, mechanism: str, text: str) -> tuple[int, bytes]:
        client = smtplib.SMTP("localhost", port, timeout=30)
        try:
            client.starttls(context=tls)
            client.ehlo()
            return client.docmd("AUTH", f"{mechanism} {base64.b64encode(text.encode()).decode()}")
        finally:
            client.close()

    reads, writes = imap_edge.access(world, pki, anchors, changes=changes), post(world, pki, anchors, changes=changes)
    async with reads as reading, writes as writing:
        port, tls = writing.sockets.ports["submission"], writing.tls()
        for mechanism, text in said.items():
            assert (await in_thread(imap, reading, mechanism, text))[0] == "OK"
            assert (await in_thread(smtp, port, tls, mechanism, text))[0] == 235
            wrong = text.replace(token, token[:-4] + "AAAA")
            status, told = await in_thread(imap, reading, mechanism, wrong)
            assert "AUTHENTICATIONFAILED" in status
            # RFC 7628 §3.2.2: the client learns why before the exchange fails.
            assert json.loads(told[1])["schemes"] == "bearer"
            assert (await in_thread(smtp, port, tls, mechanism, wrong))[0] == 334
        # What hides commands in a mailbox's name is no sign-in at all.
        hidden = f"user={DOCTOR}\r\nA1 LOGOUT\1auth=Bearer {token}\1\1"
        assert (await in_thread(smtp, port, tls, XOAUTH2, hidden))[0] == 501
        psc.faults.down = True
        status, _ = await in_thread(imap, reading, XOAUTH2, said[XOAUTH2])
        assert "UNAVAILABLE" in status
        assert (await in_thread(smtp, port, tls, XOAUTH2, said[XOAUTH2]))[0] == 454
        psc.faults.down = False
        monkeypatch.setattr(relying_provider, "SECONDS", 0.5)
        psc.faults.delay = 3.0
        assert "UNAVAILABLE" in (await in_thread(imap, reading, XOAUTH2, said[XOAUTH2]))[0]


async def test_a_token_is_asked_about_once_in_a_while(
    world: World, settings: Settings, psc: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relying_provider, "REMEMBERED", 60.0)
    asked = accounts(world, settings)
    token = access_token(psc)
    await asyncio.gather(*(asked.sign_in(Bearer(DOCTOR, token), HERE) for _ in range(8)))
    assert len([path for _, path in psc.asked if path.endswith("/introspect")]) == 1
