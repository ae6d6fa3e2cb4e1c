"""A facility's server asks for tokens for its people by curl, with its certificate; they open IMAP and submission."""

from __future__ import annotations

import asyncio
import base64
import json
import smtplib
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import structlog
from cryptography.hazmat.primitives.serialization import Encoding
from structlog.testing import capture_logs

from crypto.pki import client, development
from crypto.pki.issue import Issued, new_root, organisation_client, professional
from crypto.smime.anchors import TrustAnchors
from server.app import Context, bind
from server.audit import trail
from server.base import clock
from server.base.errors import Reason, Refused, TryLater
from server.base.harvest import Harvest
from server.base.limits import FACILITY_FORM_BYTES
from server.base.sections import Facility, Trust
from server.facility import service
from server.facility.edge import FacilityEdge, serve
from server.facility.form import Asked, NotGiven
from server.identity import sasl
from server.identity.accounts import Accounts
from server.identity.facility import bindings, tokens
from server.identity.facility.sign_in import FacilityTokens, facility_tokens
from server.identity.model import Principal, Rights
from server.transport.authors import speaks_as
from server.trust.keeping import keep_crl
from server.trust.space import TrustSpace
from tests import imap_edge
from tests.programs import need
from tests.revocation_lists import crl
from tests.smtp_edge import DOMAIN, make_pki, post
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World, message

in_thread = asyncio.to_thread
HERE = "192.0.2.1"
ACTOR = {"actor": "899700000012", "actor_name": "Léa DURAND"}
SECTION = Facility(workers=1)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PKI with a facility's certificate ("organisation"), and some that are not its own."""
    folder = make_pki(tmp_path_factory.mktemp("pki"))
    root, now = Issued.load(folder, "root"), clock.now()
    organisation_client(root, development.ORGANISATION, development.FINESS, now).save(folder, "same-organisation")
    organisation_client(new_root(now), "AILLEURS", "010000000", now).save(folder, "other-anchor")
    organisation_client(root, "ANCIEN", "010000000", now.replace(year=now.year - 5)).save(folder, "expired")
    professional(root, DOCTOR, "Dr Anne Dupont", "10101010101", now).save(folder, "for-signing")
    return folder


def certificate(pki: Path, name: str = "organisation") -> client.ClientCertificate:
    return client.read(Issued.load(pki, name).certificate.public_bytes(Encoding.DER), clock.now())


@pytest.fixture
async def bound(world: World, pki: Path) -> World:
    """The pharmacy's mailbox, which the facility opens."""
    rights = Rights.READ | Rights.SEND
    await bindings.bind(world.admin, world.edge, world.owners[PHARMACY], certificate(pki), rights, None)
    return world


@dataclass
class Ask:
    """curl before the edge: the status and the answer; status 0 where TLS gave none. `shown` names a certificate."""

    edge: FacilityEdge
    pki: Path
    port: int

    async def __call__(
        self, shown: str | None = "organisation", *more: str, target: str = "/oauth2/token", **changes: str
    ) -> tuple[int, dict[str, Any]]:
        own = ["--cert", self.pki / f"{shown}.pem", "--key", self.pki / f"{shown}.key"] if shown else []
        form = {"grant_type": "client_credentials", "mailbox": PHARMACY, **ACTOR, **changes}
        fields = [word for name, value in form.items() for word in ("--data", urlencode({name: value}))]
        usual = ["--silent", "--cacert", self.pki / "root.pem", "--connect-to", "::127.0.0.1:", "--max-time", "30"]
        url = f"https://{DOMAIN}:{self.port}{target}"
        command = [need("curl"), *usual, *own, *fields, *more, "--write-out", "\n%{http_code}", url]
        ended = await in_thread(lambda: subprocess.run(list(map(str, command)), capture_output=True, timeout=60))
        body, _, status = ended.stdout.decode().rpartition("\n")
        return int(status), json.loads(body or "{}")


@pytest.fixture
async def ask(bound: World, pki: Path, anchors: TrustAnchors) -> AsyncIterator[Ask]:
    """The edge as its process runs it, with the database's rights and the secrets of its role."""
    section = SECTION.model_copy(update={"certificate": pki / "server.pem", "private_key": pki / "server.key"})
    trust = Trust(anchors=[pki / "root.pem"])
    settings = bound.database.settings.model_copy(update={"facility": section, "trust": trust})
    pool = await bound.database.pool("facility")
    edge = bound.edge.to_sign_in()
    context = Context(settings, "facility", 0, pool, structlog.get_logger(), edge=edge, anchors=anchors)
    sockets = bind(settings, "facility")
    running = await serve(context, sockets)
    try:
        yield Ask(running, pki, sockets.ports["facility"])
    finally:
        await running.drain(clock.monotonic() + 5)
        await running.close()
        pool.terminate()


