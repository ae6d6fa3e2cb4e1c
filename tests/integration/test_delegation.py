"""Sign-in by delegation and certificate, before a real database: who gets in, as whom, until when."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crypto.pki import client
from crypto.pki.crl import Crl
from crypto.pki.issue import Issued, new_root, organisation_client, professional
from server.audit import trail
from server.base import clock
from server.base.errors import Reason, Refused, TryLater
from server.identity import certificates, delegations, sasl
from server.identity.accounts import Accounts
from server.identity.delegations import Delegation
from server.identity.model import Principal, Rights
from server.identity.sasl import AppPassword, External
from server.mailbox.create import close, create
from server.mailbox.model import NewMailbox, OwnerKind
from server.transport.policy import Policy
from server.trust.space import TrustSpace
from tests.revocation_lists import crl
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World

HERE = "192.0.2.1"
COLLEAGUE = "dr.durand@msg.exemple.fr"
LAB = "labo@msg.exemple.fr"


@pytest.fixture
async def shared(world: World) -> World:
    """The world with a second doctor and a program's mailbox."""
    new = [
        NewMailbox(COLLEAGUE, OwnerKind.PER, "Dr Paul Durand", rpps="10000000017"),
        NewMailbox(LAB, OwnerKind.APP, "Laboratoire", finess="010000000"),
    ]
    made = await create(world.admin, world.keyring, world.edge, new)
    world.owners |= {one.address: one.owner_id for one in made}
    return world


async def password(world: World, address: str) -> str:
    pool = await world.database.pool("admin")
    try:
        return await Accounts(pool, world.edge).new_app_password(world.owners[address], "test")
    finally:
        await pool.close()


async def grant(
    world: World, rights: Rights, mailbox: str = PHARMACY, to: str = DOCTOR, until: timedelta | None = None
) -> None:
    end = clock.now() + until if until else None
    part = Delegation(world.owners[to], rights, end)
    await delegations.grant(world.admin, world.edge, world.owners[mailbox], (world.owners[to], to), part)


def accounts(world: World, needs: Rights = Rights.READ) -> Accounts:
    return Accounts(world.edge_pool, world.edge, needs=needs)


async def refusal(asked: Accounts, given: sasl.Given, *shown: bytes) -> Reason:
    with pytest.raises((Refused, TryLater)) as error:
        await asked.sign_in(given, HERE, shown)
    return error.value.reason


async def may_write(world: World, who: Principal, address: str) -> bool:
    policy = Policy(world.edge_pool, world.edge, world.database.settings, TrustSpace({}))
    try:
        await policy.sender(who, address)
        await policy.content(who, address, (), f"From: <{address}>\r\n\r\nx\r\n".encode())
    except Refused as refused:
        return refused.reason is not Reason.SENDER_NOT_YOURS
    finally:
        await policy.close()
    return True


# Delegation


async def test_a_delegate_signs_in_as_himself_and_writes_as_the_team(shared: World) -> None:
    given = AppPassword("", DOCTOR, await password(shared, DOCTOR))
    doctor = await accounts(shared).sign_in(given, HERE)
    assert not await may_write(shared, doctor, PHARMACY)
    await grant(shared, Rights.READ)
    assert not await may_write(shared, doctor, PHARMACY)
    await grant(shared, Rights.READ | Rights.SEND)
    assert await may_write(shared, doctor, PHARMACY)
    assert await may_write(shared, doctor, DOCTOR)
    for another in (COLLEAGUE, LAB, "nobody@msg.exemple.fr"):
        assert not await may_write(shared, doctor, another)
    # The mailbox goes the other way round for nobody.
    pharmacy = await accounts(shared).sign_in(AppPassword("", PHARMACY, await password(shared, PHARMACY)), HERE)
    assert not await may_write(shared, pharmacy, DOCTOR)


