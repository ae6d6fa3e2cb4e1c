"""Patients' own accounts: who gets in, who does not, and whom nobody keeps out. Without pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from email import message_from_bytes, policy
from typing import Any

import asyncpg
import pytest

from server.audit import trail
from server.base import clock
from server.base.errors import CaduceeError, Reason
from server.base.limits import ALERT_SECONDS, INVITATION_DAYS, INVITATION_TRIES, RECOVERY_CODES
from server.identity import chosen, throttle
from server.identity.local import (
    alerts,
    ceremonies,
    codes,
    devices,
    enrolment,
    invitations,
    passkeys,
    standing,
    totp,
)
from server.identity.local.ceremonies import Place
from server.identity.local.enrolment import Ticket
from server.identity.local.invitations import Invited
from server.identity.local.model import Alert, Holder
from server.identity.local.passwords import LocalPasswords, StrongerProofNeeded, WeakPassword
from server.mailbox.create import close
from server.transport.notices import Notices
from tests.authenticator import Authenticator
from tests.store_world import DOCTOR, PATIENT, World

HERE, ELSEWHERE, BROWSER = "192.0.2.1", "198.51.100.7", "b" * 43
PASSWORD = "trois chats dorment"
ORIGIN = "https://msg.exemple.fr"


class People:
    """The patient's account as the web role has it; `now` moves the clock."""

    def __init__(self, world: World, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.pool, self.edge = world, pool, world.edge
        self.passwords = LocalPasswords(pool, world.edge)
        self.owner = world.owners[PATIENT]
        self._monkeypatch = monkeypatch
        self.secret = b""

    def later(self, **apart: float) -> None:
        moment = clock.now() + timedelta(**apart)
        self._monkeypatch.setattr(clock, "now", lambda: moment)

    async def invite(self) -> str:
        return (await invitations.invite(self.world.admin, self.edge, self.owner, "operator"))[0]

    async def redeem(self, code: str, address: str = PATIENT, network: str = HERE) -> Invited:
        return await invitations.redeem(self.pool, self.edge, self.passwords.throttle, address, code, network)

    async def ticket(self) -> Ticket:
        invited = await self.redeem(await self.invite())
        return enrolment.ticket(invited.holder, invited.mark, clock.now())

    def digits(self, apart: int = 0) -> str:
        return totp.code(self.secret, int(clock.now().timestamp()) // totp.STEP_SECONDS + apart)

    async def enrol(self) -> list[str]:
        """Activated with a password; a minute has gone since."""
        ticket = await self.ticket()
        self.secret = ticket.secret
        made = await self.passwords.enrol(ticket, PASSWORD, self.digits(), ())
        self.later(seconds=90)
        return made

    async def sign_in(
        self, typed: str, password: str = PASSWORD, network: str = HERE, browser: str = "", address: str = PATIENT
    ) -> Holder:
        return await self.passwords.sign_in(address, password, typed, network, browser)

    async def refusal(self, typed: str, **given: str) -> Reason:
        with pytest.raises(CaduceeError) as error:
            await self.sign_in(typed, **given)
        return error.value.reason

    def place(self, purpose: str = "sign-in") -> Place:
        return Place("msg.exemple.fr", ORIGIN, "browser", purpose)

    async def passkey(self) -> Authenticator:
        ticket = await self.ticket()
        authenticator = Authenticator()
        place = self.place("enrol")
        asked = await passkeys.options(self.world.admin, self.edge, place, ticket.holder, "Jeanne", "msg.exemple.fr")
        await passkeys.add(self.pool, self.edge, place, ticket, authenticator.create(asked, ORIGIN), "telephone")
        return authenticator

    def request(self) -> str:
        return ceremonies.request_options(self.place(), ceremonies.challenge(self.edge, self.place(), clock.now()))

    async def show(self, answer: str) -> int | Reason:
        try:
            return await passkeys.sign_in(self.pool, self.edge, self.place(), answer)
        except CaduceeError as error:
            return error.reason

    async def acts(self) -> list[str]:
        """What the trail says of the account, the newest first."""
        told = await trail.of_owner(self.world.admin, self.world.keyring, self.owner)
        return [one.detail["what"] for one in told if one.kind == "account-changed"]

    async def alerts(self) -> list[Alert]:
        rows = await self.world.admin.fetch("SELECT owner_id, sealed, at FROM holder_alert ORDER BY alert_id")
        read = [alerts.read(self.edge, row["owner_id"], row["sealed"], row["at"]) for row in rows]
        return [one.alert for one in read if one is not None]


@pytest.fixture
async def people(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[People]:
    pool = await world.database.pool("web")
    yield People(world, pool, monkeypatch)
    pool.terminate()


async def test_a_code_is_good_once(people: People) -> None:
    code = await people.invite()
    first, second = await people.redeem(code.lower().replace("-", " ")), await people.redeem(code)
    for invited in (first, second):
        assert (invited.holder.owner_id, invited.holder.address) == (people.owner, PATIENT)
    await people.passwords.enrol(
        ticket := enrolment.ticket(first.holder, first.mark, clock.now()), PASSWORD, _digits(ticket), ()
    )
    again = enrolment.ticket(second.holder, second.mark, clock.now())
    with pytest.raises(CaduceeError) as error:
        await people.passwords.enrol(again, PASSWORD, _digits(again), ())
    assert error.value.reason is Reason.BAD_CREDENTIALS
    with pytest.raises(CaduceeError) as error:
        await people.redeem(code)
    assert error.value.reason is Reason.BAD_CREDENTIALS
    assert await people.acts() == ["recovery-codes-made", "password-set", "invited"]


def _digits(ticket: Ticket) -> str:
    return totp.code(ticket.secret, int(clock.now().timestamp()) // totp.STEP_SECONDS)


async def test_wrong_late_and_replaced_codes_get_one_answer(people: People) -> None:
    old = await people.invite()
    code = await people.invite()
    wrong = code[:-1] + ("2" if code[-1] != "2" else "3")
    another = codes.shown(codes.make(20))
    answers = []
    for typed, address in (
        (old, PATIENT),
        (wrong, PATIENT),
        (another, PATIENT),
        ("", PATIENT),
        (code, DOCTOR),
        (code, "nobody@patient.msg.exemple.fr"),
        (code, "\ud800"),
    ):
        with pytest.raises(CaduceeError) as error:
            await people.redeem(typed, address)
        answers.append((error.value.reason, error.value.sentence))
    assert set(answers) == {(Reason.BAD_CREDENTIALS, "Address or code not accepted.")}
    people.later(days=INVITATION_DAYS, seconds=1)
    with pytest.raises(CaduceeError):
        await people.redeem(code)


async def test_who_does_not_know_the_code_cannot_use_it_up(people: People) -> None:
    code = await people.invite()
    bare = code.replace("-", "")
    for n in range(2 * INVITATION_TRIES):  # at the address, with other first letters
        with pytest.raises(CaduceeError):
            await people.redeem(_with_first_letters(bare), network=f"198.51.100.{n}")
    assert (await people.redeem(code)).holder.owner_id == people.owner
    for n in range(INVITATION_TRIES):  # by who saw the first letters
        with pytest.raises(CaduceeError):
            await people.redeem(bare[:4] + _ending(bare[:4]), network=f"198.51.100.{n}")
    with pytest.raises(CaduceeError):
        await people.redeem(code)


def _with_first_letters(code: str) -> str:
    while (other := codes.make(20))[:4] == code[:4]:
        continue
    return other


def _ending(first: str) -> str:
    while codes.read(first + (ending := codes.make(16)), 20) is None:
        continue
    return ending


async def test_professionals_have_no_local_account(people: People) -> None:
    with pytest.raises(CaduceeError) as error:
        await invitations.invite(people.world.admin, people.edge, people.world.owners[DOCTOR], "operator")
    assert error.value.reason is Reason.NOT_ALLOWED


async def test_a_password_with_a_code_signs_in_and_a_code_once(people: People) -> None:
    made = await people.enrol()
    assert len(set(made)) == RECOVERY_CODES
    digits = people.digits()
    assert (await people.sign_in(digits)).owner_id == people.owner
    assert await people.refusal(digits) is Reason.BAD_CREDENTIALS  # replayed
    assert await people.refusal(people.digits(-1)) is Reason.BAD_CREDENTIALS  # older than the one that was taken
    assert (await people.sign_in(people.digits(1), address=PATIENT.upper())).address == PATIENT
    assert (await people.sign_in(made[0].lower())).owner_id == people.owner
    assert await people.refusal(made[0]) is Reason.BAD_CREDENTIALS
    assert "recovery-code-used" in await people.acts()
    left = await standing.of_mailbox(people.world.admin, people.owner)
    assert (left.recovery_codes, left.invited_at) == (RECOVERY_CODES - 1, None)


async def test_a_weak_password_or_a_wrong_first_code_uses_nothing_up(people: People) -> None:
    ticket = await people.ticket()
    for password, digits in (("court", _digits(ticket)), (PATIENT.partition("@")[0], _digits(ticket))):
        with pytest.raises(WeakPassword):
            await people.passwords.enrol(ticket, password, digits, ())
    with pytest.raises(CaduceeError):
        await people.passwords.enrol(ticket, PASSWORD, "000000" if _digits(ticket) != "000000" else "1", ())
    await people.passwords.enrol(ticket, PASSWORD, _digits(ticket), ())


async def test_unknown_address_wrong_password_and_wrong_code_are_one_answer_after_the_same_work(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people.enrol()
    await people.refusal("nothing")  # the first failure of a network also forgets old ones of others
    work: list[str] = []
    real = chosen._verified
    monkeypatch.setattr(chosen, "_verified", lambda kept, keyed: (work.append("argon2"), real(kept, keyed))[1])
    real_code = totp.code
    monkeypatch.setattr(totp, "code", lambda secret, step: (work.append("code"), real_code(secret, step))[1])
    passwords = LocalPasswords(Counting(people.pool, work), people.edge)  # type: ignore[arg-type]
    monkeypatch.setattr(people, "passwords", passwords)
    done = []
    for typed, password, address in (
        ("nothing", PASSWORD, PATIENT),
        ("nothing", "wrong password", PATIENT),
        ("nothing", PASSWORD, "nobody@patient.msg.exemple.fr"),
        ("nothing", PASSWORD, DOCTOR),
        ("nothing", PASSWORD, ""),
    ):
        work.clear()
        assert await people.refusal(typed, password=password, address=address) is Reason.BAD_CREDENTIALS
        done.append(tuple(work))
    assert len(set(done)) == 1
    assert (done[0].count("argon2"), done[0].count("code")) == (1, 3)
    # The same for recovery codes, which are asked for in the database.
    recovery, done = codes.make(16), []
    for password, address in ((PASSWORD, PATIENT), ("wrong password", PATIENT), (PASSWORD, "nobody@msg.exemple.fr")):
        work.clear()
        assert await people.refusal(recovery, password=password, address=address) is Reason.BAD_CREDENTIALS
        done.append(tuple(work))
    assert len(set(done)) == 1


class Counting:
    """A pool that writes down what it is asked."""

    def __init__(self, pool: asyncpg.Pool, work: list[str]) -> None:
        self._pool, self._work = pool, work

    def __getattr__(self, name: str) -> Any:
        async def asked(statement: str, *given: Any) -> Any:
            self._work.append(statement)
            return await getattr(self._pool, name)(statement, *given)

        return asked


async def test_guessing_is_bounded_and_keeps_no_holder_out(people: People) -> None:
    recovery = (await people.enrol())[0]
    await devices.seen(people.world.admin, people.edge, people.owner, BROWSER, "Firefox", HERE, clock.now())
    guesses = [await people.refusal("000000", password="wrong") for _ in range(throttle.ACCOUNT_FAILURES + 1)]
    assert guesses == [Reason.BAD_CREDENTIALS] * throttle.ACCOUNT_FAILURES + [Reason.THROTTLED]
    # From that network nobody unknown gets in now, whatever they show; the holder's own browser does.
    assert await people.refusal(people.digits()) is Reason.THROTTLED
    assert (await people.sign_in(people.digits(-1), browser=BROWSER)).owner_id == people.owner
    # A thousand networks guess no better than one: from an unknown browser the digits no longer do …
    for n in range(throttle.GUESSES):
        await people.refusal("000000", password="wrong", network=f"2001:db8:0:{n:x}::1")
    with pytest.raises(StrongerProofNeeded):
        await people.sign_in(people.digits(), network=ELSEWHERE)
    # … for nobody's address either, and the holder still has two ways, and is told.
    for n in range(throttle.GUESSES):
        await people.refusal("000000", address="nobody@x.fr", network=f"2001:db8:0:{n:x}::1")
    with pytest.raises(StrongerProofNeeded):
        await people.sign_in("000000", address="nobody@x.fr", network=ELSEWHERE)
    assert (await people.sign_in(recovery, network=ELSEWHERE)).owner_id == people.owner
    assert (await people.sign_in(people.digits(), browser=BROWSER)).owner_id == people.owner
    assert Alert.GUESSES in await people.alerts()
    # A day later all is as before.
    people.later(days=1, seconds=60)
    assert (await people.sign_in(people.digits())).owner_id == people.owner


async def test_a_known_browser_is_no_way_to_guess(people: People) -> None:
    await people.enrol()
    await devices.seen(people.world.admin, people.edge, people.owner, BROWSER, "Firefox", HERE, clock.now())
    for _ in range(throttle.ACCOUNT_FAILURES):
        assert await people.refusal("000000", browser=BROWSER) is Reason.BAD_CREDENTIALS
    assert await people.refusal(people.digits(), browser=BROWSER) is Reason.THROTTLED
    assert (await people.sign_in(people.digits())).owner_id == people.owner  # as an unknown one it still may


async def test_who_writes_to_the_database_alone_gets_in_nowhere(people: People) -> None:
    """Rows of an account that somebody owns, hung on another mailbox."""
    recovery = (await people.enrol())[0]
    authenticator = await people.passkey()
    other = people.world.owners[DOCTOR]
    for table in ("local_password", "recovery_code", "passkey", "known_device"):
        await people.world.admin.execute(f"UPDATE {table} SET owner_id = $1", other)
    for typed in (people.digits(), recovery):
        assert await people.refusal(typed, address=DOCTOR) is Reason.BAD_CREDENTIALS
    assert await people.show(authenticator.get(people.request(), ORIGIN)) is Reason.BAD_CREDENTIALS
    assert await devices.of_mailbox(people.world.admin, people.edge, other, clock.now()) == []


async def test_a_passkey_signs_in_and_an_answer_once(people: People) -> None:
    authenticator = await people.passkey()
    answer = authenticator.get(people.request(), ORIGIN)
    assert await people.show(answer) == people.owner
    assert await people.show(answer) is Reason.BAD_CREDENTIALS  # replayed
    asked = people.request()
    people.later(seconds=301)
    assert await people.show(authenticator.get(asked, ORIGIN)) is Reason.BAD_CREDENTIALS
    assert await people.show(authenticator.get(people.request(), "https://autre.example")) is Reason.BAD_CREDENTIALS
    assert await people.show(authenticator.get(people.request(), ORIGIN, handle=b"x")) is Reason.BAD_CREDENTIALS
    assert await people.show(Authenticator().get(people.request(), ORIGIN)) is Reason.BAD_CREDENTIALS
    assert await people.show("{}") is Reason.BAD_CREDENTIALS
    assert await people.show(authenticator.get(people.request(), ORIGIN)) == people.owner
    (listed,) = await passkeys.of_mailbox(people.world.admin, people.edge, people.owner)
    assert (listed.label, listed.used_on, listed.doubted_at) == ("telephone", clock.now().date(), None)


async def test_a_counter_that_goes_back_blocks_the_passkey_and_is_told(people: People) -> None:
    authenticator = await people.passkey()
    copy = Authenticator(authenticator.credential_id, authenticator.handle, key=authenticator.key)
    assert await people.show(authenticator.get(people.request(), ORIGIN)) == people.owner
    assert await people.show(copy.get(people.request(), ORIGIN)) is Reason.BAD_CREDENTIALS
    assert await people.show(authenticator.get(people.request(), ORIGIN)) is Reason.BAD_CREDENTIALS
    (listed,) = await passkeys.of_mailbox(people.world.admin, people.edge, people.owner)
    assert listed.doubted_at is not None
    assert (await people.alerts())[-1] is Alert.COPY
    assert (await people.acts())[0] == "passkey-doubted"


async def test_a_passkey_that_counts_nothing_stays_good(people: People) -> None:
    authenticator = await people.passkey()
    authenticator.counts = False
    for _ in range(2):
        assert await people.show(authenticator.get(people.request(), ORIGIN)) == people.owner


async def test_a_removed_passkey_opens_nothing_and_the_last_proof_stays(people: People) -> None:
    authenticator = await people.passkey()
    (listed,) = await passkeys.of_mailbox(people.world.admin, people.edge, people.owner)
    with pytest.raises(CaduceeError) as error:
        await passkeys.remove(people.world.admin, people.edge, people.owner, listed.number, PATIENT)
    assert error.value.reason is Reason.NOT_ALLOWED
    await people.enrol()
    assert not await passkeys.remove(people.world.admin, people.edge, people.world.owners[DOCTOR], 1, DOCTOR)
    assert await passkeys.remove(people.world.admin, people.edge, people.owner, listed.number, PATIENT)
    assert await people.show(authenticator.get(people.request(), ORIGIN)) is Reason.BAD_CREDENTIALS


async def test_a_holder_who_lost_everything_begins_anew(people: People) -> None:
    recovery = (await people.enrol())[0]
    authenticator = await people.passkey()
    await standing.reset(people.world.admin, people.edge, people.owner, "operator")
    assert await people.show(authenticator.get(people.request(), ORIGIN)) is Reason.BAD_CREDENTIALS
    for typed in (people.digits(), recovery):
        assert await people.refusal(typed) is Reason.BAD_CREDENTIALS
    assert (await people.acts())[0] == "reset"
    await people.enrol()
    assert (await people.sign_in(people.digits())).owner_id == people.owner


async def test_nobody_signs_in_to_a_closed_mailbox(people: People) -> None:
    await people.enrol()
    authenticator = await people.passkey()
    await close(people.world.admin, people.owner)
    assert await people.refusal(people.digits()) is Reason.BAD_CREDENTIALS
    assert await people.show(authenticator.get(people.request(), ORIGIN)) is Reason.BAD_CREDENTIALS
    assert await people.world.admin.fetchval("SELECT count(*) FROM passkey") == 0


async def test_a_holder_is_told_once_an_hour_in_two_languages_and_without_a_link(people: People) -> None:
    world = people.world
    jobs = Notices(world.jobs_pool, world.edge, world.keyring, world.database.settings)
    assert await jobs.tell() == 0
    await devices.seen(world.admin, world.edge, people.owner, BROWSER, "Firefox, Linux", HERE, clock.now())
    await devices.seen(world.admin, world.edge, people.owner, BROWSER, "Firefox, Linux", HERE, clock.now())
    assert await jobs.tell() == 1
    await devices.seen(world.admin, world.edge, people.owner, "c" * 43, "Safari, iPhone", ELSEWHERE, clock.now())
    await devices.seen(world.admin, world.edge, people.owner, "d" * 43, "", ELSEWHERE, clock.now())
    assert await jobs.tell() == 0  # not one a minute
    people.later(seconds=ALERT_SECONDS + 1)
    assert await jobs.tell() == 1
    assert await jobs.tell() == 0
    parsed = [message_from_bytes(text, policy=policy.default) for text in await world.texts(PATIENT)]
    for message in parsed:
        assert message["auto-submitted"] == "auto-generated"
        assert message["return-path"] == "<>"
    first, second = [message.get_content() for message in parsed]
    assert first.index("nouveau navigateur (Firefox, Linux, 192.0.2.1)") < first.index("new browser (Firefox, Linux")
    assert first.count("Firefox") == 2
    assert "Safari, iPhone" in second
    assert second.count(ELSEWHERE) == 4
    assert "://" not in first + second
    await close(world.admin, people.owner)
    await alerts.add(world.admin, world.edge, people.owner, alerts.Happened(Alert.PROOF, clock.now(), "", ""))
    people.later(seconds=ALERT_SECONDS + 1)
    await jobs.tell()  # a mailbox that is closed is told nothing, and holds nobody up
    assert await world.admin.fetchval("SELECT count(*) FROM holder_alert WHERE told_at IS NULL") == 0
