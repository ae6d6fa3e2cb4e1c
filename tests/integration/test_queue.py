"""What is accepted for other operators: queued with the local copies or not at all, closed to all but the sender."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from crypto.sealing import MailboxKey, open_sealed
from server.base import clock
from server.base.errors import Reason, TryLater
from server.mailbox.create import close
from server.transport.accept import Done
from server.transport.envelope import Envelope, Notify, Recipient, Remote, Returned
from server.transport.queued import Queued, body_reader, key_proof, open_envelope, queue_info
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World, message

FAR = "dr.durand@hopital.example"
LAB = "labo@laboratoire.example"


async def queue_key(world: World, proof: bytes | None = None) -> MailboxKey:
    """Today's key of the queue, as the sender makes it; `proof` replaces the true one."""
    pair, today = MailboxKey.generate(), clock.now().date()
    await world.admin.execute(
        "INSERT INTO queue_key (day, public_key, wrapped_private_key, proof) VALUES ($1, $2, '', $3)",
        today,
        pair.public(),
        proof or key_proof(world.edge, today, pair.public()),
    )
    return pair


async def to_operators(world: World, *addresses: str, local: tuple[str, ...] = ()) -> Envelope:
    envelope = await world.envelope(*local)
    far = tuple(Recipient(address, Remote(address.rpartition("@")[2])) for address in addresses)
    return replace(envelope, recipients=(*envelope.recipients, *far))


async def opened(world: World, pair: MailboxKey) -> list[tuple[asyncpg.Record, Queued, bytes]]:
    """Every queued message with its envelope and its bytes, opened as the sender opens them."""
    found = []
    for row in await world.admin.fetch("SELECT * FROM queue_message ORDER BY created_at"):
        queue_id = bytes(row["queue_id"])
        key = open_sealed(pair, bytes(row["key"]), queue_info(row["key_id"], queue_id))
        body = row["body"] or b"".join(
            piece["data"]
            for piece in await world.admin.fetch(
                "SELECT data FROM queue_piece WHERE queue_id = $1 ORDER BY number", queue_id
            )
        )
        envelope = open_envelope(key, queue_id, world.edge.salts, bytes(row["envelope"]))
        found.append((row, envelope, body_reader(key, queue_id, world.edge.salts, row["size"]).update(bytes(body))))
    return found


async def test_a_message_for_here_and_elsewhere_is_taken_as_one(world: World) -> None:
    pair = await queue_key(world)
    envelope = replace(
        await to_operators(world, FAR, LAB, local=(PHARMACY,)), envelope_id="QQ314159", returned=Returned.HEADERS
    )
    accepted = await world.acceptor.accept(envelope, message())
    assert [outcome.state for outcome in accepted.outcomes] == [Done.DONE, Done.QUEUED, Done.QUEUED]
    assert len(await world.texts(PHARMACY)) == 1
    ((row, kept, data),) = await opened(world, pair)
    assert (kept.reverse_path, kept.envelope_id, kept.returned) == (DOCTOR, "QQ314159", Returned.HEADERS)
    assert [one.address for one in kept.recipients.values()] == [FAR, LAB]
    assert data.startswith(b"Received: from poste.cabinet.example")
    assert data.endswith(message())
    assert b"Return-Path" not in data, "it is for the final delivery to write"
    recipients = await world.admin.fetch("SELECT number, domain, name, state FROM queue_recipient ORDER BY number")
    assert [(one["number"], one["domain"]) for one in recipients] == [
        (0, "hopital.example"),
        (1, "laboratoire.example"),
    ]
    clear = b"".join(str(value).encode() for value in (*row.values(), *(v for one in recipients for v in one.values())))
    assert not any(word in clear for word in (b"durand", b"dupont", b"Ordonnance"))


async def test_a_repeat_is_queued_once_and_new_recipients_are_served(world: World) -> None:
    await queue_key(world)
    envelope = await to_operators(world, FAR)
    first = await world.acceptor.accept(envelope, message())
    again = await world.acceptor.accept(envelope, message())
    assert (first.repeated, again.repeated) == (False, True)
    await world.acceptor.accept(await to_operators(world, LAB), message())
    assert await world.admin.fetchval("SELECT count(*) FROM queue_message") == 2
    world.acceptor.arrived(first)
    assert not (await world.acceptor.accept(envelope, message())).repeated