def verifier(world: World, trust: TrustSpace | None = None) -> Accounts:
    """As submission has it."""
    facilities = FacilityTokens(world.edge_pool, world.edge, trust or TrustSpace({}))
    return Accounts(world.edge_pool, world.edge, facilities=facilities, needs=Rights.SEND)


async def opened(accounts: Accounts, token: str, mailbox: str = PHARMACY) -> Principal | Reason:
    try:
        return await accounts.sign_in(sasl.Bearer(mailbox, token), HERE)
    except (Refused, TryLater) as refusal:
        return refusal.reason


async def given(ask: Ask) -> str:
    status, answer = await ask()
    assert status == 200, answer
    return str(answer["access_token"])


async def test_a_token_opens_the_mailbox_and_the_trail_names_both(
    bound: World, ask: Ask, pki: Path, anchors: TrustAnchors
) -> None:
    with capture_logs() as logs:
        status, answer = await ask()
    assert (status, answer["token_type"], answer["expires_in"], answer["scope"]) == (200, "Bearer", 600, "read send")
    token = answer["access_token"]
    assert not any(secret in str(logs) for secret in (token, *ACTOR.values(), PHARMACY))
    said = f"user={PHARMACY}\1auth=Bearer {token}\1\1"
    await imap_edge.deliver(bound, "Bonjour")

    def reads(running: imap_edge.Access) -> None:
        reader = imap_edge.Client(running.port, running.tls())
        assert "AUTH=XOAUTH2" in reader.capability()[1][0].decode()
        reader.authenticate("XOAUTH2", lambda challenge: said.encode())
        assert reader.create("Dossier")[0] == "NO"  # without manage nothing is changed
        assert reader.select("INBOX", readonly=True)[0] == "OK"
        assert b"Bonjour" in reader.fetch("1", "(BODY[TEXT])")[1][0][1]
        assert reader.ask("GETMETADATA", '""', "/private/comment")[0] == "NO"
        reader.logout()

    def writes(port: int, tls: Any, sender: str) -> int:
        mail = smtplib.SMTP("localhost", port, timeout=30)
        try:
            mail.starttls(context=tls)
            mail.ehlo()
            assert mail.docmd("AUTH", f"XOAUTH2 {base64.b64encode(said.encode()).decode()}")[0] == 235
            assert mail.mail(sender)[0] == 250
            mail.rcpt(DOCTOR)
            return mail.data(message(number=7).replace(f"<{DOCTOR}>".encode(), f"<{sender}>".encode(), 1))[0]
        except AssertionError:
            return mail.mail(sender)[0]
        finally:
            mail.close()

    changes = {"facility": SECTION}
    async with imap_edge.access(bound, pki, anchors, changes=changes) as reading:
        await in_thread(reads, reading)
    async with post(bound, pki, anchors, changes=changes) as writing:
        port, tls = writing.sockets.ports["submission"], writing.tls()
        assert await in_thread(writes, port, tls, PHARMACY) == 250
        assert await in_thread(writes, port, tls, DOCTOR) == 550
    events = await trail.of_owner(bound.admin, bound.keyring, bound.owners[PHARMACY])
    subject = certificate(pki).subject
    named = f"{subject}: 899700000012 Léa DURAND"
    by_facility = {told.kind for told in events if told.detail["actor"] == named}
    assert {"facility-admitted", "content-read"} <= by_facility
    sent = await trail.of_owner(bound.admin, bound.keyring, bound.owners[DOCTOR])
    assert named in {told.detail["actor"] for told in sent if told.kind == "message-accepted"}
    bound_event = next(told for told in events if told.kind == "facility-bound")
    assert bound_event.detail["subject"] == subject
    assert development.FINESS in subject