async def test_a_revocation_and_an_end_count_at_the_next_message(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = AppPassword(PHARMACY, DOCTOR, await password(shared, DOCTOR))
    await grant(shared, Rights.SEND, until=timedelta(hours=1))
    team = await accounts(shared, Rights.SEND).sign_in(given, HERE)
    assert team.until is not None
    assert team.until <= clock.now() + timedelta(hours=1)
    assert await may_write(shared, team, PHARMACY)
    assert not await may_write(shared, team, DOCTOR)
    later = clock.now() + timedelta(hours=2)
    with monkeypatch.context() as patched:
        patched.setattr(clock, "now", lambda: later)
        assert not await may_write(shared, team, PHARMACY)
        assert await refusal(accounts(shared, Rights.SEND), given) is Reason.BAD_CREDENTIALS
    doctor = shared.owners[DOCTOR], DOCTOR
    assert await delegations.revoke(shared.admin, shared.edge, shared.owners[PHARMACY], doctor)
    assert not await delegations.revoke(shared.admin, shared.edge, shared.owners[PHARMACY], doctor)
    assert not await may_write(shared, team, PHARMACY)


async def test_a_delegate_opens_the_mailbox_with_his_own_credential(shared: World) -> None:
    secret = await password(shared, DOCTOR)
    named = AppPassword(PHARMACY, DOCTOR, secret)
    assert await refusal(accounts(shared), named) is Reason.BAD_CREDENTIALS
    await grant(shared, Rights.READ)
    team = await accounts(shared).sign_in(named, HERE)
    assert (team.owner_id, team.address, team.kind) == (shared.owners[PHARMACY], PHARMACY, "ORG")
    assert (team.actor, team.rights) == (DOCTOR, Rights.READ)
    # What an edge needs must be among the rights.
    assert await refusal(accounts(shared, Rights.SEND), named) is Reason.BAD_CREDENTIALS
    assert await refusal(accounts(shared), AppPassword(PHARMACY, DOCTOR, "wrong")) is Reason.BAD_CREDENTIALS
    assert await refusal(accounts(shared), AppPassword(PATIENT, DOCTOR, secret)) is Reason.BAD_CREDENTIALS
    for own in ("", DOCTOR, DOCTOR.upper()):
        assert (await accounts(shared).sign_in(AppPassword(own, DOCTOR, secret), HERE)).delegate is None
    await close(shared.admin, shared.owners[PHARMACY])
    assert await refusal(accounts(shared), named) is Reason.BAD_CREDENTIALS


async def test_only_shared_mailboxes_are_shared_and_only_with_people(shared: World) -> None:
    for mailbox, to in ((DOCTOR, COLLEAGUE), (PATIENT, DOCTOR), (LAB, DOCTOR), (PHARMACY, LAB), (PHARMACY, PATIENT)):
        with pytest.raises(Refused):
            await grant(shared, Rights.READ, mailbox, to)
    with pytest.raises(Refused):
        await grant(shared, Rights.READ, DOCTOR, COLLEAGUE, timedelta(days=400))
    with pytest.raises(Refused):
        await grant(shared, Rights.READ, DOCTOR, PHARMACY, timedelta(days=1))
    assert await shared.admin.fetchval("SELECT count(*) FROM delegation") == 0


async def test_a_secretary_acts_for_a_doctor_until_a_day(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given = AppPassword(DOCTOR, COLLEAGUE, await password(shared, COLLEAGUE))
    await grant(shared, Rights.READ | Rights.SEND, DOCTOR, COLLEAGUE, timedelta(days=1))
    secretary = await accounts(shared).sign_in(given, HERE)
    assert (secretary.address, secretary.actor) == (DOCTOR, COLLEAGUE)
    assert await may_write(shared, secretary, DOCTOR)
    later = clock.now() + timedelta(days=2)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert await refusal(accounts(shared), given) is Reason.BAD_CREDENTIALS
    assert not await may_write(shared, secretary, DOCTOR)


async def test_a_delegation_written_without_the_secret_gives_nothing(shared: World) -> None:
    await grant(shared, Rights.READ, until=timedelta(days=1))
    named = AppPassword(PHARMACY, DOCTOR, await password(shared, DOCTOR))
    for forged in (
        "UPDATE delegation SET rights = 7",
        "UPDATE delegation SET rights = 1, until = NULL",
        "UPDATE delegation SET until = now() + interval '9 days'",
    ):
        await shared.admin.execute(forged)
        assert await refusal(accounts(shared), named) is Reason.BAD_CREDENTIALS, forged
    assert await delegations.of_mailbox(shared.admin, shared.edge, shared.owners[PHARMACY]) == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await shared.edge_pool.execute("DELETE FROM delegation")


async def test_the_trail_tells_of_delegations_and_certificates(shared: World) -> None:
    await grant(shared, Rights.READ | Rights.SEND)
    await delegations.revoke(shared.admin, shared.edge, shared.owners[PHARMACY], (shared.owners[DOCTOR], DOCTOR))
    told = await trail.of_owner(shared.admin, shared.keyring, shared.owners[PHARMACY])
    revoked, granted = told[:2]
    assert (granted.kind, granted.detail["delegate"], granted.detail["rights"]) == (
        "delegated",
        DOCTOR,
        ["READ", "SEND"],
    )
    assert (revoked.kind, revoked.detail) == ("delegation-revoked", {"actor": "operator", "delegate": DOCTOR})


# Certificates


@pytest.fixture(scope="module")
def root() -> Issued:
    return new_root(clock.now())


def organisation(root: Issued, emails: tuple[str, ...] = ()) -> bytes:
    issued = organisation_client(root, "LABORATOIRE", "010000000", clock.now(), emails=emails)
    return issued.certificate.public_bytes(Encoding.DER)


async def bind(world: World, address: str, certificate: bytes) -> None:
    shown = client.read(certificate, clock.now())
    await certificates.bind(world.admin, world.edge, world.owners[address], address, shown)


async def test_a_bound_certificate_opens_its_mailbox(shared: World, root: Issued) -> None:
    shown, same_names = organisation(root), organisation(root)
    asked = accounts(shared)
    assert await refusal(asked, External(LAB), shown) is Reason.BAD_CREDENTIALS
    await bind(shared, LAB, shown)
    await bind(shared, LAB, shown)
    for mailbox in ("", LAB, LAB.upper()):
        lab = await asked.sign_in(External(mailbox), HERE, [shown])
        assert (lab.owner_id, lab.address, lab.kind) == (shared.owners[LAB], LAB, "APP")
    assert await refusal(asked, External(DOCTOR), shown) is Reason.BAD_CREDENTIALS
    # The same organisation's other program has the same names and another key.
    assert await refusal(asked, External(LAB), same_names) is Reason.BAD_CREDENTIALS
    assert await refusal(asked, External(LAB)) is Reason.BAD_CREDENTIALS
    (bound,) = await certificates.of_mailbox(shared.admin, shared.owners[LAB])
    assert "LABORATOIRE" in bound.subject
    assert await certificates.remove(shared.admin, shared.edge, shared.owners[LAB], bound.certificate_id)
    assert not await certificates.remove(shared.admin, shared.edge, shared.owners[LAB], bound.certificate_id)
    assert await refusal(asked, External(LAB), shown) is Reason.BAD_CREDENTIALS
    told = [one.kind for one in await trail.of_owner(shared.admin, shared.keyring, shared.owners[LAB])]
    assert told == ["certificate-removed", "certificate-bound", "mailbox-created"]


async def test_a_certificate_of_two_mailboxes_must_name_one(shared: World, root: Issued) -> None:
    other = "imagerie@msg.exemple.fr"
    new = [NewMailbox(other, OwnerKind.APP, "Imagerie", finess="010000000")]
    shared.owners[other] = (await create(shared.admin, shared.keyring, shared.edge, new))[0].owner_id
    shown = organisation(root)
    for address in (LAB, other):
        await bind(shared, address, shown)
    assert await refusal(accounts(shared), External(""), shown) is Reason.BAD_CREDENTIALS
    assert (await accounts(shared).sign_in(External(other), HERE, [shown])).address == other
    await close(shared.admin, shared.owners[other])
    assert (await accounts(shared).sign_in(External(""), HERE, [shown])).address == LAB


async def test_a_certificate_opens_programs_alone(shared: World, root: Issued) -> None:
    with pytest.raises(Refused):
        await bind(shared, DOCTOR, organisation(root))


async def test_a_binding_written_without_the_secret_opens_nothing(shared: World, root: Issued) -> None:
    shown = organisation(root)
    await bind(shared, LAB, shown)
    new = [NewMailbox("imagerie@msg.exemple.fr", OwnerKind.APP, "Imagerie", finess="010000000")]
    other = (await create(shared.admin, shared.keyring, shared.edge, new))[0]
    await shared.admin.execute("UPDATE client_certificate SET owner_id = $1", other.owner_id)
    for mailbox in ("", LAB, other.address):
        assert await refusal(accounts(shared), External(mailbox), shown) is Reason.BAD_CREDENTIALS


def test_what_a_client_certificate_must_be(root: Issued) -> None:
    now = clock.now()
    shown = organisation(root)
    until = client.read(shown, now).not_after
    signs = professional(root, DOCTOR, "Dr Anne Dupont", "10101010101", now).certificate.public_bytes(Encoding.DER)
    for der, moment in (
        (shown, until + timedelta(seconds=1)),
        (shown, now - timedelta(hours=1)),
        (signs, now),
        (root.certificate.public_bytes(Encoding.DER), now),
        (b"", now),
        (shown[:-9], now),
    ):
        with pytest.raises(client.ClientCertificateError):
            client.read(der, moment)


async def test_a_revoked_certificate_opens_nothing_any_more(shared: World, root: Issued) -> None:
    shown, other = organisation(root), organisation(root)
    path = [shown, root.certificate.public_bytes(Encoding.DER)]
    await bind(shared, LAB, shown)
    for strict in (False, True):
        trust = TrustSpace({}, strict=strict)
        asked = Accounts(shared.edge_pool, shared.edge, trust=trust)
        if strict:  # nothing is known: that is nobody's fault, and no wrong certificate
            assert await refusal(asked, External(LAB), *path) is Reason.REVOCATION_UNKNOWN
        now = clock.now()
        trust.revocations.learn(Crl.parse(crl(root, [x509.load_der_x509_certificate(other)], now), "list"))
        assert (await asked.sign_in(External(LAB), HERE, path)).address == LAB
        # A resumed session shows its own certificate alone.
        assert (await asked.sign_in(External(LAB), HERE, path[:1])).address == LAB
        later = crl(root, [x509.load_der_x509_certificate(shown)], now + timedelta(seconds=1))
        trust.revocations.learn(Crl.parse(later, "list"))
        for said in (path, path[:1]):
            assert await refusal(asked, External(LAB), *said) is Reason.BAD_CREDENTIALS
            assert await refusal(asked, External(""), *said) is Reason.BAD_CREDENTIALS


async def test_a_certificate_that_ended_since_the_handshake_is_refused(
    shared: World, root: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = organisation(root)
    await bind(shared, LAB, shown)
    later = client.read(shown, clock.now()).not_after + timedelta(seconds=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert await refusal(accounts(shared), External(LAB), shown) is Reason.BAD_CREDENTIALS
