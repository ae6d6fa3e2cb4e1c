"""Sign-in by app password: who gets in, who does not, and whom a throttle must never keep out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from server.audit import trail
from server.base import clock
from server.base.errors import Reason, Refused, TryLater
from server.identity import queries, throttle
from server.identity.accounts import Accounts
from server.identity.model import Principal
from server.identity.sasl import AppPassword
from server.mailbox.create import close
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World

HERE, ELSEWHERE = "192.0.2.1", "198.51.100.7"


@pytest.fixture
def accounts(world: World) -> Accounts:
    """As the submission role has it."""
    return Accounts(world.edge_pool, world.edge)


async def made_for(world: World, address: str) -> str:
    """A new app password."""
    pool = await world.database.pool("admin")
    try:
        return await Accounts(pool, world.edge).new_app_password(world.owners[address], "test")
    finally:
        await pool.close()


@pytest.fixture
async def password(world: World) -> str:
    """The doctor's."""
    return await made_for(world, DOCTOR)


async def test_the_trail_tells_of_app_passwords(world: World, password: str) -> None:
    pool = await world.database.pool("admin")
    try:
        asked = Accounts(pool, world.edge)
        (made,) = await asked.app_passwords(world.owners[DOCTOR])
        assert not await asked.revoke_app_password(world.owners[PHARMACY], made.number)
        assert await asked.revoke_app_password(world.owners[DOCTOR], made.number)
        assert not await asked.revoke_app_password(world.owners[DOCTOR], made.number)
        assert await refusal(asked, DOCTOR, password) is Reason.BAD_CREDENTIALS
    finally:
        await pool.close()
    revoked, created = (await trail.of_owner(world.admin, world.keyring, world.owners[DOCTOR]))[:2]
    assert (revoked.kind, created.kind) == ("app-password-revoked", "app-password-made")
    assert revoked.detail == created.detail == {"actor": "operator", "label": "test"}


async def signed_in(accounts: Accounts, address: str, password: str, network: str = HERE) -> Principal:
    return await accounts.sign_in(AppPassword("", address, password), network)


async def refusal(accounts: Accounts, address: str, password: str, network: str = HERE) -> Reason:
    with pytest.raises((Refused, TryLater)) as error:
        await signed_in(accounts, address, password, network)
    return error.value.reason


async def test_the_right_password_signs_in(world: World, accounts: Accounts, password: str) -> None:
    for typed in (DOCTOR, DOCTOR.upper()):
        principal = await signed_in(accounts, typed, password, HERE)
        assert (principal.owner_id, principal.address, principal.kind) == (world.owners[DOCTOR], DOCTOR, "PER")
    row = await world.admin.fetchrow("SELECT hash, used_on FROM credential")
    assert row is not None
    assert row["used_on"] == clock.now().date()
    assert password.replace("-", "").encode() not in row["hash"]


async def test_unknown_and_wrong_are_one_answer(accounts: Accounts, password: str) -> None:
    assert await refusal(accounts, DOCTOR, "wrong") is Reason.BAD_CREDENTIALS
    assert await refusal(accounts, "nobody@msg.exemple.fr", password) is Reason.BAD_CREDENTIALS
    assert await refusal(accounts, PHARMACY, password) is Reason.BAD_CREDENTIALS
    assert await refusal(accounts, "\0\udcff", "\0\udcff") is Reason.BAD_CREDENTIALS


