"""Keys renewed, turned, retired, destroyed, while mailboxes are read; and what an old backup then gives.

Readers hold a copy of the keyring of their own, as running processes do. The long forms are run by `make soak`.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from crypto.errors import CryptoError, IntegrityError, KeyMissing
from crypto.keyfile import write_private
from crypto.keyring import Keyring, generation_of
from crypto.pki.issue import new_root
from crypto.smime.anchors import TrustAnchors
from server.base.errors import Reason, Refused
from server.db.confinement import installed_binaries
from server.mailbox.beside import entrusted
from server.mailbox.check import check
from server.mailbox.create import create, fill_spares
from server.mailbox.keylife import renewal, turn
from server.mailbox.keylife.destroy import destroy
from server.mailbox.keylife.export import Exported, bring_back, exported
from server.mailbox.keys import open_owner
from server.mailbox.maintenance import Rewrapper
from server.mailbox.model import NewMailbox, NewMessage, OwnerKind, OwnerState
from server.mailbox.routes import routes
from server.mailbox.store import Store
from server.record.record import Record, bring_details
from server.record.signatures import Signatures, bring_verdicts
from tests import store_world
from tests.repo.sources import modules
from tests.signers import certificate
from tests.store_world import DOCTOR, NOON, PATIENT, PHARMACY, World, message

NEIGHBOURS = (bring_details, bring_verdicts)


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    """The operator's copy."""
    return Keyring.create(tmp_path / "ring")


@pytest.fixture
async def world(database: Any, ring: Keyring, tmp_path: Path, anchors: TrustAnchors) -> AsyncIterator[World]:
    """Its processes hold another copy of the same keyring."""
    async with store_world.world(database, Keyring.open(tmp_path / "ring"), anchors) as made:
        yield made


async def deliver(world: World, *numbers: int) -> None:
    envelope = await world.envelope(PATIENT, PHARMACY)
    for number in numbers:
        accepted = await world.acceptor.accept(envelope, message(number=number))
        world.acceptor.arrived(accepted)


async def turned(world: World, ring: Keyring, address: str) -> None:
    """A whole turn; processes look once between its announcement and its use."""
    owner_id = world.owners[address]
    await turn.announce(world.admin, ring, owner_id, NOON)
    await world.store.keys.look(world.admin)
    await turn.switch(world.admin, ring, world.edge, owner_id, NOON)


async def test_running_processes_open_what_newer_keys_wrapped(world: World, ring: Keyring) -> None:
    await deliver(world, 1)
    await renewal.rotate(world.admin, ring)
    assert await renewal.rewrap(world.admin, ring) == 3
    assert await renewal.rewrap(world.admin, ring) == 0
    reader = Store(world.reader_pool, world.edge, world.keyring)  # with the copy of before, and nothing in memory
    assert len((await (await reader.open(world.owners[PATIENT])).view(1)).rows) == 1
    assert await renewal.retire(world.admin, ring, NOON) == (4_096, 0)
    assert len(await world.texts(PATIENT)) == 1


async def test_who_makes_mailboxes_never_wraps_with_an_older_key_again(world: World, ring: Keyring) -> None:
    await renewal.rotate(world.admin, ring)
    async with world.jobs_pool.acquire() as jobs:
        await fill_spares(jobs, world.keyring, 3)
    assert set(await renewal.needed(world.admin)) & {(bucket, 2) for bucket in range(4_096)}
    await renewal.rewrap(world.admin, ring)
    assert {generation for _, generation in await renewal.needed(world.admin)} == {2}


async def test_nothing_that_is_needed_is_retired(world: World, ring: Keyring) -> None:
    await renewal.rotate(world.admin, ring)
    used = {Keyring.bucket_of(owner_id) for owner_id in world.owners.values()}
    assert await renewal.retire(world.admin, ring, NOON) == (4_096 - len(used), len(used))
    assert len(await world.texts(PATIENT)) == 0
    assert await check(world.admin, ring, world.edge) == []


