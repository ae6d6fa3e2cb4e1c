"""One mailbox never harms another: locked, poisoned or full, it delays nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from structlog.testing import capture_logs

from server.base.limits import GROUP_MESSAGES
from server.transport.accept import Done
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World, message

REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.owner_id = {owner} THEN RAISE EXCEPTION 'poisoned'; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON message FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@asynccontextmanager
async def locked(world: World, address: str) -> AsyncIterator[None]:
    """Another session holds the mailbox's folders, as a long command does."""
    locker = await world.database.connect()
    await locker.execute("SET idle_in_transaction_session_timeout = 0")  # however slow the machine
    try:
        async with locker.transaction():
            await locker.execute("SELECT 1 FROM folder_state WHERE owner_id = $1 FOR UPDATE", world.owners[address])
            yield
    finally:
        await locker.close()


async def test_a_locked_mailbox_delays_nobody_else(world: World) -> None:
    to_locked, to_others = await world.envelope(PHARMACY), await world.envelope(PATIENT)
    queue = world.local_queue()
    count = 3 * GROUP_MESSAGES
    async with locked(world, PHARMACY):
        envelopes = [to_locked if number % 2 else to_others for number in range(count)]
        with capture_logs() as logs:
            accepted = await asyncio.gather(
                *(world.acceptor.accept(envelope, message(number=n)) for n, envelope in enumerate(envelopes))
            )
        # Every answer came while the lock was held, and no group fell apart into single messages.
        assert [one.outcomes[0].state for one in accepted] == [Done.DONE, Done.QUEUED] * (count // 2)
        assert "group_rolled_back" not in {event["event"] for event in logs}
        # What is both for the locked one and for another is whole for the other.
        both = await world.acceptor.accept(await world.envelope(PHARMACY, DOCTOR), message(number=count))
        assert [one.state for one in both.outcomes] == [Done.QUEUED, Done.DONE]
        assert await queue.deliver() == 0
    assert len(await world.texts(PATIENT)) == count // 2
    # The lock is gone: new mail is delivered at once, though its mailbox is remembered as a locked one.
    later = await world.acceptor.accept(to_locked, message(number=count + 1))
    assert later.outcomes[0].state is Done.DONE
    await world.admin.execute("UPDATE outgoing SET not_before = now()")
    assert await queue.deliver() == count // 2 + 1
    assert len(await world.texts(PHARMACY)) == count // 2 + 2


async def test_a_poisoned_mailbox_delays_nobody_else_in_the_local_queue(world: World) -> None:
    await world.admin.execute("UPDATE owner SET state = 'suspended'")
    for address in (PHARMACY, PATIENT, PHARMACY, PATIENT):
        await world.acceptor.accept(await world.envelope(address), message(number=len(address)))
    await world.admin.execute("UPDATE owner SET state = 'active'")
    await world.admin.execute("UPDATE outgoing SET not_before = created_at")
    await world.admin.execute(REFUSE.format(owner=world.owners[PHARMACY]))
    queue = world.local_queue()
    with capture_logs() as logs:
        assert await queue.deliver() == 1
    assert [(one["event"], one["owner"]) for one in logs] == [("delivery_failed", world.owners[PHARMACY])]
    assert len(await world.texts(PATIENT)) == 1
    await world.admin.execute("DROP TRIGGER refuse ON message")
    assert await queue.deliver() == 0, "it stands back for a minute"
    await world.admin.execute("UPDATE outgoing SET not_before = now()")
    assert await queue.deliver() == 1
    assert len(await world.texts(PHARMACY)) == 1


async def test_a_poisoned_mailbox_in_a_group_fails_alone(world: World) -> None:
    await world.admin.execute(REFUSE.format(owner=world.owners[PHARMACY]))
    envelopes = [await world.envelope(address) for address in (PHARMACY, PATIENT, DOCTOR)]
    numbered = [(envelope, message(number=number)) for number in range(5) for envelope in envelopes]
    answers = await asyncio.gather(
        *(world.acceptor.accept(envelope, data) for envelope, data in numbered), return_exceptions=True
    )
    assert [isinstance(answer, BaseException) for answer in answers] == [True, False, False] * 5
    assert [len(await world.texts(address)) for address in (PHARMACY, PATIENT, DOCTOR)] == [0, 5, 5]