async def test_who_is_given_no_token(bound: World, ask: Ask, pki: Path) -> None:
    assert (await ask(None))[1]["error"] == "invalid_client"
    assert (await ask(None))[0] == 401
    # What leads to no anchor, has ended or is for something else has no TLS.
    for shown in ("other-anchor", "expired", "for-signing"):
        assert await ask(shown) == (0, {}), shown
    one_answer = (400, {"error": "unauthorized_client", "error_description": "This certificate opens no such mailbox."})
    assert await ask("same-organisation") == one_answer
    for mailbox in (DOCTOR, PATIENT, f"nobody@{DOMAIN}"):
        assert await ask(mailbox=mailbox) == one_answer
    for wrong in ({"actor": "a\nb"}, {"actor_name": "a\r\nb"}, {"actor": ""}, {"mailbox": f"{PHARMACY}\0"}):
        status, answer = await ask(**wrong)
        assert (status, answer["error"]) == (400, "invalid_request"), wrong
    assert (await ask(grant_type="password"))[1]["error"] == "unsupported_grant_type"
    assert (await ask(target="/oauth2/token?mailbox=x"))[1]["error"] == "invalid_request"
    assert (await ask(target="/oauth2/token/"))[0] == 404
    assert (await ask("organisation", "--get", target="/oauth2/token"))[0] == 405
    assert (await ask("organisation", "--header", "Host: evil.example"))[0] == 400
    assert (await ask(state="x" * FACILITY_FORM_BYTES))[0] == 413
    assert await bound.admin.fetchval("SELECT shown FROM facility") is None