async def test_wrapping_goes_on_where_it_was_stopped(
    world: World, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.jobs_pool.acquire() as jobs:
        await fill_spares(jobs, world.keyring, 7)
    await renewal.rotate(world.admin, ring)
    monkeypatch.setattr(renewal, "PAGE", 4)

    class Killed(Exception):
        pass

    def kill(done: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        await renewal.rewrap(world.admin, ring, kill)
    wrapped = await world.admin.fetch("SELECT wrapped_private_key AS w FROM owner ORDER BY owner_id")
    assert [generation_of(row["w"]) for row in wrapped] == [2] * 4 + [1] * 6
    assert await renewal.rewrap(world.admin, ring) == 6


async def test_a_turned_mailbox_reads_old_and_new_and_late_messages(world: World, ring: Keyring) -> None:
    mailbox = await world.mailbox(PATIENT)
    await mailbox.create_folder("Dossiers/Martin")
    await mailbox.create_folder("Ancien")
    await mailbox.subscribe("Ancien", True)
    await mailbox.delete_folder("Ancien")
    await mailbox.annotate(None, mailbox.owner_id, {"/private/comment": b"rappeler"})
    signer = await world.give_signing_key(PATIENT, new_root(NOON), NOON)
    await deliver(world, 1, 2)
    await world.texts(PATIENT)
    before = await routes(world.edge_pool, world.edge, [PATIENT])
    late = await world.envelope(PATIENT)
    await deliver(world, 3)
    await turned(world, ring, PATIENT)
    after = await routes(world.edge_pool, world.edge, [PATIENT])
    assert before[PATIENT].public_key != after[PATIENT].public_key
    await world.acceptor.accept(late, message(number=4))  # sealed to the former pair
    await deliver(world, 5)
    await mailbox.append_many(1, [NewMessage(message(number=6))])  # a session that has not looked again
    await world.store.keys.look(world.admin)
    assert len(await world.texts(PATIENT)) == 6
    moved = await turn.bring(world.admin, ring, world.owners[PATIENT], NOON, NEIGHBOURS)
    assert moved == 3  # 3 and 4 were wrapped anew by their first reading
    (pair,) = await turn.former(world.admin)
    assert not pair.is_left
    await turn.bring(world.admin, ring, world.owners[PATIENT], NOON + turn.SETTLED)
    (pair,) = await turn.former(world.admin)
    assert pair.is_left
    await turn.drop(world.admin, pair)
    fresh = await Store(world.reader_pool, world.edge, world.keyring).open(world.owners[PATIENT])
    assert len([await fresh.body(row.content_id) for row in (await fresh.view(1)).rows]) == 6
    assert (await fresh.identity()).ins == "280019900100182"
    assert (await fresh.folder("Dossiers/Martin")).name == "Dossiers/Martin"  # found by its token still
    assert await fresh.kept_subscriptions() == ["Ancien"]
    web = await world.database.pool("web")
    signs = await (await Store(web, world.edge, world.keyring).open(fresh.owner_id)).signer(NOON)
    web.terminate()
    assert signs is not None
    assert signs.certificate == signer.certificate
    assert await fresh.annotations(fresh.owner_id) == {None: {"/private/comment": b"rappeler"}}
    with pytest.raises(Refused):
        await mailbox.create_folder("Dossiers/Martin")


def test_all_that_stands_under_a_mailboxs_key_is_turned_with_it() -> None:
    """Whoever keeps something more there has it brought along in keylife/turn.py, or by a neighbour of `bring`."""
    sealing = re.compile(r"\.(?:wrap_own|wrap_message_key|wrap_identity|folder_name)\(")
    places = {
        module.where for module in modules() if module.where.startswith("server/") and sealing.search(module.text)
    }
    assert places == {
        "server/mailbox/beside/annotation.py",
        "server/mailbox/beside/entrusted.py",
        "server/mailbox/beside/signing_keys.py",
        "server/mailbox/beside/url_keys.py",
        "server/mailbox/blocks/shelf.py",  # dropped, and made again
        "server/mailbox/content.py",
        "server/mailbox/create.py",
        "server/mailbox/folders.py",
        "server/mailbox/keylife/turn.py",
        "server/mailbox/maintenance.py",
        "server/mailbox/store.py",  # passes on what the record keeps
        "server/record/intake.py",
        "server/record/signatures.py",
    }


async def test_documents_of_a_turned_patient_stay_and_are_not_filed_twice(world: World, ring: Keyring) -> None:
    pdf = message(number=1).replace(b"\r\n\r\nBonjour", b"\r\nContent-Type: application/pdf\r\n\r\n%PDF-1.7")
    await world.acceptor.accept(await world.envelope(PATIENT), pdf)
    await world.intake().some()
    await turned(world, ring, PATIENT)
    await turn.bring(world.admin, ring, world.owners[PATIENT], NOON, NEIGHBOURS)
    for pair in await turn.former(world.admin):
        await turn.drop(world.admin, pair)
    again = pdf.replace(b"<1@", b"<2@")
    await world.acceptor.accept(await world.envelope(PATIENT), again)
    intake = world.intake()
    while await intake.some():
        pass
    fresh = await Store(world.reader_pool, world.edge, world.keyring).open(world.owners[PATIENT])
    web = await world.database.pool("web")
    (document,) = await Record(web).documents(fresh)
    assert document.detail.size > 0
    assert world.store.anchors is not None
    kept = await Signatures(web, world.store.anchors, world.store.anchors).kept(fresh, [document.content_id])
    assert kept == {document.content_id: {document.detail.part: []}}  # looked at: it bears no signature
    await web.close()


async def test_a_pair_that_somebody_wrote_into_the_database_is_not_used(world: World, ring: Keyring) -> None:
    owner_id = world.owners[PATIENT]
    await turn.announce(world.admin, ring, owner_id, NOON)
    forged = await world.admin.fetchval("SELECT public_key FROM owner WHERE owner_id = $1", world.owners[DOCTOR])
    await world.admin.execute("UPDATE owner_key SET public_key = $1", forged)
    with pytest.raises(IntegrityError):
        await turn.switch(world.admin, ring, world.edge, owner_id, NOON)
    await world.admin.execute("DELETE FROM owner_key")


async def test_a_session_of_a_destroyed_mailbox_reads_no_more(world: World, ring: Keyring) -> None:
    await deliver(world, 1)
    await world.give_signing_key(PATIENT, new_root(NOON), NOON)
    mailbox = await world.mailbox(PATIENT)
    await destroy(world.admin, ring, world.owners[PATIENT], NOON, lambda export: None)
    await world.store.keys.look(world.admin)
    with pytest.raises(Refused) as closed:
        await mailbox.view(1)
    assert closed.value.reason is Reason.RECIPIENT_CLOSED
    assert await world.admin.fetchval("SELECT count(*) FROM signing_key") == 0


async def test_an_entrusted_key_ends_with_its_mailbox(world: World, ring: Keyring) -> None:
    """Even for who kept the row of the mailbox: its key is what the entrusted one is sealed with."""
    owner_id, holder = world.owners[PHARMACY], certificate("PHARMACIE")
    current = await world.store.keys.of(world.admin, owner_id)
    await entrusted.entrust(world.admin, world.edge, current, holder, "operator")
    row = await world.admin.fetchrow("SELECT wrapped_private_key FROM owner WHERE owner_id = $1", owner_id)
    (kept,) = await entrusted.sealed(world.admin, owner_id)
    key = open_owner(ring, owner_id, OwnerKind.ORG, OwnerState.ACTIVE, row["wrapped_private_key"])
    assert entrusted.opened(key, kept).certificate == holder.certificate
    await destroy(world.admin, ring, owner_id, NOON, lambda export: None)
    with pytest.raises(KeyMissing):
        open_owner(ring, owner_id, OwnerKind.ORG, OwnerState.ACTIVE, row["wrapped_private_key"])


async def backup(world: World, file: Path) -> None:
    await program("pg_dump", "--format=custom", f"--file={file}", world.database.dsn())


async def restored(world: World, file: Path, name: str) -> str:
    """The backup in a database of its own; its address, as its owner."""
    await world.admin.execute(f"CREATE DATABASE {name}")
    address = urlunsplit(urlsplit(world.database.dsn())._replace(path=f"/{name}"))
    await program("pg_restore", "--no-owner", "--no-privileges", f"--dbname={address}", str(file))
    return address


async def program(name: str, *words: str) -> None:
    process = await asyncio.create_subprocess_exec(installed_binaries() / name, *words, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


async def read(address: str, world: World, ring: Keyring, of: str) -> list[bytes]:
    """What a mailbox of a restored database gives, with this keyring."""
    async with asyncpg.create_pool(address, min_size=1, max_size=2) as pool:
        mailbox = await Store(pool, world.edge, ring).open(world.owners[of])
        return [await mailbox.body(row.content_id) for row in (await mailbox.view(1)).rows]


async def test_an_old_backup_reads_everybody_but_the_destroyed(world: World, ring: Keyring, tmp_path: Path) -> None:
    """Restored with today's keyring: the destroyed mailbox opens no more, its neighbour in the bucket does."""
    bucket = Keyring.bucket_of(world.owners[PATIENT])
    neighbour = "voisine@patient.msg.exemple.fr"
    await world.admin.execute("SELECT setval('owner_number', $1)", world.owners[PATIENT] + 4_095)
    new = NewMailbox(neighbour, OwnerKind.PATIENT, "Voisine", ins="1")
    (made,) = await create(world.admin, world.keyring, world.edge, [new])
    world.owners[neighbour] = made.owner_id
    assert Keyring.bucket_of(made.owner_id) == bucket
    envelope = await world.envelope(PATIENT, PHARMACY, neighbour)
    await world.acceptor.accept(envelope, message(number=1))
    await turned(world, ring, PHARMACY)  # an old pair in the backup, another one today
    await backup(world, tmp_path / "old.dump")
    old_keys = {name: (tmp_path / "ring" / name).read_bytes() for name in ("master.json", "keyring.json", "lock")}
    await turn.bring(world.admin, ring, world.owners[PHARMACY], NOON)

    kept = tmp_path / "mailboxes.export"
    await exported(world.admin, ring, NOON)
    await destroy(world.admin, ring, world.owners[PATIENT], NOON, lambda export: export.write(kept, None))
    assert [len(await world.texts(one)) for one in (PHARMACY, neighbour)] == [1, 1]

    place = await restored(world, tmp_path / "old.dump", f"old_{world.database.name}")
    old = await asyncpg.connect(place)
    today = Keyring.open(tmp_path / "ring", retired=True)
    wrapped = await old.fetchval("SELECT wrapped_private_key FROM owner WHERE owner_id = $1", world.owners[PATIENT])
    for one in (PATIENT, neighbour):
        with pytest.raises(KeyMissing):
            await read(place, world, today, one)
    back = await bring_back(old, today, Exported.read(kept), NOON)
    assert (back.replaced, back.destroyed, back.lost) == (1, [world.owners[PATIENT]], [])
    for one in (PHARMACY, neighbour):
        assert b"Bonjour" in (await read(place, world, today, one))[0]
    with pytest.raises(Refused):
        await read(place, world, today, PATIENT)
    assert await check(old, today, world.edge) == []
    await old.close()
    # The key itself is gone, not only the way to it: what the backup holds of the mailbox opens with no key we have.
    with pytest.raises(KeyMissing):
        today.unwrap_private(world.owners[PATIENT], wrapped)
    # And it was the keyring that kept it shut: with the one of then it would open.
    (tmp_path / "then").mkdir(mode=0o700)
    for name, text in old_keys.items():
        write_private(tmp_path / "then" / name, text)
    Keyring.open(tmp_path / "then").unwrap_private(world.owners[PATIENT], wrapped)


async def test_an_export_older_than_a_destruction_is_refused(world: World, ring: Keyring) -> None:
    stale = await exported(world.admin, ring, NOON)
    await destroy(world.admin, ring, world.owners[PATIENT], NOON, lambda export: None)
    with pytest.raises(CryptoError, match="were destroyed after"):
        await bring_back(world.admin, ring, stale, NOON)


@pytest.mark.parametrize("stop", ["rewrap_bucket", "exported", "keep"])
async def test_a_destruction_that_was_stopped_goes_on(
    world: World, ring: Keyring, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    await deliver(world, 1)
    owner_id = world.owners[PATIENT]
    old = await world.admin.fetchval("SELECT wrapped_private_key FROM owner WHERE owner_id = $1", owner_id)

    class Killed(Exception):
        pass

    def kill(*given: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        if stop != "keep":
            patched.setattr(f"server.mailbox.keylife.destroy.{stop}", kill)
        with pytest.raises(Killed):
            await destroy(world.admin, ring, owner_id, NOON, kill)
    assert len(await world.texts(PHARMACY)) == 1
    await destroy(world.admin, ring, owner_id, NOON, lambda export: None)
    assert len(await world.texts(PHARMACY)) == 1
    with pytest.raises(KeyMissing):
        ring.unwrap_private(owner_id, old)


async def churn(
    world: World, ring: Keyring, chance: random.Random, rounds: int, all_looked: Callable[[], Awaitable[None]]
) -> None:
    """Everything that is done to keys, in a random order."""

    async def turning() -> None:
        owner_id = world.owners[chance.choice([PATIENT, PHARMACY])]
        await turn.announce(world.admin, ring, owner_id, NOON)
        await all_looked()
        await turn.switch(world.admin, ring, world.edge, owner_id, NOON)

    async def bringing() -> None:
        for pair in await turn.former(world.admin):
            await turn.bring(world.admin, ring, pair.owner_id, NOON + turn.SETTLED, NEIGHBOURS)
        for pair in await turn.former(world.admin):
            if pair.is_left:
                await turn.drop(world.admin, pair)

    steps: list[Callable[[], Awaitable[object]]] = [
        lambda: renewal.rotate(world.admin, ring),
        lambda: renewal.rewrap(world.admin, ring),
        lambda: renewal.retire(world.admin, ring, NOON),
        lambda: renewal.destroy_retired(world.admin, ring),
        turning,
        bringing,
    ]
    for _ in range(rounds):
        await chance.choice(steps)()
        await asyncio.sleep(0)


async def under_load(world: World, ring: Keyring, seed: int, rounds: int) -> int:
    """Readings that were made while keys changed; one that fails is raised."""
    await deliver(world, *range(3))
    readings: Counter[str] = Counter()
    looks = 0
    done = asyncio.Event()

    async def reading(address: str) -> None:
        held = await world.mailbox(address)
        while not done.is_set():
            for mailbox in (held, await Store(world.reader_pool, world.edge, world.keyring).open(held.owner_id)):
                rows = (await mailbox.view(1)).rows[-20:]
                bodies = [await mailbox.body(row.content_id) for row in rows[-5:]]
                assert len(await mailbox.summaries([row.content_id for row in rows])) == len(rows)
                assert [len(body) for body in bodies] == [row.size for row in rows[-5:]]
            readings[address] += 1

    async def writing() -> None:
        number = 100
        while not done.is_set():
            await deliver(world, number)
            number += 1
            await asyncio.sleep(0.02)

    looking_from = await world.database.connect("imap")

    async def looking() -> None:
        nonlocal looks
        rewrapper = Rewrapper(world.keyring)
        while not done.is_set():
            await world.store.keys.look(looking_from)
            await rewrapper.some(world.jobs_pool)
            looks += 1
            await asyncio.sleep(0.005)

    async def all_looked() -> None:
        """In place of the seconds that are waited after an announcement: whoever reads has begun anew since."""
        begun, before = dict(readings), looks
        while looks < before + 2 or any(readings[one] < begun.get(one, 0) + 2 for one in (PATIENT, PHARMACY)):
            await asyncio.sleep(0.001)

    tasks = [asyncio.create_task(one) for one in (reading(PATIENT), reading(PHARMACY), writing(), looking())]
    changing = asyncio.create_task(churn(world, ring, random.Random(seed), rounds, all_looked))
    try:
        await asyncio.wait([changing, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for one in tasks:
            if one.done():
                one.result()
        await changing
    finally:
        changing.cancel()
        done.set()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)
        await looking_from.close()
    return readings.total()


async def test_keys_change_under_load_and_no_reading_fails(world: World, ring: Keyring) -> None:
    assert await under_load(world, ring, 26, 24) > 5


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
async def test_keys_change_under_load_for_long(world: World, ring: Keyring, seed: int) -> None:
    assert await under_load(world, ring, seed, 200) > 50
