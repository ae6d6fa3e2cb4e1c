"""Operators: who may do what, what takes two, and that it is done once and told. Without pages, then by them."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from server.audit import queries as audit_queries
from server.audit import trail
from server.base import clock, log
from server.base.errors import CaduceeError, Reason, Refused
from server.base.limits import INVITATION_TRIES, OPERATOR_IDLE_SECONDS, OPERATOR_REQUEST_SECONDS
from server.base.settings import Settings
from server.cli import doctor
from server.console.acts import Acts
from server.console.edge import application
from server.identity.accounts import Accounts
from server.identity.local import codes, totp
from server.identity.local.passwords import WeakPassword
from server.identity.model import Rights
from server.identity.operators import accounts, requests
from server.identity.operators.accounts import COMMAND_LINE, OperatorAccounts
from server.identity.operators.model import Act, Operator, Right, Role
from server.identity.operators.sessions import OperatorSessions
from tests.serving import Served, caducee
from tests.serving import refused as refused_command
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World

HERE, PASSWORD, ORIGIN = "192.0.2.1", "trois chats dorment", "https://localhost"


class Office:
    """Operators before one store, as the console's process has them; `later` moves the clock."""

    def __init__(self, world: World, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.pool, self.edge = world, pool, world.edge
        self.accounts = OperatorAccounts(pool, world.edge)
        self.sessions = OperatorSessions(pool, world.edge)
        self.acts = Acts(pool, world.edge)
        self._monkeypatch = monkeypatch

    def later(self, **apart: float) -> None:
        moment = clock.now() + timedelta(**apart)
        self._monkeypatch.setattr(clock, "now", lambda: moment)

    async def invite(self, name: str, role: Role) -> str:
        return (await accounts.invite(self.world.admin, self.edge, name, role, COMMAND_LINE))[0]

    async def hired(self, name: str, role: Role) -> Operator:
        """An operator, as far as the acts ask: the password is only for who signs in."""
        await self.invite(name, role)
        return await self.now(name)

    async def now(self, name: str) -> Operator:
        return next(one for one in await accounts.everyone(self.pool, self.edge) if one.name == name)

    async def officers(self) -> tuple[Operator, Operator]:
        return await self.hired("anne", Role.SECURITY_OFFICER), await self.hired("bob", Role.SECURITY_OFFICER)

    async def enrol(self, name: str, role: Role) -> bytes:
        code = await self.invite(name, role)
        secret = await self.accounts.show(name, code, HERE)
        await self.accounts.enrol(name, code, PASSWORD, self.digits(secret), HERE)
        self.later(seconds=90)
        return secret

    def digits(self, secret: bytes) -> str:
        return totp.code(secret, int(clock.now().timestamp()) // totp.STEP_SECONDS)

    async def ask(self, by: Operator, act: Act, target: str, **facts: str) -> int:
        return await requests.ask(self.world.admin, self.edge, by, act, target, facts, "appel du titulaire")

    async def approve(self, by: Operator, number: int) -> str:
        return await requests.approve(self.pool, self.edge, by, number, self.acts.carry_out)

    async def told(self, owner_id: int | None = None) -> list[tuple[str, str]]:
        rows = await self.world.admin.fetch(
            audit_queries._READ + " WHERE a.owner_id IS NOT DISTINCT FROM $1 ORDER BY a.audit_id", owner_id
        )
        return [(one.kind, one.detail["actor"]) for one in trail.opened(self.world.keyring, rows)]


@pytest.fixture
async def office(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    pool = await world.database.pool("console")
    try:
        yield Office(world, pool, monkeypatch)
    finally:
        pool.terminate()


async def refused(work: Awaitable[Any]) -> Reason:
    with pytest.raises(CaduceeError) as error:
        await work
    return error.value.reason


# What each role does alone, and asks for. Written out, so that a change of the table in the code is seen here.
ALONE = {
    Role.SUPPORT: {"look"},
    Role.SECURITY_OFFICER: {"look", "suspend", "end", "certificate", "operators"},
    Role.AUDITOR: {"trail", "operators"},
}
ASKS = {Role.SUPPORT: {Act.INVITE, Act.RESET}, Role.SECURITY_OFFICER: set(Act), Role.AUDITOR: set[Act]()}


@pytest.mark.parametrize("role", Role)
async def test_each_role_does_what_is_its_own_and_no_more(office: Office, role: Role) -> None:
    acts, one = office.acts, await office.hired("anne", role)
    other = await office.hired("bob", Role.SECURITY_OFFICER)
    tries: dict[str, Callable[[], Awaitable[Any]]] = {
        "look": lambda: acts.look(one, DOCTOR),
        "suspend": lambda: acts.suspend(one, DOCTOR, True),
        "end": lambda: acts.end(one, DOCTOR),
        "certificate": lambda: acts.remove_certificate(one, DOCTOR, 1),
        "trail": lambda: acts.trail(one, DOCTOR),
        "operators": lambda: acts.everyone(one),
    }
    done = set()
    for name, work in tries.items():
        try:
            await work()
        except Refused as error:
            if error.sentence == "Your role does not allow this.":
                continue
        done.add(name)
    assert done == ALONE[role]
    asks = set()
    for act in Act:
        try:
            await office.ask(one, act, PATIENT)
        except Refused:
            continue
        asks.add(act)
    assert asks == ASKS[role]
    number = await office.ask(other, Act.INVITE, PATIENT)
    if role is Role.SECURITY_OFFICER:
        assert await office.approve(one, number)
    else:
        assert await refused(office.approve(one, number)) == Reason.NOT_ALLOWED


async def test_what_support_sees_is_no_content_and_each_look_is_told(office: Office) -> None:
    support = await office.hired("anne", Role.SUPPORT)
    app = Accounts(await office.world.database.pool("web"), office.edge)
    await app.new_app_password(office.world.owners[DOCTOR], "logiciel")
    seen = await office.acts.look(support, DOCTOR)
    assert (seen.standing.kind, seen.standing.state, [one.label for one in seen.app_passwords]) == (
        "PER",
        "active",
        ["logiciel"],
    )
    assert ("operator-looked", "operator anne") in await office.told(office.world.owners[DOCTOR])
    assert await refused(office.acts.look(support, "personne@msg.exemple.fr")) == Reason.UNKNOWN_RECIPIENT


async def test_an_officer_suspends_and_ends_access(office: Office) -> None:
    officer, world = await office.hired("anne", Role.SECURITY_OFFICER), office.world
    owner = world.owners[DOCTOR]
    app = Accounts(await world.database.pool("web"), office.edge)
    await app.new_app_password(owner, "logiciel")
    await office.acts.suspend(officer, DOCTOR, True)
    assert (await office.acts.look(officer, DOCTOR)).standing.state == "suspended"
    assert await refused(office.acts.suspend(officer, DOCTOR, True)) == Reason.NOT_ALLOWED
    await office.acts.suspend(officer, DOCTOR, False)
    await office.acts.end(officer, DOCTOR)
    assert await app.app_passwords(owner) == []
    assert ("app-password-revoked", "operator anne") in await office.told(owner)


async def test_two_people_and_only_two_carry_an_act_out_once(office: Office) -> None:
    anne, bob = await office.officers()
    number = await office.ask(anne, Act.RESET, PATIENT)
    assert await refused(office.approve(anne, number)) == Reason.NOT_ALLOWED
    code = await office.approve(bob, number)
    assert re.fullmatch(r"([2-9A-Z]{4}-){4}[2-9A-Z]{4}", code)
    assert await refused(office.approve(bob, number)) == Reason.NOT_ALLOWED
    told = await office.told(office.world.owners[PATIENT])
    assert told.count(("account-changed", "operator bob")) == 2  # reset and invited
    kinds = [one for one in await office.told() if one[0] in ("operator-asked", "operator-approved")]
    assert kinds == [("operator-asked", "operator anne"), ("operator-approved", "operator bob")]


async def test_of_approvals_at_once_one_counts(office: Office) -> None:
    anne, bob = await office.officers()
    carl = await office.hired("carl", Role.SECURITY_OFFICER)
    for _ in range(5):
        number = await office.ask(anne, Act.INVITE, PATIENT)
        all_ = await asyncio.gather(*(office.approve(one, number) for one in (bob, carl, bob)), return_exceptions=True)
        assert len([one for one in all_ if isinstance(one, str)]) == 1
        assert all(isinstance(one, str | Refused) for one in all_), all_
    assert (await office.told(office.world.owners[PATIENT])).count(("operator-invite", "operator bob")) + (
        await office.told(office.world.owners[PATIENT])
    ).count(("operator-invite", "operator carl")) == 5


@pytest.mark.parametrize("what", ["revoked", "demoted", "late", "withdrawn", "forged"])
async def test_a_request_dies(office: Office, what: str) -> None:
    anne, bob = await office.officers()
    number = await office.ask(anne, Act.INVITE, PATIENT)
    if what == "revoked":
        await accounts.revoke(office.world.admin, office.edge, "anne", COMMAND_LINE)
    elif what == "demoted":
        await accounts.change_role(office.world.admin, office.edge, "anne", Role.AUDITOR, COMMAND_LINE)
    elif what == "late":
        office.later(seconds=OPERATOR_REQUEST_SECONDS)
    elif what == "withdrawn":
        await requests.withdraw(office.pool, office.edge, anne, number)
    else:  # another request's words under this number
        other = await office.ask(anne, Act.RESET, PATIENT)
        sql = "UPDATE operator_request SET sealed = (SELECT sealed FROM operator_request WHERE request_id = $1)"
        await office.world.admin.execute(f"{sql} WHERE request_id = $2", other, number)
    assert await refused(office.approve(bob, number)) == Reason.NOT_ALLOWED


async def test_what_fails_leaves_no_approval(office: Office) -> None:
    anne, bob = await office.officers()
    number = await office.ask(anne, Act.INVITE, DOCTOR)  # no patient's
    assert await refused(office.approve(bob, number)) == Reason.NOT_ALLOWED
    assert ("operator-approved", "operator bob") not in await office.told()
    (still,) = await requests.listed(office.pool, office.edge, anne)
    assert (still.approved_by, still.ended_at) == ("", None)


async def test_operators_and_delegations_come_by_two(office: Office) -> None:
    anne, bob = await office.officers()
    code = await office.approve(bob, await office.ask(anne, Act.OPERATOR_INVITE, "carl", role="support"))
    assert await office.accounts.show("carl", code, HERE)
    await office.approve(bob, await office.ask(anne, Act.OPERATOR_ROLE, "carl", role="auditor"))
    assert (await office.now("carl")).role is Role.AUDITOR
    await office.approve(bob, await office.ask(anne, Act.OPERATOR_REVOKE, "carl"))
    assert (await office.now("carl")).role is None
    again = await office.ask(anne, Act.OPERATOR_INVITE, "carl", role="support")
    assert await refused(office.approve(bob, again)) == Reason.NOT_ALLOWED
    facts = {"delegate": DOCTOR, "rights": "read,send", "until": "2030-01-31"}
    await office.approve(bob, await office.ask(anne, Act.DELEGATE, PHARMACY, **facts))
    (given,) = (await office.acts.look(anne, PHARMACY)).delegations
    assert given.rights == Rights.READ | Rights.SEND
    assert ("delegated", "operator bob") in await office.told(office.world.owners[PHARMACY])


async def test_the_command_line_uses_an_approval_of_exactly_its_act_once(office: Office) -> None:
    admin, edge = office.world.admin, office.edge

    async def use(number: int | None, act: Act = Act.KEYS_DESTROY, target: str = PATIENT) -> None:
        await requests.use(admin, edge, number, act, target)

    await use(None)  # there is nobody who could approve
    anne, bob = await office.officers()
    assert await refused(use(None)) == Reason.NOT_ALLOWED
    number = await office.ask(anne, Act.KEYS_DESTROY, PATIENT)
    assert await refused(use(number)) == Reason.NOT_ALLOWED
    assert await office.approve(bob, number) == ""
    assert await refused(use(number, target=DOCTOR)) == Reason.NOT_ALLOWED
    assert await refused(use(number, act=Act.MAILBOX_CLOSE)) == Reason.NOT_ALLOWED
    assert await refused(use(number + 1)) == Reason.NOT_ALLOWED
    await use(number)
    assert await refused(use(number)) == Reason.NOT_ALLOWED
    late = await office.ask(anne, Act.KEYS_DESTROY, PATIENT)
    await office.approve(bob, late)
    await accounts.revoke(admin, edge, "bob", COMMAND_LINE)
    assert await refused(use(late)) == Reason.NOT_ALLOWED


async def test_sign_in_takes_all_of_it_once_and_answers_alike(office: Office) -> None:
    secret = await office.enrol("anne", Role.SUPPORT)
    digits = office.digits(secret)
    for name, password, typed in (("anne", "x" * 12, digits), ("anne", PASSWORD, "000000"), ("nul", PASSWORD, digits)):
        with pytest.raises(Refused) as error:
            await office.accounts.sign_in(name, password, typed, HERE)
        assert (error.value.reason, error.value.sentence) == (Reason.BAD_CREDENTIALS, "Not accepted.")
    assert (await office.accounts.sign_in("anne", PASSWORD, digits, HERE)).role is Role.SUPPORT
    assert await refused(office.accounts.sign_in("anne", PASSWORD, digits, HERE)) == Reason.BAD_CREDENTIALS
    for _ in range(20):
        reason = await refused(office.accounts.sign_in("anne", "x" * 12, "0", "198.51.100.7"))
    assert reason == Reason.THROTTLED


async def test_an_invitation_counts_once_for_its_holder_within_its_tries(office: Office) -> None:
    code = await office.invite("anne", Role.SUPPORT)
    wrong = await office.invite("bob", Role.SUPPORT)
    assert await refused(office.accounts.show("anne", wrong, HERE)) == Reason.BAD_CREDENTIALS
    secret = await office.accounts.show("anne", code, HERE)
    with pytest.raises(WeakPassword):
        await office.accounts.enrol("anne", code, "anne1234567890", office.digits(secret), HERE)
    await office.accounts.enrol("anne", code, PASSWORD, office.digits(secret), HERE)
    assert await refused(office.accounts.show("anne", code, HERE)) == Reason.BAD_CREDENTIALS
    near = wrong[:4] + "-2222-2222-2222-222"
    near += next(c for c in "23456789ABCDEFGHJKMNPQRSTUVWXYZ" if codes.read(near + c, 20))
    for number in range(INVITATION_TRIES):
        await refused(office.accounts.show("bob", near, f"192.0.2.{number}"))
    assert await refused(office.accounts.show("bob", wrong, HERE)) == Reason.BAD_CREDENTIALS


async def test_a_session_ends_with_time_and_with_what_its_operator_was(office: Office) -> None:
    await office.enrol("anne", Role.SUPPORT)
    token = await office.sessions.open("anne", "")
    found = await office.sessions.find(token)
    assert found is not None
    assert found.may(Right.LOOK)
    assert await office.sessions.find("x" * 43) is None
    await accounts.change_role(office.world.admin, office.edge, "anne", Role.AUDITOR, COMMAND_LINE)
    assert await office.sessions.find(token) is None
    token = await office.sessions.open("anne", "")
    await office.world.admin.execute("UPDATE operator_session SET expires_at = expires_at + interval '1 day'")
    assert await office.sessions.find(token) is None
    token = await office.sessions.open("anne", "")
    office.later(seconds=OPERATOR_IDLE_SECONDS + 1)
    assert await office.sessions.find(token) is None


async def test_who_writes_to_the_database_alone_makes_no_officer(office: Office) -> None:
    await office.hired("anne", Role.SECURITY_OFFICER)
    await office.hired("bob", Role.AUDITOR)
    await office.world.admin.execute(
        "UPDATE operator SET sealed = (SELECT sealed FROM operator WHERE name = 'anne') WHERE name = 'bob'"
    )
    assert (await office.now("bob")).role is None


async def test_the_auditor_reads_who_did_what_and_no_detail(office: Office) -> None:
    support, auditor = await office.hired("anne", Role.SUPPORT), await office.hired("bob", Role.AUDITOR)
    await office.acts.look(support, DOCTOR)
    lines = await office.acts.trail(auditor, DOCTOR)
    assert [(line.kind, line.who) for line in lines][:1] == [("operator-looked", "operator anne")]
    assert [line.kind for line in await office.acts.trail(auditor, "anne")] == ["operator-looked"]
    assert ("operator-read-trail", "operator bob") in await office.told(office.world.owners[DOCTOR])


class Browser:
    """One operator's browser before the pages."""

    def __init__(self, office: Office) -> None:
        self._office = office
        app = application(office.pool, office.edge, frozenset({"localhost"}), log.configure("console"))
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN)

    async def post(self, page: str, place: str, **given: str) -> httpx.Response:
        text = (await self.client.get(page)).text
        token = re.search(r'name="jeton" value="([^"]+)"', text)
        assert token is not None, text
        return await self.client.post(place, data={"jeton": token[1], **given})

    async def sign_in(self, name: str, secret: bytes) -> httpx.Response:
        return await self.post("/", "/connexion", nom=name, mot=PASSWORD, code=self._office.digits(secret))


async def test_the_pages_from_the_invitation_to_the_second_persons_approval(office: Office) -> None:
    code = await office.invite("anne", Role.SECURITY_OFFICER)
    anne, bob = Browser(office), Browser(office)
    shown = await anne.post("/activation", "/activation", nom="anne", invitation=code)
    letters = re.search(r'id="secret">([A-Z2-7]+)<', shown.text)
    assert letters is not None
    secret = base64.b32decode(letters[1])
    given = {"nom": "anne", "invitation": code, "mot": PASSWORD, "code": office.digits(secret)}
    assert (await anne.post("/activation", "/activation", **given)).status_code == 303
    office.later(seconds=90)
    assert (await anne.sign_in("anne", secret)).status_code == 303
    assert (await bob.sign_in("bob", await office.enrol("bob", Role.SECURITY_OFFICER))).status_code == 303
    seen = await anne.post("/", "/boite", adresse=PATIENT)
    assert seen.status_code == 200
    assert "PATIENT, active" in seen.text
    ask = {"ordre": "demander", "acte": "reset", "cible": PATIENT, "motif": "téléphone perdu <b>"}
    assert (await anne.post("/demandes", "/demandes", **ask)).status_code == 303
    page = (await bob.client.get("/demandes")).text
    number = re.search(r'name="numero" value="(\d+)"', page)
    assert number is not None
    assert "perdu &lt;b&gt;" in page
    order = {"ordre": "approuver", "numero": number[1]}
    assert (await anne.post("/demandes", "/demandes", **order)).status_code == 403
    done = await bob.post("/demandes", "/demandes", **order)
    assert done.status_code == 200
    assert re.search(r'id="code">[2-9A-Z-]{24}<', done.text)
    assert (await bob.post("/demandes", "/demandes", **order)).status_code == 403
    facts = {"delegate": DOCTOR, "rights": "read,send", "until": ""}
    number_of = await office.ask(await office.now("anne"), Act.DELEGATE, PHARMACY, **facts)
    await office.approve(await office.now("bob"), number_of)
    assert "read|send" in (await anne.post("/", "/boite", adresse=PHARMACY)).text
    operators = await bob.client.get("/operateurs")
    assert "anne" in operators.text
    assert (await bob.post("/demandes", "/trace", qui=PATIENT)).status_code == 403
    assert (await anne.post("/demandes", "/deconnexion")).status_code == 303
    assert 'id="connexion"' in (await anne.client.get("/")).text


async def test_a_form_from_elsewhere_or_without_its_token_does_nothing(office: Office) -> None:
    browser = Browser(office)
    await browser.sign_in("anne", await office.enrol("anne", Role.SECURITY_OFFICER))
    order = {"adresse": DOCTOR, "ordre": "suspendre"}
    assert (await browser.client.post("/boite", data=order)).status_code == 403
    token = re.search(r'name="jeton" value="([^"]+)"', (await browser.client.get("/")).text)
    assert token is not None
    for header in ({"Origin": "https://ailleurs.example"}, {"Sec-Fetch-Site": "cross-site"}):
        response = await browser.client.post("/boite", data={"jeton": token[1], **order}, headers=header)
        assert response.status_code == 403
    assert (await browser.client.get("/", headers={"Host": "ailleurs.example"})).status_code == 400
    assert (await office.acts.look(await office.now("anne"), DOCTOR)).standing.state == "active"
    nobody = Browser(office)
    given = {"nom": "a\0b", "mot": PASSWORD, "code": "\0"}
    assert (await nobody.post("/", "/connexion", **given)).status_code == 403
    assert (await nobody.post("/activation", "/activation", nom="\0", invitation="\0")).status_code == 403
    for page in ("/demandes", "/operateurs", "/trace"):
        assert (await nobody.client.get(page)).status_code == 303
    assert (await nobody.post("/", "/boite", **order)).status_code == 403


@pytest.mark.parametrize(
    ("officers", "production", "levels"),
    [(0, False, []), (0, True, ["warning"]), (1, True, ["warning"]), (2, True, ["good"])],
)
def test_doctor_asks_for_two_officers_in_production(
    tmp_path: Path, officers: int, production: bool, levels: list[str]
) -> None:
    settings = Settings(home=tmp_path, domain="msg.exemple.fr", production=production)
    invited = Operator("carl", Role.SECURITY_OFFICER, False, clock.now())
    enrolled = [Operator(f"o{n}", Role.SECURITY_OFFICER, True, clock.now()) for n in range(officers)]
    assert [one.level for one in doctor.officer_findings(settings, [invited, *enrolled])] == levels


def test_the_role_serves_the_pages_and_the_command_line_then_asks_for_two(running: Served) -> None:
    page = f"https://localhost:{running.ports['console']}"
    made = json.loads(caducee("operator", "invite", "anne", "--role", "security-officer", "--json", home=running.home))
    with httpx.Client(base_url=page, verify=running.tls()) as client:

        def post(place: str, **given: str) -> httpx.Response:
            token = re.search(r'name="jeton" value="([^"]+)"', client.get(place).text)
            assert token is not None
            return client.post(place, data={"jeton": token[1], **given})

        shown = post("/activation", nom="anne", invitation=made["code"])
        assert shown.headers["Cache-Control"] == "no-store"
        secret = re.search(r'id="secret">([A-Z2-7]+)<', shown.text)
        assert secret is not None
        digits = totp.code(base64.b32decode(secret[1]), int(clock.now().timestamp()) // totp.STEP_SECONDS)
        assert post("/activation", nom="anne", invitation=made["code"], mot=PASSWORD, code=digits).status_code == 303
        assert client.get("/demandes").status_code == 303  # nobody is signed in by enrolling
    said = refused_command("mailbox", "close", running.patient, "--yes", home=running.home)
    assert "Two operators decide on this" in said
    assert "is not there" in refused_command("keys", "export", "--approval", "123456789", home=running.home)
    caducee("operator", "role", "anne", "--role", "auditor", home=running.home)
    caducee("operator", "revoke", "anne", home=running.home)
    assert json.loads(caducee("operator", "list", "--json", home=running.home))[0]["role"] is None
    caducee("keys", "export", home=running.home)
