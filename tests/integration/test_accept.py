"""Accept: one transaction takes responsibility, for all recipients, once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from server.base.errors import Reason, Refused, TryLater
from server.db.credentials import SUPERUSER
from server.mailbox.create import close
from server.transport import commit
from server.transport.accept import Done
from server.transport.envelope import Notify
from server.transport.local_queue import LocalQueue
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World, message


async def test_a_message_reaches_its_recipients_with_trace_and_summary(world: World) -> None:
    accepted = await world.acceptor.accept(await world.envelope(PHARMACY, PATIENT), message())
    assert [outcome.state for outcome in accepted.outcomes] == [Done.DONE, Done.DONE]
    assert not accepted.repeated
    for address in (PHARMACY, PATIENT):
        (text,) = await world.texts(address)
        assert text.startswith(f"Return-Path: <{DOCTOR}>\r\n".encode())
        assert text.endswith(message())
        mailbox = await world.mailbox(address)
        view = await mailbox.view(1)
        assert (view.state.uidnext, view.state.messages, view.state.unseen) == (2, 1, 1)
        summary = (await mailbox.summaries([view.rows[0].content_id]))[view.rows[0].content_id]
        assert summary.size == view.rows[0].size == len(text)
        assert summary.subject == "Ordonnance"


async def test_a_group_of_messages_shares_commits_and_keeps_every_one(world: World) -> None:
    envelope = await world.envelope(PHARMACY)
    await asyncio.gather(*(world.acceptor.accept(envelope, message(number=n)) for n in range(60)))
    mailbox = await world.mailbox(PHARMACY)
    view = await mailbox.view(1)
    assert [row.uid for row in view.rows] == list(range(1, 61))
    assert view.state.highestmodseq < 61, "no two messages shared a commit"
    assert len(set(await world.texts(PHARMACY))) == 60


async def test_a_message_waits_for_those_that_others_are_sending_and_no_longer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "GATHER_SECONDS", 3600.0)
    envelope = await world.envelope(PHARMACY)
    world.acceptor.underway(3)
    first = asyncio.create_task(world.acceptor.accept(envelope, message(number=1)))
    second = asyncio.create_task(world.acceptor.accept(envelope, message(number=2)))
    done, _ = await asyncio.wait([first, second], timeout=0.2)
    assert not done
    world.acceptor.underway(-1)  # the third client went away
    await asyncio.gather(first, second)
    mailbox = await world.mailbox(PHARMACY)
    modseqs = {row.modseq for row in (await mailbox.view(1)).rows}
    assert len(modseqs) == 1, "the two did not share a commit"
    world.acceptor.underway(-1)
    await world.acceptor.accept(envelope, message(number=3))  # alone, it waits for nobody
    world.acceptor.underway(-1)


async def test_nobody_waits_long_for_a_client_that_sends_slowly(world: World) -> None:
    envelope = await world.envelope(PHARMACY)
    world.acceptor.underway(5)
    await world.acceptor.accept(envelope, message(number=1))
    world.acceptor.underway(-5)
    alone = asyncio.create_task(world.acceptor.accept(envelope, message(number=2)))
    await asyncio.sleep(0)
    world.acceptor.underway(5)  # it waits already, and nobody was there when it began to
    await alone
    world.acceptor.underway(-5)
    assert len(await world.texts(PHARMACY)) == 2


async def test_a_repeat_after_a_lost_250_is_answered_and_not_stored_again(world: World) -> None:
    envelope = await world.envelope(PHARMACY)
    first = await world.acceptor.accept(envelope, message())
    again = await world.acceptor.accept(envelope, message())
    assert (first.repeated, again.repeated) == (False, True)
    other = await world.acceptor.accept(await world.envelope(PHARMACY, PATIENT), message())
    assert not other.repeated
    assert len(await world.texts(PHARMACY)) == 1
    assert len(await world.texts(PATIENT)) == 1


async def test_the_same_bytes_after_the_reply_was_read_are_a_new_message(world: World) -> None:
    envelope = await world.envelope(PHARMACY)
    for _ in range(3):
        accepted = await world.acceptor.accept(envelope, message())
        assert not accepted.repeated
        world.acceptor.arrived(accepted)
    assert len(await world.texts(PHARMACY)) == 3


async def test_simultaneous_repeats_make_one_copy(world: World) -> None:
    envelope = await world.envelope(PHARMACY)
    answers = await asyncio.gather(*(world.acceptor.accept(envelope, message()) for _ in range(12)))
    assert sum(not answer.repeated for answer in answers) == 1
    assert len(await world.texts(PHARMACY)) == 1


async def test_two_addresses_of_one_mailbox_get_one_copy(world: World) -> None:
    envelope = await world.envelope(PHARMACY, PHARMACY)
    accepted = await world.acceptor.accept(envelope, message())
    assert len(accepted.outcomes) == 2
    assert len(await world.texts(PHARMACY)) == 1


async def test_a_mailbox_closed_since_rcpt_is_refused_when_it_is_alone(world: World) -> None:
    envelope = await world.envelope(PHARMACY)
    await close(world.admin, world.owners[PHARMACY])
    with pytest.raises(Refused) as refused:
        await world.acceptor.accept(envelope, message())
    assert refused.value.reason is Reason.RECIPIENT_CLOSED
    assert await world.admin.fetchval("SELECT count(*) FROM content") == 0
    assert await world.admin.fetchval("SELECT count(*) FROM accepted") == 0


async def test_a_folder_deleted_since_rcpt_tells_the_local_sender_and_serves_the_others(world: World) -> None:
    doomed = await (await world.mailbox(PATIENT)).create_folder("Bientôt/Parti")
    recipients = await world.recipients(PATIENT, folder_id=doomed.folder_id)
    envelope = await world.envelope(PHARMACY)
    both = type(envelope)(DOCTOR, (*envelope.recipients, *recipients), envelope.source, envelope.received_at)
    await (await world.mailbox(PATIENT)).delete_folder("Bientôt/Parti")
    accepted = await world.acceptor.accept(both, message())
    assert [outcome.state for outcome in accepted.outcomes] == [Done.DONE, Done.BOUNCED]
    assert len(await world.texts(PHARMACY)) == 1
    assert await world.texts(PATIENT) == []
    (notice,) = await world.texts(DOCTOR)
    assert b"message/delivery-status" in notice
    assert notice.startswith(b"Return-Path: <>\r\n")


@pytest.mark.parametrize("notify", [{Notify.NEVER}, {Notify.SUCCESS}, {Notify.FAILURE}])
async def test_who_asked_for_no_notification_gets_none(world: World, notify: set[Notify]) -> None:
    """RFC 3461 §4.1; and the one that was asked for names the message and the recipient as the sender did."""
    envelope = await world.envelope(PHARMACY, PATIENT)
    pharmacy, patient = envelope.recipients
    patient = replace(patient, notify=frozenset(notify), original="rfc822;jeanne+2Bmartin@ailleurs.example")
    envelope = replace(envelope, recipients=(pharmacy, patient), envelope_id="QQ1")
    await close(world.admin, world.owners[PATIENT])
    accepted = await world.acceptor.accept(envelope, message())
    assert [outcome.state for outcome in accepted.outcomes] == [Done.DONE, Done.BOUNCED]
    assert len(await world.texts(PHARMACY)) == 1
    notices = await world.texts(DOCTOR)
    assert len(notices) == (Notify.FAILURE in notify)
    for notice in notices:
        assert b"Original-Envelope-Id: QQ1\r\n" in notice
        assert b"Original-Recipient: rfc822;jeanne+martin@ailleurs.example\r\n" in notice


async def test_a_mailbox_gone_of_a_stranger_s_message_is_told_by_trying_again(world: World) -> None:
    envelope = await world.envelope(PHARMACY, PATIENT, sender="quelqu.un@ailleurs.example")
    await close(world.admin, world.owners[PATIENT])
    with pytest.raises(TryLater) as later:
        await world.acceptor.accept(envelope, message())
    assert later.value.reason is Reason.BUSY
    assert await world.texts(PHARMACY) == []


async def test_a_locked_folder_gets_its_delivery_from_the_local_queue(world: World, queue: LocalQueue) -> None:
    locker = await world.database.connect()
    transaction = locker.transaction()
    await transaction.start()
    await locker.execute("SELECT 1 FROM folder_state WHERE owner_id = $1 FOR UPDATE", world.owners[PHARMACY])
    envelope = await world.envelope(PHARMACY, PATIENT)
    accepted = await world.acceptor.accept(envelope, message())
    assert [outcome.state for outcome in accepted.outcomes] == [Done.QUEUED, Done.DONE]
    assert (await world.acceptor.accept(envelope, message())).repeated
    assert await queue.deliver() == 0
    await transaction.rollback()
    await locker.close()
    await world.admin.execute("UPDATE outgoing SET not_before = now()")
    assert await queue.deliver() == 1
    assert len(await world.texts(PHARMACY)) == 1


async def test_a_suspended_mailbox_keeps_its_mail_in_the_queue(world: World, queue: LocalQueue) -> None:
    await world.admin.execute("UPDATE owner SET state = 'suspended' WHERE owner_id = $1", world.owners[PHARMACY])
    accepted = await world.acceptor.accept(await world.envelope(PHARMACY), message())
    assert accepted.outcomes[0].state is Done.QUEUED
    assert await queue.deliver() == 0
    await world.admin.execute("UPDATE owner SET state = 'active'")
    await world.admin.execute("UPDATE outgoing SET not_before = now()")
    assert await queue.deliver() == 1
    assert len(await world.texts(PHARMACY)) == 1


async def test_a_mailbox_closed_while_mail_was_queued_is_told_to_the_sender(world: World, queue: LocalQueue) -> None:
    await world.admin.execute("UPDATE owner SET state = 'suspended' WHERE owner_id = $1", world.owners[PHARMACY])
    await world.acceptor.accept(await world.envelope(PHARMACY), message())
    await close(world.admin, world.owners[PHARMACY])
    assert await queue.deliver() == 1
    (notice,) = await world.texts(DOCTOR)
    assert PHARMACY.encode() in notice


async def test_a_large_body_is_stored_in_pieces_and_read_by_ranges(world: World) -> None:
    body = "".join(f"{n:063}\n" for n in range(50_000)).replace("\n", "\r\n")
    data = message(text=body)
    envelope = await world.envelope(PHARMACY, PATIENT)
    await world.acceptor.accept(envelope, data)
    mailbox = await world.mailbox(PHARMACY)
    (row,) = (await mailbox.view(1)).rows
    whole = await mailbox.body(row.content_id)
    assert whole.endswith(data)
    for start, end in ((0, 10), (1_048_570, 1_048_590), (2_000_000, 2_000_001), (len(whole) - 5, len(whole) + 50)):
        assert await mailbox.body(row.content_id, start, end) == whole[start:end]
    assert await mailbox.body(row.content_id, len(whole) + 5, len(whole) + 9) == b""
    assert await world.admin.fetchval("SELECT count(*) FROM body_piece WHERE owner_id = $1", mailbox.owner_id) > 3
    assert (await world.acceptor.accept(envelope, data)).repeated


async def test_a_signature_can_be_required(world: World) -> None:
    settings = world.database.settings
    strict = settings.model_copy(
        update={"transport": settings.transport.model_copy(update={"require_signature": True})}
    )
    acceptor = type(world.acceptor)(world.edge_pool, world.edge, world.store.anchors, strict)
    await acceptor.start()
    with pytest.raises(Refused) as refused:
        await acceptor.accept(await world.envelope(PHARMACY), message())
    assert refused.value.reason is Reason.SIGNATURE_REQUIRED
    await acceptor.close()
    assert await world.texts(PHARMACY) == []


async def test_unknown_trouble_is_not_hidden_and_dead_connections_are_replaced(world: World) -> None:
    envelope = await world.envelope(PHARMACY)
    await world.admin.execute("REVOKE INSERT ON content FROM caducee_edge")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await world.acceptor.accept(envelope, message(number=1))
    await world.admin.execute("GRANT INSERT ON content TO caducee_edge")
    superuser = await asyncpg.connect(world.database.cluster.dsn(SUPERUSER, world.database.name))
    for number in range(2, 6):
        # Every backend of the edge dies: the next statement finds a dead connection, and takes a new one.
        await superuser.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'caducee_submission'"
        )
        await world.acceptor.accept(envelope, message(number=number))
    await superuser.close()
    assert len(await world.texts(PHARMACY)) == 4


async def test_a_connection_lost_during_commit_neither_loses_nor_doubles(world: World, monkeypatch: Any) -> None:
    envelope = await world.envelope(PHARMACY)
    original = asyncpg.Connection.fetch
    lost = 0

    async def losing(self: Any, query: str, *args: Any, **options: Any) -> Any:
        nonlocal lost
        rows = await original(self, query, *args, **options)
        if "WITH forgotten" in query and lost < 2:
            lost += 1
            await self.close()
            raise asyncpg.ConnectionDoesNotExistError("the reply to COMMIT never came")
        return rows

    monkeypatch.setattr(asyncpg.Connection, "fetch", losing)
    await world.acceptor.accept(envelope, message())
    assert lost == 2
    assert len(await world.texts(PHARMACY)) == 1


async def test_a_full_disk_is_said(world: World, monkeypatch: Any) -> None:
    envelope = await world.envelope(PHARMACY)
    original = asyncpg.Connection.fetch

    async def full(self: Any, query: str, *args: Any, **options: Any) -> Any:
        if "WITH forgotten" in query:
            raise asyncpg.DiskFullError("could not extend file")
        return await original(self, query, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(asyncpg.Connection, "fetch", full)
        with pytest.raises(TryLater) as later:
            await world.acceptor.accept(envelope, message())
    assert later.value.reason is Reason.STORE_FULL
    assert not (await world.acceptor.accept(envelope, message())).repeated


async def test_one_bad_message_of_a_group_falls_alone(world: World, monkeypatch: Any) -> None:
    envelope = await world.envelope(PHARMACY)
    original = asyncpg.Connection.fetch

    async def picky(self: Any, query: str, *args: Any, **options: Any) -> Any:
        if "WITH forgotten" in query and any(size > 2_000 for size in args[2]):
            raise asyncpg.DataError("this one cannot be stored")
        return await original(self, query, *args, **options)

    monkeypatch.setattr(asyncpg.Connection, "fetch", picky)
    sent = [message(number=n, text="x" * (3_000 if n == 7 else 10)) for n in range(16)]
    answers = await asyncio.gather(*(world.acceptor.accept(envelope, one) for one in sent), return_exceptions=True)
    assert [n for n, answer in enumerate(answers) if isinstance(answer, Exception)] == [7]
    assert len(await world.texts(PHARMACY)) == 15


async def test_crossing_recipients_do_not_deadlock(world: World) -> None:
    before = await world.admin.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    there = await world.envelope(PHARMACY, PATIENT, DOCTOR)
    back = await world.envelope(DOCTOR, PATIENT, PHARMACY)
    jobs = [world.acceptor.accept(there if n % 2 else back, message(number=n)) for n in range(100)]
    await asyncio.gather(*jobs)
    after = await world.admin.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert after == before
    assert len((await (await world.mailbox(PATIENT)).view(1)).rows) == 100


@pytest.fixture
async def queue(world: World) -> LocalQueue:
    return world.local_queue()
