"""One person, several mailboxes: which are open to them in the pages, with which rights, and whom the trail names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.audit import trail
from server.base import clock
from server.base.errors import Reason, Refused
from server.identity import delegations, holders
from server.identity.accounts import Accounts
from server.identity.delegations import Delegation
from server.identity.holders import WARNING, Missing
from server.identity.model import Rights
from server.identity.sasl import AppPassword
from server.mailbox.create import close, create
from server.mailbox.model import NewMailbox, OwnerKind
from tests.store_world import DOCTOR, PHARMACY, World
from tests.web_site import Site, deliver, prescription, sign_in, site, token_in

SECRETARY = "secretariat@msg.exemple.fr"
PRACTICE = "cabinet@msg.exemple.fr"
RPPS = "10000000017"


@pytest.fixture
async def web(world: World, tmp_path: Path) -> AsyncIterator[Site]:
    new = [
        NewMailbox(SECRETARY, OwnerKind.PER, "Claude Petit", rpps=RPPS),
        NewMailbox(PRACTICE, OwnerKind.CAB, "Cabinet Petit", rpps=RPPS),
    ]
    made = await create(world.admin, world.keyring, world.edge, new)
    world.owners |= {one.address: one.owner_id for one in made}
    async with site(world, tmp_path) as made_site:
        await deliver(world, made_site, prescription(tmp_path), DOCTOR)
        yield made_site


async def lend(world: World, rights: Rights, mailbox: str = DOCTOR) -> None:
    part = Delegation(world.owners[SECRETARY], rights, clock.now() + timedelta(days=1))
    delegate = (world.owners[SECRETARY], SECRETARY)
    await delegations.grant(world.admin, world.edge, world.owners[mailbox], delegate, part, mailbox)


async def switch(browser: httpx.AsyncClient, world: World, address: str) -> httpx.Response:
    page = await browser.get("/boites")
    return await browser.post("/boites", data={"jeton": token_in(page.text), "boite": str(world.owners[address])})


async def reads(world: World, address: str) -> list[dict[str, Any]]:
    told = await trail.of_owner(world.admin, world.keyring, world.owners[address])
    return [event.detail for event in told if event.kind == "content-read"]


async def test_a_secretary_acts_for_a_doctor_and_the_trail_names_both(web: Site) -> None:
    await lend(web.world, Rights.READ)
    async with web.browser() as browser:
        await sign_in(browser, SECRETARY)
        page = (await browser.get("/boites")).text
        assert "Dr Anne Dupont" in page
        assert "par délégation, en lecture" in page
        # Another site's form, and one without the session's own token, open nothing.
        boite = {"boite": str(web.world.owners[DOCTOR])}
        assert (await browser.post("/boites", data=boite)).status_code == 403
        elsewhere = {"Origin": "https://evil.example"}
        assert (
            await browser.post("/boites", data=boite | {"jeton": token_in(page)}, headers=elsewhere)
        ).status_code == 403
        assert (await switch(browser, web.world, DOCTOR)).headers["location"] == "/messages"
        message = await browser.get("/messages/1/1")
        assert message.status_code == 200
        assert "par délégation, avec" in message.text
        assert "/messages/1/1/reponse" not in message.text
        assert (await reads(web.world, DOCTOR))[0]["actor"] == SECRETARY
        # Reading only: nothing is marked as read, and nothing is answered.
        flags = await web.world.admin.fetchval(
            "SELECT flags FROM message WHERE owner_id = $1", web.world.owners[DOCTOR]
        )
        assert flags == 0
        assert (await browser.get("/messages/1/1/reponse")).status_code == 403
        await lend(web.world, Rights.READ | Rights.SEND | Rights.MANAGE)
        answer = await browser.get("/messages/1/1/reponse")
        # The rights are asked for at each request; whom the form would go to is the policy's.
        assert answer.status_code != 403


async def test_a_revocation_counts_at_the_next_request(web: Site) -> None:
    await lend(web.world, Rights.READ)
    async with web.browser() as browser:
        await sign_in(browser, SECRETARY)
        await switch(browser, web.world, DOCTOR)
        delegate = (web.world.owners[SECRETARY], SECRETARY)
        await delegations.revoke(web.world.admin, web.world.edge, web.world.owners[DOCTOR], delegate, DOCTOR)
        assert (await browser.get("/messages")).headers["location"] == "/boites?fin=1"
        assert "Vous n’avez plus accès" in (await browser.get("/boites?fin=1")).text
        assert "Claude Petit" in (await browser.get("/messages")).text
        assert (await switch(browser, web.world, DOCTOR)).status_code == 403
        assert (await switch(browser, web.world, PHARMACY)).status_code == 403
        await close(web.world.admin, web.world.owners[SECRETARY])
        assert (await browser.get("/messages")).headers["location"] == "/?fin=1"


async def test_a_session_that_was_changed_in_the_database_opens_nothing(web: Site) -> None:
    async with web.browser() as browser:
        await sign_in(browser, SECRETARY)
        assert (await browser.get("/messages")).status_code == 200
        for forged in (
            "UPDATE session SET owner_id = {0}, person_id = {0}",
            "UPDATE session SET owner_id = {0}",
            "UPDATE session SET expires_at = expires_at + interval '1 day'",
        ):
            await web.world.admin.execute(forged.format(web.world.owners[DOCTOR]))
            assert (await browser.get("/messages")).headers["location"] == "/?fin=1", forged
            await sign_in(browser, SECRETARY)


async def test_who_holds_what_is_bound_under_the_edges_secret(web: Site) -> None:
    world = web.world
    person = holders.of_rpps(RPPS)
    held = await holders.held(world.edge_pool, world.edge, person)
    assert held.owner_ids == (world.owners[SECRETARY], world.owners[PRACTICE])
    told = await trail.of_owner(world.admin, world.keyring, world.owners[SECRETARY])
    assert "holder-bound" in {event.kind for event in told}
    rows = await world.admin.fetch("SELECT * FROM holder")
    assert RPPS.encode() not in b"".join(value for row in rows for value in row.values() if isinstance(value, bytes))
    # Who can write to the database alone hangs no identity on another's mailbox.
    await world.admin.execute(
        "UPDATE holder SET owner_id = $1 WHERE owner_id = $2", world.owners[PHARMACY], world.owners[PRACTICE]
    )
    held = await holders.held(world.edge_pool, world.edge, person)
    assert held.owner_ids == (world.owners[SECRETARY],)


async def test_who_left_opens_nothing_by_app_password_either(web: Site) -> None:
    world = web.world
    pool = await world.database.pool("admin")
    secret = await Accounts(pool, world.edge).new_app_password(world.owners[PRACTICE], "test")
    await pool.close()
    asked = Accounts(world.edge_pool, world.edge)
    practice = AppPassword("", PRACTICE, secret)
    colleague = holders.Binding(world.owners[PRACTICE], PRACTICE, holders.of_rpps("99000000010"))
    left = "UPDATE holder SET missing_since = $1 WHERE bound_at <= $2"
    for moment in (clock.now(), clock.now() - WARNING - timedelta(days=1)):
        assert (await asked.sign_in(practice, "192.0.2.1")).address == PRACTICE
        await world.admin.execute(left, moment, clock.now())
    with pytest.raises(Refused) as refusal:
        await asked.sign_in(practice, "192.0.2.1")
    assert refusal.value.reason is Reason.BAD_CREDENTIALS
    # A practice of two goes on with the one who stayed.
    await holders.bind(world.admin, world.edge, [colleague])
    assert (await asked.sign_in(practice, "192.0.2.1")).address == PRACTICE


async def test_a_professional_who_left_the_directory_is_warned_and_then_missing(web: Site) -> None:
    world = web.world
    missing = Missing(world.jobs_pool, world.edge)
    person = holders.of_rpps(RPPS)

    async def since() -> bool:
        while await missing.some():
            continue
        return (await holders.held(world.edge_pool, world.edge, person)).missing_since is not None

    async def listed(*identifiers: str) -> None:
        await world.admin.execute("DELETE FROM directory.professional")
        for identifier in identifiers:
            await world.admin.execute(
                "INSERT INTO directory.professional VALUES ($1, '10', $2, '', '', '', '', 'C')",
                identifier,
                identifier[1:],
            )

    assert not await since()  # no directory
    await listed("810999999990")
    assert not await since()  # a directory that never knew them
    await listed("810999999990", "8" + RPPS)
    assert not await since()
    await listed("810999999990")
    assert await since()
    held = await holders.held(world.edge_pool, world.edge, person)
    assert held.missing_since is not None
    assert held.ends_at == held.missing_since + WARNING
    await listed()
    assert await since()  # nothing is loaded: nothing changes
    await listed("8" + RPPS)
    assert not await since()
