"""View blocks over PostgreSQL: sealed, right whatever happened to the messages, and gone with them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from server.base.limits import BLOCK_SLACK
from server.imap.budget import Budget
from server.imap.session import Services
from server.imap.view import Views
from server.mailbox import maintenance
from server.mailbox.blocks.ahead import Ahead
from server.mailbox.check import check, problems_of
from server.mailbox.create import close
from server.mailbox.keylife.turn import Former, drop
from server.mailbox.model import NewMessage
from server.mailbox.store import Store
from server.mailbox.table import Table
from tests.imap_doubles import NOW, Log, MemoryAccounts, Wire, signed_in
from tests.store_world import PATIENT, World, message

COUNT = BLOCK_SLACK + 20


class NoFeed:
    def watch(self, owner_id: int, folder_id: int, callback: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


async def reader(world: World, folder: bytes = b"INBOX") -> Wire:
    """A client of the real store, with a folder selected."""

    async def open_mailbox(owner_id: int) -> Any:
        return await world.mailbox(PATIENT)

    services = Services(
        MemoryAccounts(),
        SimpleNamespace(open=open_mailbox),
        Views(NoFeed()),
        Budget(1_000_000),
        lambda: NOW,
        Log(),
        100_000,
    )
    wire = await signed_in(SimpleNamespace(services=services))  # type: ignore[arg-type]
    await wire.ask(b"s SELECT " + folder)
    return wire


async def fill(world: World, count: int = COUNT, folder_id: int = 1, first: int = 1) -> Any:
    mailbox = await world.mailbox(PATIENT)
    texts = [message(f"Glycémie {n}", n, f"Bilan {n}") for n in range(first, first + count)]
    await mailbox.append_many(folder_id, [NewMessage(text) for text in texts])
    return mailbox


async def search(wire: Wire, keys: str) -> list[int]:
    answer = await wire.ask(b"a UID SEARCH " + keys.encode())
    return [int(uid) for uid in answer.partition(b"\r\n")[0].split()[2:]]


async def parts(world: World) -> dict[tuple[int, int], set[str]]:
    found: dict[tuple[int, int], set[str]] = {}
    for folder_id, number, part in await world.admin.fetch("SELECT folder_id, number, part FROM view_block"):
        found.setdefault((folder_id, number), set()).add(part)
    return found


async def test_blocks_are_made_by_the_first_search_and_read_by_the_next(world: World) -> None:
    await fill(world)
    wire = await reader(world)
    assert await parts(world) == {}
    assert await search(wire, 'SUBJECT "bilan 17"') == [17]
    assert set(await parts(world)) == {(1, 0)}
    assert "words" not in (await parts(world))[1, 0]
    assert await search(wire, 'BODY "glycémie 119"') == [119]
    assert "words" in (await parts(world))[1, 0]
    # From now on no summary is needed: what the block does not say is not looked for.
    await world.admin.execute("UPDATE content SET summary = '' WHERE summary <> ''")
    assert await search(wire, 'SUBJECT "bilan 17"') == [17]
    assert await search(wire, "TEXT polyarthrite") == []
    sort = await wire.ask(b"a UID SORT (REVERSE SUBJECT) UTF-8 1:3")
    assert sort.startswith(b"* SORT")
    await world.admin.execute("DELETE FROM view_block; DELETE FROM message; DELETE FROM change; DELETE FROM content;")
    await world.admin.execute("UPDATE folder_state SET messages = 0, unseen = 0, bytes = 0")


async def test_nothing_of_a_message_stands_in_a_block_in_clear(world: World) -> None:
    await fill(world)
    wire = await reader(world)
    await search(wire, 'TEXT "glycémie" SUBJECT bilan')
    everything = b"".join(row[0] for row in await world.admin.fetch("SELECT data FROM view_block"))
    assert len(everything) > 10_000
    for word in (b"ilan", b"cabinet", b"ordonnance", "glycémie".encode(), b"ocumen"):
        assert word not in everything.lower()


async def test_what_a_search_reads_depends_on_no_word(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(world)
    wire = await reader(world)
    await search(wire, 'TEXT "glycémie" FROM docteur')
    asked: list[tuple[Any, ...]] = []
    fetch = asyncpg.Connection.fetch

    async def spied(connection: Any, *arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        return await fetch(connection, *arguments, **options)

    monkeypatch.setattr(asyncpg.Connection, "fetch", spied)
    read = []
    for word in ("polyarthrite", "schizophrénie"):
        asked.clear()
        assert await search(wire, f'TEXT "{word}" FROM "{word}"') == []
        read.append([arguments for arguments in asked if "view_block" in arguments[0] or "content" in arguments[0]])
    assert read[0] == read[1]
    assert len(read[0]) == 1


async def test_what_came_after_a_block_is_found_too(world: World) -> None:
    await fill(world)
    wire = await reader(world)
    await search(wire, 'TEXT "glycémie"')
    await fill(world, 5, first=COUNT + 1)
    await wire.ask(b"n NOOP")
    assert await search(wire, f'TEXT "glycémie {COUNT + 3}"') == [COUNT + 3]
    await fill(world, COUNT, first=COUNT + 6)
    await wire.ask(b"n NOOP")
    assert await search(wire, f'TEXT "glycémie {2 * COUNT + 1}"') == [2 * COUNT + 1]
    assert await search(wire, f'SUBJECT "bilan {2 * COUNT + 5}"') == [2 * COUNT + 5]


async def test_copy_move_and_expunge_leave_searches_right(world: World) -> None:
    mailbox = await fill(world)
    wire = await reader(world)
    assert len(await search(wire, "SUBJECT bilan")) == COUNT
    archive = (await mailbox.folder("Archive")).folder_id
    await wire.ask(b"c UID COPY 1:* Archive")
    await wire.ask(b"m UID MOVE 5:14 Trash")
    await wire.ask(b"d UID STORE 20 +FLAGS.SILENT (\\Deleted)")
    await wire.ask(b"e EXPUNGE")
    assert await search(wire, 'SUBJECT "bilan 10"') == [100 + n for n in range(10)]
    assert await search(wire, 'TEXT "glycémie 20"') == []
    # The block that still knows them is dated, and goes when their content may.
    assert await world.admin.fetchval("SELECT count(*) FROM view_block WHERE stale_at IS NOT NULL") == 1
    other = await reader(world, b"Archive")
    assert await search(other, 'SUBJECT "bilan 12" BODY "glycémie"') == [12, 120]
    await maintenance.collect_content(world.jobs_pool, unreferenced_seconds=0)
    assert set(await parts(world)) == {(archive, 0)}
    assert await search(wire, 'SUBJECT "bilan 117"') == [117]
    assert set(await parts(world)) == {(1, 0), (archive, 0)}


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE view_block SET data = 'x' WHERE part = 'members'",
        "UPDATE view_block SET data = 'x' WHERE part = 'subject'",
        "UPDATE view_block SET data = substring(data FROM 1 FOR 60) WHERE part = 'words'",
        "DELETE FROM view_block WHERE part IN ('subject', 'words')",
        "DELETE FROM view_block WHERE part = 'members'",
        # The blocks of two folders in each other's place.
        "UPDATE view_block b SET data = o.data FROM view_block o WHERE o.part = b.part AND o.folder_id <> b.folder_id",
        "UPDATE view_block b SET data = o.data FROM view_block o "
        "WHERE o.part = b.part AND b.part <> 'members' AND o.folder_id <> b.folder_id",
    ],
)
async def test_a_block_that_does_not_fit_is_made_anew(world: World, harm: str) -> None:
    await fill(world)
    await fill(world, folder_id=6, first=1_000)
    for folder in (b"INBOX", b"Archive", b"Sent", b"Drafts", b"Trash", b"Junk"):
        wire = await reader(world, folder)
        await search(wire, 'TEXT "glycémie" SUBJECT bilan')
    assert len(await parts(world)) == 2
    await world.admin.execute(harm)
    wire = await reader(world)
    assert await search(wire, 'TEXT "glycémie 7" SUBJECT bilan') == [7, *range(70, 80)]
    await world.admin.execute("DELETE FROM view_block WHERE folder_id <> 1")  # not searched, so not mended


async def test_the_check_sees_a_block_that_lies(world: World) -> None:
    await fill(world)
    wire = await reader(world)
    await search(wire, "SUBJECT bilan")
    for harm, invariant in {
        "UPDATE view_block SET data = 'x' WHERE part = 'order'": "a view block opens",
        "DELETE FROM view_block WHERE part = 'thread'": "a view block opens",
        "DELETE FROM view_block WHERE part = 'members'": "a view block has its members",
        "UPDATE view_block SET stale_at = now() - interval '3 days' WHERE part = 'members'": (
            "a view block with something expunged goes in time"
        ),
        "UPDATE message SET uid = uid + 5000 WHERE uid = 7": "a view block with something expunged is dated",
        "WITH a AS (SELECT content_id FROM message WHERE uid = 8) UPDATE message SET content_id = a.content_id FROM a "
        "WHERE uid = 7": "a view block says what its messages say",
    }.items():
        transaction = world.admin.transaction()
        await transaction.start()
        await world.admin.execute(harm)
        found = {problem.invariant for problem in await problems_of(world.admin, world.keyring, world.edge)}
        await transaction.rollback()
        assert invariant in found, harm
    assert await check(world.admin, world.keyring, world.edge) == []


async def test_a_block_made_while_a_message_went_is_dated(world: World) -> None:
    mailbox = await fill(world)
    chunk = Table((await mailbox.view(1)).rows).chunk()
    await mailbox.store(1, [3], "add", 8)
    await mailbox.expunge(1)
    await mailbox.blocks(1, {0: chunk}, ["subject"], [0])
    assert await world.admin.fetchval("SELECT stale_at IS NOT NULL FROM view_block WHERE part = 'members'")


async def test_blocks_go_with_their_folder_and_their_owner(world: World) -> None:
    mailbox = await world.mailbox(PATIENT)
    folder = await mailbox.create_folder("Labo")
    await fill(world, folder_id=folder.folder_id)
    await fill(world)
    for name in (b"Labo", b"INBOX"):
        await search(await reader(world, name), "SUBJECT bilan")
    assert set(await parts(world)) == {(1, 0), (folder.folder_id, 0)}
    chunk = Table((await mailbox.view(folder.folder_id)).rows).chunk()
    await mailbox.delete_folder("Labo")
    assert set(await parts(world)) == {(1, 0)}
    # A search that was under way when the folder went keeps nothing.
    found = await mailbox.blocks(folder.folder_id, {0: chunk}, ["subject"], [0])
    assert len(found[0][0].chunk) == COUNT
    assert set(await parts(world)) == {(1, 0)}
    await close(world.admin, world.owners[PATIENT])
    assert await parts(world) == {}


async def test_blocks_under_a_former_pair_go_with_it(world: World) -> None:
    await fill(world)
    await search(await reader(world), "SUBJECT bilan")
    await drop(world.admin, Former(world.owners[PATIENT], 7, NOW, NOW))
    assert await parts(world) == {}
    assert len(await search(await reader(world), "SUBJECT bilan")) == COUNT


async def test_a_thousand_that_is_full_has_its_block_before_anybody_searches(world: World) -> None:
    mailbox = await fill(world, 40)
    # As if most of the thousand had been deleted long ago: its numbers are used up all the same.
    await world.admin.execute("UPDATE folder_state SET uidnext = 900 WHERE folder_id = 1 AND messages > 0")
    ahead = Ahead(Store(world.jobs_pool, world.edge, world.keyring))
    await fill(world, COUNT, first=900)
    assert await ahead.some() == 1
    assert (await parts(world))[1, 0] >= {"members", "from", "words"}
    assert await ahead.some() == 0
    # A mailbox that was closed meanwhile is passed over.
    await world.admin.execute("DELETE FROM view_block")
    await close(world.admin, mailbox.owner_id)
    later = Ahead(Store(world.jobs_pool, world.edge, world.keyring))
    assert (await later.some(), await later.some()) == (1, 0)
    assert await parts(world) == {}