async def test_many_at_once_share_commits_and_none_is_lost(world: World) -> None:
    pair = await queue_key(world)
    envelope = await to_operators(world, FAR, local=(PHARMACY,))
    far = await to_operators(world, LAB)
    await asyncio.gather(
        *(world.acceptor.accept(envelope, message(number=n)) for n in range(20)),
        *(world.acceptor.accept(far, message(number=n)) for n in range(20)),
    )
    assert len({data for _, _, data in await opened(world, pair)}) == 40
    assert len(await world.texts(PHARMACY)) == 20


async def test_a_large_message_lies_in_pieces(world: World) -> None:
    pair = await queue_key(world)
    large = message("x" * 70 + "\r\n" + ("y" * 74 + "\r\n") * 40_000)
    await world.acceptor.accept(await to_operators(world, FAR, local=(PHARMACY,)), large)
    ((row, _, data),) = await opened(world, pair)
    assert row["body"] is None
    assert data.endswith(large)
    assert (await world.texts(PHARMACY))[0].endswith(large)


async def test_a_mailbox_that_went_away_does_not_stop_what_leaves(world: World) -> None:
    pair = await queue_key(world)
    envelope = await to_operators(world, FAR, local=(PATIENT,))
    await close(world.admin, world.owners[PATIENT])
    accepted = await world.acceptor.accept(envelope, message())
    assert [outcome.state for outcome in accepted.outcomes] == [Done.BOUNCED, Done.QUEUED]
    assert len(await opened(world, pair)) == 1
    (notice,) = await world.texts(DOCTOR)
    assert b"Action: failed" in notice


async def test_the_sender_is_told_of_delivery_when_asked_and_once(world: World) -> None:
    envelope = await world.envelope(PHARMACY, PATIENT)
    asked = replace(envelope.recipients[0], notify=frozenset({Notify.SUCCESS}), original="rfc822;alias@a.example")
    envelope = replace(envelope, recipients=(asked, envelope.recipients[1]), envelope_id="QQ1")
    for _ in range(2):
        await world.acceptor.accept(envelope, message())
    (receipt,) = await world.texts(DOCTOR)
    for said in (b"Action: delivered", b"Original-Recipient: rfc822;alias@a.example", b"Original-Envelope-Id: QQ1"):
        assert said in receipt
    assert PATIENT.encode() not in receipt, "nobody asked about the other recipient"


async def test_another_operators_sender_is_told_through_the_queue(world: World) -> None:
    pair = await queue_key(world)
    envelope = replace(await world.envelope(PHARMACY), reverse_path=FAR)
    asked = replace(envelope.recipients[0], notify=frozenset({Notify.SUCCESS}))
    await world.acceptor.accept(replace(envelope, recipients=(asked,)), message())
    ((row, kept, data),) = await opened(world, pair)
    assert (kept.reverse_path, row["sender"]) == ("", "")
    assert [one.address for one in kept.recipients.values()] == [FAR]
    assert b"Action: delivered" in data


async def test_without_a_key_that_is_proven_nothing_is_taken(world: World) -> None:
    envelope = await to_operators(world, FAR, local=(PHARMACY,))
    for proof in (None, b"forged"):
        if proof:
            await queue_key(world, proof)
        with pytest.raises(TryLater) as raised:
            await world.acceptor.accept(envelope, message())
        assert raised.value.reason is Reason.BUSY
    assert await world.texts(PHARMACY) == []


async def test_an_edge_cannot_read_the_queue(world: World) -> None:
    await queue_key(world)
    await world.acceptor.accept(await to_operators(world, FAR), message())
    for column in ("key", "envelope", "body"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await world.edge_pool.fetch(f"SELECT {column} FROM queue_message")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await world.edge_pool.fetch("SELECT wrapped_private_key FROM queue_key")


@pytest.mark.parametrize("plain", [b"", b"{}", b"[]", b'{"reverse_path": 1}', b"\xff"])
def test_what_is_no_envelope_says_so(plain: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Queued.from_bytes(plain)
