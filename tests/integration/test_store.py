"""The store as readers use it: folders, views, changes, commands, content. Each ends with the store's check."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from crypto.blind_index import token
from server.audit.trail import of_owner
from server.base.errors import Reason, Refused
from server.mailbox import maintenance, names, views
from server.mailbox.create import AddressTaken, claim_spare, create, fill_spares
from server.mailbox.feed import Feed, payloads, read_payload
from server.mailbox.model import LIST_ID, Flag, NewMailbox, NewMessage, OwnerKind
from server.mailbox.routes import routes
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World, message

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


async def fill(world: World, count: int) -> Any:
    mailbox = await world.mailbox(PATIENT)
    await mailbox.append_many(1, [NewMessage(message(number=n)) for n in range(count)])
    return mailbox


async def test_a_new_mailbox_has_its_folders_and_its_identity(world: World) -> None:
    mailbox = await world.mailbox(PATIENT)
    folders = await mailbox.folders()
    assert [folder.name for folder in folders] == ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"]
    assert [folder.special_use for folder in folders][4] == "\\Sent"
    assert (await mailbox.identity()).ins == "280019900100182"
    assert (await mailbox.folder("iNbOx")).folder_id == 1


async def test_an_address_is_given_once_and_for_ever(world: World) -> None:
    new = NewMailbox(PATIENT.upper(), OwnerKind.PATIENT, "Un autre")
    with pytest.raises(AddressTaken) as taken:
        await create(world.admin, world.keyring, world.edge, [new])
    assert taken.value.addresses == [PATIENT]
    twice = NewMailbox("nouveau@msg.exemple.fr", OwnerKind.PER, "Nouveau")
    with pytest.raises(AddressTaken):
        await create(world.admin, world.keyring, world.edge, [twice, twice])
    with pytest.raises(Refused) as bad:
        await create(world.admin, world.keyring, world.edge, [NewMailbox("pas une adresse", OwnerKind.PER, "X")])
    assert bad.value.reason is Reason.BAD_ADDRESS


async def test_an_edge_opens_a_mailbox_from_a_spare_and_cannot_read_it(world: World) -> None:
    async with world.jobs_pool.acquire() as jobs:
        assert await fill_spares(jobs, world.keyring, 2) == 2
        assert await fill_spares(jobs, world.keyring, 2) == 0
    new = NewMailbox("nouvelle@patient.msg.exemple.fr", OwnerKind.PATIENT, "Nouvelle", ins="1")
    async with world.edge_pool.acquire() as edge:
        created = await claim_spare(edge, world.edge, new)
        assert created is not None
        with pytest.raises(AddressTaken):
            await claim_spare(edge, world.edge, new)
    await world.acceptor.accept(await world.envelope(created.address), message())
    mailbox = await world.store.open(created.owner_id)
    assert (await mailbox.identity()).name == "Nouvelle"
    assert len((await mailbox.view(1)).rows) == 1


async def test_folders_are_created_renamed_and_deleted_with_those_below(world: World) -> None:
    mailbox = await world.mailbox(DOCTOR)
    first = await mailbox.create_folder("Patients/Écho/2026/")
    assert first.name == "Patients/Écho/2026"
    with pytest.raises(Refused) as exists:
        await mailbox.create_folder("Patients/E\u0301cho")
    assert exists.value.reason is Reason.FOLDER_EXISTS
    await mailbox.rename_folder("Patients", "Dossiers/Anciens")
    assert (await mailbox.folder("Dossiers/Anciens/Écho/2026")).folder_id == first.folder_id
    with pytest.raises(Refused) as below:
        await mailbox.rename_folder("Dossiers", "Dossiers/Anciens/Boucle")
    assert below.value.reason is Reason.BAD_FOLDER_NAME
    await mailbox.delete_folder("Dossiers/Anciens")
    again = await mailbox.create_folder("Dossiers/Anciens")
    assert again.uidvalidity > first.uidvalidity
    with pytest.raises(Refused) as protected:
        await mailbox.delete_folder("inbox")
    assert protected.value.reason is Reason.FOLDER_PROTECTED
    await mailbox.subscribe("Sent", False)
    assert not (await mailbox.folder("Sent")).subscribed
    with pytest.raises(Refused) as missing:
        await mailbox.subscribe("Nulle part", True)
    assert missing.value.reason is Reason.NO_SUCH_FOLDER


async def test_a_subscription_is_to_a_name_and_outlives_its_folder(world: World) -> None:
    mailbox = await world.mailbox(DOCTOR)
    for name in ("Été", "Hiver", "Autre"):
        assert not (await mailbox.create_folder(name)).subscribed
    await mailbox.subscribe("Été", True)
    await mailbox.subscribe("Hiver", True)
    for name in ("Été", "Hiver", "Autre"):
        await mailbox.delete_folder(name)
    assert await mailbox.kept_subscriptions() == ["Hiver", "Été"]
    await mailbox.subscribe("Hiver", False)
    with pytest.raises(Refused):
        await mailbox.subscribe("Hiver", False)
    assert not (await mailbox.create_folder("Hiver")).subscribed
    # Who takes the name takes the subscription: by creation here, by renaming below.
    assert (await mailbox.create_folder("Été")).subscribed
    assert await mailbox.kept_subscriptions() == []
    await mailbox.delete_folder("Été")
    await mailbox.rename_folder("Hiver", "Été")
    assert (await mailbox.folder("Été")).subscribed
    assert await mailbox.kept_subscriptions() == []


@pytest.mark.parametrize(
    "name", ["", "/", "a//b", "/a", "a%", "a*b", "a\x00", "a\nb", "x" * 256, "\ud800", "/".join("a" * 20)]
)
def test_bad_folder_names_are_refused(name: str) -> None:
    with pytest.raises(Refused) as refused:
        names.normalise(name)
    assert refused.value.reason is Reason.BAD_FOLDER_NAME


async def test_renaming_inbox_moves_its_messages_into_a_new_folder(world: World) -> None:
    mailbox = await fill(world, 3)
    target = await mailbox.rename_folder("INBOX", "Avant")
    assert len((await mailbox.view(target.folder_id)).rows) == 3
    assert (await mailbox.view(1)).rows == []
    assert (await mailbox.folder("INBOX")).folder_id == 1


async def test_flags_change_counters_and_modseq_only_where_something_differs(world: World) -> None:
    mailbox = await fill(world, 3)
    before = (await mailbox.view(1)).state.highestmodseq
    result = await mailbox.store(1, [1, 2, 99], "add", Flag.SEEN | Flag.DELETED, ["$Forwarded", "$forwarded"])
    assert [row.uid for row in result.rows] == [1, 2]
    assert result.rows[0].keywords == ("$Forwarded",)
    assert (result.modseq, result.since) == (before + 1, before)
    state = (await mailbox.states([1]))[1]
    assert (state.unseen, state.deleted) == (1, 2)
    same = await mailbox.store(1, [1, 2], "add", Flag.SEEN, ["$FORWARDED"])
    assert (same.modseq, same.since) == (result.modseq, result.modseq)
    await mailbox.store(1, [1], "remove", Flag.SEEN, ["$forwarded"])
    replaced = await mailbox.store(1, [1, 2], "replace", Flag.FLAGGED, ["Urgent"])
    assert [(row.flags, row.keywords) for row in replaced.rows] == [(Flag.FLAGGED, ("Urgent",))] * 2
    conflict = await mailbox.store(1, [1, 3], "add", Flag.SEEN, [], unchanged_since=before)
    assert conflict.conflicts == [1]
    assert [row.uid for row in conflict.rows] == [3]
    with pytest.raises(Refused) as limit:
        await mailbox.store(1, [1], "add", 0, [f"k{n}" for n in range(65)])
    assert limit.value.reason is Reason.LIMIT_REACHED


async def test_changes_tell_what_happened_since_a_modseq(world: World) -> None:
    mailbox = await fill(world, 5)
    since = (await mailbox.view(1)).state.highestmodseq
    await mailbox.store(1, [2], "add", Flag.SEEN)
    await mailbox.store(1, [4, 5], "add", Flag.DELETED)
    assert await mailbox.expunge(1, [1, 2, 4]) == [4]
    assert await mailbox.expunge(1) == [5]
    await mailbox.append(1, message(number=6), Flag.SEEN)
    changes = await mailbox.changes(1, since)
    assert [row.uid for row in changes.changed] == [2, 6]
    assert changes.vanished == [(4, 5)]
    assert changes.complete
    assert await mailbox.vanished(1, since) == [(4, 5)]
    assert changes.state == (await mailbox.states())[1]
    assert await maintenance.trim_changes(world.jobs_pool, kept_seconds=-1) > 0
    trimmed = await mailbox.changes(1, since)
    assert not trimmed.complete
    assert [row.uid for row in trimmed.changed] == [2, 6]
    assert trimmed.vanished == [(4, 5)]
    assert await mailbox.vanished(1, since) is None
    assert (await mailbox.changes(1, trimmed.state.highestmodseq)).complete


def test_the_complement_of_uids() -> None:
    assert views.missing([2, 3, 7], 10) == [(1, 1), (4, 6), (8, 9)]
    assert views.missing([], 1) == []
    assert views.missing([1, 2], 3) == []


async def test_copy_and_move_give_new_uids_and_keep_flags_and_dates(world: World) -> None:
    mailbox = await fill(world, 2)
    uid = await mailbox.append(1, message(number=9), Flag.FLAGGED, ["Suivi"], SINCE)
    target = await mailbox.folder("Archive")
    assert await mailbox.copy(1, [uid, 1, 77], target.folder_id) == [(1, 1), (uid, 2)]
    copied = (await mailbox.view(target.folder_id)).rows[1]
    assert (copied.flags, copied.keywords, copied.internaldate) == (Flag.FLAGGED, ("Suivi",), SINCE)
    assert await mailbox.move(1, [1, 2], target.folder_id) == [(1, 3), (2, 4)]
    assert await mailbox.move(target.folder_id, [1], target.folder_id) == [(1, 5)]
    assert [row.uid for row in (await mailbox.view(1)).rows] == [uid]
    with pytest.raises(Refused) as missing:
        await mailbox.copy(1, [uid], 999)
    assert missing.value.reason is Reason.NO_SUCH_FOLDER


async def test_many_messages_run_in_steps(world: World) -> None:
    mailbox = await fill(world, 1)
    await world.admin.execute(
        "WITH s AS (UPDATE folder_state SET uidnext = 2502, messages = 2501, unseen = 2501, bytes = bytes * 2501,"
        " highestmodseq = 9 WHERE owner_id = $1 AND folder_id = 1),"
        " c AS (INSERT INTO change (owner_id, folder_id, modseq, kind, uids)"
        " VALUES ($1, 1, 9, 1, int4multirange(int4range(2, 2502))))"
        " INSERT INTO message SELECT owner_id, folder_id, n, content_id, flags, keywords, internaldate, savedate, 9,"
        " size FROM message, generate_series(2, 2501) n WHERE owner_id = $1",
        mailbox.owner_id,
    )
    result = await mailbox.store(1, range(1, 3000), "add", Flag.DELETED)
    assert len(result.rows) == 2501
    assert result.modseq == 9 + 3
    copied = await mailbox.copy(1, range(1, 3000), 2)
    assert len(copied) == 2501
    assert len(await mailbox.expunge(1)) == 2501
    assert (await mailbox.view(1)).rows == []


async def test_commands_that_race_lose_no_flag_and_no_counter(world: World) -> None:
    mailbox = await fill(world, 40)

    async def flag(turn: int) -> int:
        own = [uid for uid in range(1, 41) if uid % 8 == turn]
        for mask in (Flag.FLAGGED, Flag.SEEN, Flag.ANSWERED):
            result = await mailbox.store(1, own, "add", mask)
            assert [row.uid for row in result.rows] == own
            assert all(row.flags & mask and row.modseq <= result.modseq for row in result.rows)
        await mailbox.store(1, range(1, 41), "add", Flag.DELETED)
        return int((await mailbox.store(1, own, "remove", Flag.SEEN)).modseq)

    before = (await mailbox.view(1)).state.highestmodseq
    told = await asyncio.gather(*(flag(turn) for turn in range(8)))
    view = await mailbox.view(1)
    assert {row.flags for row in view.rows} == {Flag.FLAGGED | Flag.ANSWERED | Flag.DELETED}
    assert (view.state.unseen, view.state.deleted) == (40, 40)
    # Each STORE that changed something has a modseq of its own, whoever came between.
    assert view.state.highestmodseq == before + 8 * 4 + 1 == max(told)
    assert len(set(told)) == 8


async def test_expunged_content_waits_and_is_then_collected_unless_a_copy_holds_it(world: World) -> None:
    mailbox = await fill(world, 3)
    rows = (await mailbox.view(1)).rows
    await mailbox.copy(1, [1], 6)
    await mailbox.store(1, [1, 2], "add", Flag.DELETED)
    await mailbox.expunge(1)
    assert await maintenance.collect_content(world.jobs_pool) == 0
    assert len(await mailbox.body(rows[1].content_id)) > 0
    assert await maintenance.collect_content(world.jobs_pool, unreferenced_seconds=-1) == 2
    left = {row[0] for row in await world.admin.fetch("SELECT content_id FROM content")}
    assert left == {rows[0].content_id, rows[2].content_id}
    with pytest.raises(Refused) as gone:
        await mailbox.body(rows[1].content_id)
    assert gone.value.reason is Reason.NO_SUCH_MESSAGE


async def test_orphan_pieces_of_a_large_body_are_collected(world: World) -> None:
    mailbox = await world.mailbox(PATIENT)
    await mailbox.append(1, message(text="x" * 1_200_000))
    with pytest.raises(Refused):
        await mailbox.append(999, message(text="y" * 1_200_000))
    assert await world.admin.fetchval("SELECT count(*) FROM large_body") == 2
    assert await maintenance.collect_content(world.jobs_pool, stray_seconds=-1) == 1
    assert len((await world.texts(PATIENT))[0]) > 1_200_000


async def test_keys_are_rewrapped_by_the_jobs_and_by_the_first_reading(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    envelope = await world.envelope(PHARMACY, PATIENT)
    for number in range(3):
        await world.acceptor.accept(envelope, message(number=number))
    await world.texts(PHARMACY)
    sealed = "SELECT count(*) FROM content WHERE key_form = 'hpke'"
    assert await world.admin.fetchval(sealed) == 3
    rewrapper = maintenance.Rewrapper(world.keyring)
    monkeypatch.setattr(maintenance, "REWRAP_KEYS", 2)
    assert await rewrapper.some(world.jobs_pool) is True
    assert await world.admin.fetchval(sealed) == 1
    assert await rewrapper.some(world.jobs_pool) is False
    assert await world.admin.fetchval(sealed) == 0
    assert len(await world.texts(PATIENT)) == 3


async def test_a_forged_row_does_not_stop_rewrapping_and_does_not_open(world: World) -> None:
    await world.acceptor.accept(await world.envelope(PATIENT), message())
    mailbox = await world.mailbox(PATIENT)
    (row,) = (await mailbox.view(1)).rows
    transaction = world.admin.transaction()
    await transaction.start()
    saved = await world.admin.fetchrow("SELECT key, body FROM content")
    await transaction.rollback()
    await world.admin.execute("UPDATE content SET key = set_byte(key, 50, (get_byte(key, 50) + 1) % 256)")
    assert await mailbox.summaries([row.content_id]) == {}
    rewrapper = maintenance.Rewrapper(world.keyring)
    for _ in range(2):
        await rewrapper.some(world.jobs_pool)
        assert await world.admin.fetchval("SELECT key_form FROM content") == "hpke"
    await world.admin.execute("UPDATE content SET key = $1, body = set_byte(body, 40, 0) || '\\x00'", saved["key"])
    with pytest.raises(Refused) as damaged:
        await mailbox.body(row.content_id)
    assert damaged.value.reason is Reason.CONTENT_DAMAGED
    await world.admin.execute("UPDATE content SET body = $1", saved["body"])
    assert len(await mailbox.body(row.content_id)) == row.size


async def test_an_address_led_elsewhere_in_the_database_is_unknown(world: World) -> None:
    move = "UPDATE address SET owner_id = $1 WHERE token = $2"
    patient = token(world.edge.address, PATIENT)
    await world.admin.execute(move, world.owners[DOCTOR], patient)
    assert await routes(world.edge_pool, world.edge, [PATIENT]) == {}
    await world.admin.execute(move, world.owners[PATIENT], patient)
    assert set(await routes(world.edge_pool, world.edge, [PATIENT, DOCTOR, "inconnu@msg.exemple.fr"])) == {
        PATIENT,
        DOCTOR,
    }


async def test_appended_messages_are_all_or_none(world: World) -> None:
    mailbox = await world.mailbox(DOCTOR)
    assert await mailbox.append_many(2, [NewMessage(message(number=n), Flag.SEEN) for n in range(3)]) == [1, 2, 3]
    with pytest.raises(Refused):
        await mailbox.append_many(77, [NewMessage(message())])
    assert await world.admin.fetchval("SELECT count(*) FROM content") == 3
    (first, *_) = (await mailbox.view(2)).rows
    assert (await mailbox.body(first.content_id)) == message(number=0)
    assert (await mailbox.body(first.content_id, 3, 9)) == message(number=0)[3:9]
    assert (await mailbox.body(first.content_id, 9, 3)) == b""


async def test_watchers_hear_of_changes_and_ask_by_themselves(world: World) -> None:
    mailbox = await world.mailbox(PATIENT)
    heard = asyncio.Event()
    feed = Feed(world.reader_pool, poll_seconds=3600)
    feed.start()
    asked = asyncio.Event()
    polling = Feed(world.jobs_pool, poll_seconds=0.01)
    polling.start()
    stop = feed.watch(mailbox.owner_id, 1, heard.set)
    stop_asking = polling.watch(mailbox.owner_id, 1, asked.set)
    listed = asyncio.Event()
    stop_listing = polling.watch(mailbox.owner_id, LIST_ID, listed.set)
    await asyncio.wait_for(asked.wait(), 10)
    asked.clear()
    while not heard.is_set():  # until LISTEN is under way
        world.store.announcer.changed([(mailbox.owner_id, 1)])
        await asyncio.sleep(0.01)
    heard.clear()
    await world.acceptor.accept(await world.envelope(PATIENT), message())
    await asyncio.wait_for(heard.wait(), 10)
    await asyncio.wait_for(asked.wait(), 10)
    await asyncio.wait_for(listed.wait(), 10)  # the first answer is always told
    for change in (
        mailbox.create_folder("Dossiers"),
        mailbox.rename_folder("Dossiers", "Patients"),
        mailbox.subscribe("Patients", False),
        mailbox.delete_folder("Patients"),
    ):
        listed.clear()
        await change
        await asyncio.wait_for(listed.wait(), 10)
    stop()
    stop_asking()
    stop_listing()
    await feed.close()
    await polling.close()


def test_payloads_stay_small_and_come_back() -> None:
    folders = [(10**12 + n, n) for n in range(2_000)]
    made = payloads(folders)
    assert max(map(len, made)) <= 7_900
    assert [folder for payload in made for folder in read_payload(payload)] == folders
    assert read_payload("x 1. .2 3.4 5,6 ٣.٤") == [(3, 4)]


async def test_reading_is_in_the_trail_and_only_its_reader_opens_it(world: World) -> None:
    await world.acceptor.accept(await world.envelope(PATIENT), message())
    mailbox = await world.mailbox(PATIENT)
    (row,) = (await mailbox.view(1)).rows
    await mailbox.content_read(PATIENT, [row.content_id], "imap-fetch")
    one_command = mailbox.reading(PATIENT, [row.content_id], "imap-fetch")
    assert await mailbox.summaries([row.content_id], one_command)
    assert await mailbox.body(row.content_id, 0, 10, one_command)
    async with world.jobs_pool.acquire() as jobs:
        told = await of_owner(jobs, world.keyring, mailbox.owner_id)
    assert [one.kind for one in told] == ["content-read", "content-read", "message-accepted", "mailbox-created"]
    assert told[0].detail == told[1].detail
    assert told[0].detail["contents"] == [row.content_id.hex()]
    assert told[2].detail["from"] == DOCTOR
    raw = await world.admin.fetch("SELECT detail, actor FROM audit")
    assert not any(b"dupont" in bytes(value) for record in raw for value in record.values())
    for command in ("UPDATE audit SET kind = 'x'", "DELETE FROM audit", "TRUNCATE audit", "DELETE FROM audit_key"):
        with pytest.raises(Exception, match="append-only"):
            await world.admin.execute(command)


async def test_nothing_of_a_person_is_visible_in_the_database(world: World) -> None:
    mailbox = await world.mailbox(DOCTOR)
    await mailbox.create_folder("Madame Martin")
    await world.acceptor.accept(await world.envelope(PATIENT), message(subject="Compte rendu"))
    tables = await world.admin.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    seen = ""
    for (table,) in tables:
        seen += "\n".join(row[0] for row in await world.admin.fetch(f'SELECT t::text FROM "{table}" t'))
    for text in ("Martin", "Compte", "dupont", "Dupont", "280019900100182", "10101010101", "Bonjour"):
        assert text not in seen
        assert text.encode().hex() not in seen
    assert "message-accepted" in seen
