"""The check sees what it is there to see: each invariant is broken once, and named."""

from __future__ import annotations

import pytest

from crypto.pki.issue import new_root
from server.mailbox.check import check, problems_of
from tests.integration.test_queue import FAR, queue_key, to_operators
from tests.store_world import NOON, PATIENT, PHARMACY, World, message

ORPHAN = (
    "INSERT INTO content SELECT owner_id, decode(md5('x'), 'hex'), size, key_form, key, summary, body, large_id "
    "FROM content LIMIT 1"
)
# What is done to the database, and the invariant that has to be named.
BROKEN = {
    "UPDATE folder_state SET unseen = unseen + 1 WHERE messages > 0": "counters equal rows",
    "UPDATE folder_state SET bytes = bytes + 1 WHERE messages > 0": "counters equal rows",
    "UPDATE folder_state SET uidnext = 1 WHERE messages > 0": "counters equal rows",
    "UPDATE folder_state SET highestmodseq = 1 WHERE messages > 0": "the change log does not run ahead of its folder",
    "DELETE FROM change": "every change since the log's beginning is in the log",
    "UPDATE change SET kind = 3": "what the log says vanished is gone",
    "UPDATE message SET size = size + 1": "a message has the size of its content",
    "UPDATE content SET size = size + 1": "a content has the size it says",
    ORPHAN: "unreferenced content is on the collector's list and collected in time",
    "DELETE FROM address": "an owner has an address, INBOX, and folder numbers below its counter",
    "UPDATE owner SET last_folder = 2": "an owner has an address, INBOX, and folder numbers below its counter",
    "UPDATE address SET proof = ''": "an address is proven to lead to its owner's key",
    "UPDATE owner SET public_key = ''": "an owner's public key is that of its private key",
    "UPDATE owner SET identity = ''": "an owner's keys and identity open",
    "UPDATE folder SET name_token = name": "a folder's name opens and has its token",
    "UPDATE folder SET name = ''": "a folder's name opens and has its token",
    "UPDATE content SET key = ''": "a content's key, summary and body open",
    "UPDATE content SET summary = ''": "a content's key, summary and body open",
    "UPDATE content SET body = substring(body FROM 1 FOR 30)": "a content's key, summary and body open",
    "UPDATE signing_key SET made_at = made_at - interval '1 day'": "a signing key opens and ends with its certificate",
    "DELETE FROM queue_recipient": "a message in the queue is for somebody",
    "UPDATE queue_message SET body = substring(body FROM 1 FOR 30)": "a message in the queue is whole",
}


@pytest.mark.parametrize("held", [True, False], ids=["keys", "no-keys"])
async def test_a_sound_store_has_no_problem(world: World, held: bool) -> None:
    await world.acceptor.accept(await world.envelope(PHARMACY, PATIENT), message())
    assert await check(world.admin, world.keyring if held else None, world.edge) == []


async def test_each_broken_invariant_is_named(world: World) -> None:
    await queue_key(world)
    await world.give_signing_key(PATIENT, new_root(NOON), NOON)
    for number in range(2):
        await world.acceptor.accept(await to_operators(world, FAR, local=(PHARMACY, PATIENT)), message(number=number))
    unseen = {}
    for harm, invariant in BROKEN.items():
        transaction = world.admin.transaction()
        await transaction.start()
        await world.admin.execute(harm)
        found = {problem.invariant for problem in await problems_of(world.admin, world.keyring, world.edge)}
        await transaction.rollback()
        if invariant not in found:
            unseen[harm] = found
    assert unseen == {}