async def test_what_ends_a_token(bound: World, ask: Ask, pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts, token = verifier(bound), await given(ask)
    principal = await opened(accounts, token)
    assert isinstance(principal, Principal)
    assert (principal.address, principal.how, principal.rights) == (PHARMACY, "facility", Rights.READ | Rights.SEND)
    assert principal.until is not None
    assert isinstance(await opened(accounts, token, ""), Principal)
    assert (await accounts.holder(token, HERE)).owner_id == bound.owners[PHARMACY]
    # It is for one mailbox, and no octet of it may be another.
    assert await opened(accounts, token, DOCTOR) is Reason.BAD_CREDENTIALS
    assert await opened(accounts, token[:-2] + ("AA" if token[-2:] != "AA" else "BA")) is Reason.BAD_CREDENTIALS
    with monkeypatch.context() as later:
        moment = clock.now() + timedelta(seconds=tokens.SECONDS)
        later.setattr(clock, "now", lambda: moment)
        assert await opened(accounts, token) is Reason.BAD_CREDENTIALS
    # What was allowed and what is allowed now: both.
    owner_id, shown = bound.owners[PHARMACY], certificate(pki)
    await bindings.bind(bound.admin, bound.edge, owner_id, shown, Rights.READ | Rights.MANAGE, None)
    assert await opened(accounts, token) is Reason.BAD_CREDENTIALS, "submission needs the right to send"
    await bindings.bind(bound.admin, bound.edge, owner_id, shown, Rights.SEND, None)
    narrowed = await opened(accounts, token)
    assert isinstance(narrowed, Principal)
    assert narrowed.rights == Rights.SEND
    await speaks_as(bound.edge_pool, bound.edge, narrowed, {PHARMACY})
    # Rows that somebody wrote who has the database alone.
    for forged in ("rights = 7", "shown = ARRAY['x'::bytea]", "subject = 'O=CHU'", "until = now() + interval '1 day'"):
        before = await bound.admin.fetchrow("SELECT rights, shown, subject, until FROM facility")
        await bound.admin.execute(f"UPDATE facility SET {forged}")
        assert await opened(accounts, token) is Reason.BAD_CREDENTIALS, forged
        await bound.admin.execute("UPDATE facility SET rights = $1, shown = $2, subject = $3, until = $4", *before)
    assert isinstance(await opened(accounts, token), Principal)
    await bound.admin.execute("UPDATE owner SET state = 'suspended' WHERE owner_id = $1", owner_id)
    assert await opened(accounts, token) is Reason.BAD_CREDENTIALS
    await bound.admin.execute("UPDATE owner SET state = 'active' WHERE owner_id = $1", owner_id)
    (one,) = await bindings.of_mailbox(bound.admin, bound.edge, owner_id)
    assert await bindings.remove(bound.admin, bound.edge, owner_id, one.facility_id)
    assert not await bindings.remove(bound.admin, bound.edge, owner_id, one.facility_id)
    assert await opened(accounts, token) is Reason.BAD_CREDENTIALS
    assert (await ask())[1]["error"] == "unauthorized_client"
    with pytest.raises(Refused) as refusal:  # the session that was open sends no more
        await speaks_as(bound.edge_pool, bound.edge, narrowed, {PHARMACY})
    assert refusal.value.reason is Reason.SENDER_NOT_YOURS


async def test_a_binding_ends_with_its_day(bound: World, ask: Ask, pki: Path) -> None:
    owner_id, end = bound.owners[PHARMACY], clock.now() + timedelta(hours=1)
    await bindings.bind(bound.admin, bound.edge, owner_id, certificate(pki), Rights.SEND, end)
    principal = await opened(verifier(bound), await given(ask))
    assert isinstance(principal, Principal)
    assert principal.until == end
    await bindings.bind(bound.admin, bound.edge, owner_id, certificate(pki), Rights.SEND, clock.now())
    assert (await ask())[1]["error"] == "unauthorized_client"


async def test_a_revoked_certificate_ends_all(bound: World, ask: Ask, pki: Path) -> None:
    token, root, now = await given(ask), Issued.load(pki, "root").certificate, clock.now()
    trust = ask.edge.trust
    accounts = verifier(bound, trust.space)
    assert isinstance(await opened(accounts, token), Principal)
    await trust.look()
    shown = Issued.load(pki, "organisation").certificate
    ders = [one.public_bytes(Encoding.DER) for one in (shown, root)]
    assert await bound.admin.fetchval("SELECT path FROM peer_certificate") == ders, "the fetcher asks about it"
    document = crl(Issued.load(pki, "root"), [shown], now)
    assert await keep_crl(bound.admin, document, "list", [root], now)
    await trust.look()
    assert await opened(accounts, token) is Reason.BAD_CREDENTIALS
    status, answer = await ask()
    assert (status, answer["error"]) == (401, "invalid_client")


async def test_only_mailboxes_that_may_be_shared_are_bound(world: World, pki: Path) -> None:
    async def bind_to(address: str, days: int | None) -> None:
        until = None if days is None else clock.now() + timedelta(days=days)
        await bindings.bind(world.admin, world.edge, world.owners[address], certificate(pki), Rights.READ, until)

    for address, days in ((PATIENT, 1), (DOCTOR, None), (DOCTOR, 400)):
        with pytest.raises(Refused) as refusal:
            await bind_to(address, days)
        assert refusal.value.reason is Reason.NOT_ALLOWED
    await bind_to(DOCTOR, 30)
    # The certificate itself signs in to none of them.
    shown = [Issued.load(pki, "organisation").certificate.public_bytes(Encoding.DER)]
    with pytest.raises(Refused):
        await Accounts(world.edge_pool, world.edge).sign_in(sasl.External(DOCTOR), HERE, shown)


async def test_who_asks_too_much_waits(bound: World, pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "Harvest", lambda *limits: Harvest(1, 0.01))
    pool = await bound.database.pool("facility")
    room = service.TokenService(pool, bound.edge, TrustSpace({}), structlog.get_logger())
    shown = [Issued.load(pki, name).certificate.public_bytes(Encoding.DER) for name in ("organisation", "root")]
    asked = Asked(PHARMACY, tokens.Actor(*ACTOR.values()))
    try:
        assert (await room.give(shown, HERE, asked)).scope == "read send"
        with pytest.raises(NotGiven) as refusal:
            await room.give(shown, HERE, asked)
        assert (refusal.value.status, refusal.value.error) == (429, "temporarily_unavailable")
        assert refusal.value.wait == 100
    finally:
        pool.terminate()


async def test_a_resumed_session_takes_no_path_away(bound: World, pki: Path) -> None:
    pool = await bound.database.pool("facility")
    shown = [Issued.load(pki, name).certificate.public_bytes(Encoding.DER) for name in ("organisation", "root")]
    asked = Asked(PHARMACY, tokens.Actor(*ACTOR.values()))
    try:
        for path, trust in ((shown, TrustSpace({})), (shown[:1], TrustSpace({}))):  # to another worker, or much later
            await service.TokenService(pool, bound.edge, trust, structlog.get_logger()).give(path, HERE, asked)
            assert await bound.admin.fetchval("SELECT shown FROM facility") == shown
    finally:
        pool.terminate()


def test_where_no_facility_is_served_no_token_is_taken(world: World) -> None:
    assert facility_tokens(world.database.settings, world.edge_pool, world.edge, TrustSpace({})) is None
    assert Accounts(world.edge_pool, world.edge).mechanisms() == ("PLAIN",)
    assert verifier(world).mechanisms() == ("PLAIN", "XOAUTH2", "OAUTHBEARER")
