"""How much a mailbox may send in an hour: counted for all workers, told in the reply, over with the hour."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from crypto.smime.anchors import TrustAnchors
from server.base import clock
from server.base.errors import Reason, TryLater
from server.base.limits import SOFTWARE_RATE
from server.base.log import Pseudonyms
from server.base.sections import Submission
from server.identity.model import Principal
from server.smtp import reply_codes as r
from server.transport.sending import Sending
from tests.smtp_edge import make_pki, post
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World, message


def principal(world: World, kind: str = "PER") -> Principal:
    return Principal(world.owners[DOCTOR], DOCTOR, kind, "app-password")


def worker(world: World, messages: int = 3, recipients: int = 10) -> Sending:
    settings = Submission(messages_per_hour=messages, recipients_per_hour=recipients)
    return Sending(world.edge_pool, Pseudonyms(world.edge.pseudonym), settings)


def sends(sending: Sending, who: Principal, recipients: int = 1) -> bool:
    try:
        sending.check(who)
    except TryLater as later:
        return later.reason is not Reason.SENT_TOO_MUCH
    sending.count(who, recipients)
    return True


@pytest.fixture
async def one(world: World) -> AsyncIterator[Sending]:
    sending = worker(world)
    yield sending
    await sending.close()


async def test_messages_and_recipients_are_counted(world: World, one: Sending) -> None:
    doctor = principal(world)
    assert [sends(one, doctor) for _ in range(4)] == [True, True, True, False]
    pharmacy = Principal(world.owners[PHARMACY], PHARMACY, "ORG", "app-password")
    assert [sends(one, pharmacy, 6) for _ in range(3)] == [True, True, False]


async def test_the_mailbox_of_a_program_may_send_more(world: World, one: Sending) -> None:
    program = principal(world, "APP")
    assert [sends(one, program) for _ in range(3 * SOFTWARE_RATE + 1)].count(True) == 3 * SOFTWARE_RATE


async def test_workers_count_together(world: World, one: Sending) -> None:
    doctor, other = principal(world), worker(world)
    for sending in (one, other):
        assert sends(sending, doctor)
        await sending.tell()
    assert sends(one, doctor)
    await one.tell()  # and learns of the other's
    assert not sends(one, doctor)
    await other.close()


async def test_the_hour_ends(world: World, one: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    doctor = principal(world)
    assert [sends(one, doctor) for _ in range(4)][-1] is False
    later = clock.now() + timedelta(hours=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert sends(one, doctor)


async def test_a_database_that_is_away_loses_no_count(world: World) -> None:
    away = await world.database.pool("submission")
    settings = Submission(messages_per_hour=2)
    doctor, sending = principal(world), Sending(away, Pseudonyms(world.edge.pseudonym), settings)
    away.terminate()
    assert sends(sending, doctor)
    await sending.tell()
    assert [sends(sending, doctor) for _ in range(2)] == [True, False]
    await sending.close()


async def test_no_limit(world: World) -> None:
    sending = worker(world, messages=0, recipients=0)
    assert all(sends(sending, principal(world), 1_000) for _ in range(20))
    await sending.close()


async def test_the_reply_says_when_to_come_back(
    world: World, anchors: TrustAnchors, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pki: Path = make_pki(tmp_path_factory.mktemp("pki"))
    limits = Submission(
        messages_per_hour=2, certificate=pki / "server.pem", private_key=pki / "server.key", recipients_per_hour=3
    )
    async with post(world, pki, anchors, changes={"submission": limits}) as submission:
        doctor = await submission.client(DOCTOR)
        assert await doctor.sendmail(DOCTOR, [PHARMACY, PATIENT], message()) == {}
        assert await doctor.sendmail(DOCTOR, [PHARMACY], message(number=2)) == {}
        code, text = await doctor.say(f"MAIL FROM:<{DOCTOR}>")
        assert (code, text) == (450, "\n".join(f"4.7.1 {line}" for line in r.SENT_TOO_MUCH.text.split("\n")))
        assert "heure suivante" in text
        pharmacy = await submission.client(PHARMACY)
        assert (await pharmacy.say(f"MAIL FROM:<{PHARMACY}>"))[0] == 250
        for client in (doctor, pharmacy):
            await client.quit()
    told = await world.admin.fetch("SELECT kind, owner_id, count FROM tally WHERE kind LIKE 'sent%' ORDER BY kind")
    assert [tuple(row) for row in told] == [("sent", world.owners[DOCTOR], 2), ("sent-to", world.owners[DOCTOR], 3)]