class Recorded:
    """A pool that notes what it is asked."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def ask(statement: str, *values: object) -> Any:
            self.asked.append(statement)
            return getattr(self._pool, name)(statement, *values)

        return ask


async def test_whatever_is_wrong_asks_the_same(world: World, password: str) -> None:
    """Equal time by equal work: the same statements, whether or not the mailbox exists, and what was wrong."""
    await refusal(Accounts(world.edge_pool, world.edge), DOCTOR, "x")  # the network's first failure also forgets others
    pool: Any = Recorded(world.edge_pool)
    accounts = Accounts(pool, world.edge)
    work = []
    for given in (
        AppPassword("", DOCTOR, "wrong"),
        AppPassword("", "nobody@msg.exemple.fr", password),
        AppPassword("", PHARMACY, password),
        AppPassword(PHARMACY, DOCTOR, "wrong"),
        AppPassword("nobody@msg.exemple.fr", DOCTOR, "wrong"),
    ):
        with pytest.raises(Refused):
            await accounts.sign_in(given, HERE)
        work.append(tuple(pool.asked))
        pool.asked.clear()
    await close(world.admin, world.owners[DOCTOR])
    with pytest.raises(Refused):
        await accounts.sign_in(AppPassword("", DOCTOR, password), HERE)
    assert {*work, tuple(pool.asked)} == {(queries.BY_HASH, queries.ADD_FAILURES)}
    # A mailbox that is not shared, and one that does not exist, differ in nothing for who signed in rightly either.
    both = []
    for mailbox in (DOCTOR, "nobody@msg.exemple.fr"):
        pool.asked.clear()
        secret = await made_for(world, PATIENT)
        with pytest.raises(Refused):
            await accounts.sign_in(AppPassword(mailbox, PATIENT, secret), HERE)
        both.append(list(pool.asked))
    assert both[0] == both[1]


async def test_a_closed_mailbox_and_a_revoked_password_sign_in_no_more(
    world: World, accounts: Accounts, password: str
) -> None:
    await world.admin.execute("UPDATE credential SET revoked_at = now()")
    assert await refusal(accounts, DOCTOR, password) is Reason.BAD_CREDENTIALS
    await world.admin.execute("UPDATE credential SET revoked_at = NULL")
    await signed_in(accounts, DOCTOR, password, HERE)
    await close(world.admin, world.owners[DOCTOR])
    assert await refusal(accounts, DOCTOR, password) is Reason.BAD_CREDENTIALS


async def test_a_credential_moved_in_the_database_opens_nothing(
    world: World, accounts: Accounts, password: str
) -> None:
    await world.admin.execute("UPDATE credential SET owner_id = $1", world.owners[PHARMACY])
    assert await refusal(accounts, PHARMACY, password) is Reason.BAD_CREDENTIALS


async def test_guessing_is_throttled_and_locks_nobody_out(
    world: World, accounts: Accounts, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = [await refusal(accounts, DOCTOR, f"guess {n}") for n in range(throttle.ACCOUNT_FAILURES + 1)]
    assert reasons == [Reason.BAD_CREDENTIALS] * throttle.ACCOUNT_FAILURES + [Reason.THROTTLED]
    # Another account from there, and this account from elsewhere, are judged for themselves.
    assert await refusal(accounts, PHARMACY, "guess") is Reason.BAD_CREDENTIALS
    assert await refusal(accounts, DOCTOR, "guess", ELSEWHERE) is Reason.BAD_CREDENTIALS
    # Whoever guesses, the doctor gets in, from the same office too.
    for network in (HERE, ELSEWHERE):
        assert (await signed_in(accounts, DOCTOR, password, network)).address == DOCTOR
    # Unknown accounts are counted like known ones.
    nobody = [await refusal(accounts, "nobody@msg.exemple.fr", "x", ELSEWHERE) for _ in range(11)]
    assert nobody[-2:] == [Reason.BAD_CREDENTIALS, Reason.THROTTLED]
    # The window passes, and after a day all is forgotten.
    later = clock.now() + throttle.WINDOW + timedelta(seconds=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert await refusal(accounts, DOCTOR, "guess") is Reason.BAD_CREDENTIALS
    later += throttle.DAY
    assert await refusal(accounts, DOCTOR, "guess") is Reason.BAD_CREDENTIALS
    assert await world.admin.fetchval("SELECT count(*) FROM sign_in_failure WHERE since < $1", later) == 0


async def test_a_network_that_tries_many_accounts_is_throttled(accounts: Accounts) -> None:
    for n in range(throttle.NETWORK_FAILURES):
        assert await refusal(accounts, f"dr{n}@msg.exemple.fr", "x") is Reason.BAD_CREDENTIALS
    assert await refusal(accounts, "another@msg.exemple.fr", "x") is Reason.THROTTLED


async def test_no_address_is_written_in_clear(world: World, accounts: Accounts) -> None:
    await refusal(accounts, DOCTOR, "x")
    buckets = [row[0] for row in await world.admin.fetch("SELECT bucket FROM sign_in_failure")]
    assert [len(bucket) for bucket in buckets] == [32, 32]


async def test_thousands_of_passwords_in_one_statement(world: World) -> None:
    pool = await world.database.pool("admin")
    try:
        made = await Accounts(pool, world.edge).new_app_passwords([world.owners[DOCTOR]] * 2_000, "import")
    finally:
        await pool.close()
    assert len(set(made)) == 2_000
    assert (await signed_in(Accounts(world.edge_pool, world.edge), DOCTOR, made[1_234])).address == DOCTOR


async def test_the_database_away_is_no_wrong_password(world: World, accounts: Accounts, password: str) -> None:
    world.edge_pool.terminate()
    assert await refusal(accounts, DOCTOR, password) is Reason.STORE_AWAY


async def test_an_edge_cannot_make_passwords(world: World, accounts: Accounts) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await accounts.new_app_password(world.owners[DOCTOR], "mine")
