"""Folders as IMAP sees them, before the real store: annotations, rights, quotas, special uses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.base.errors import Reason, Refused
from server.base.limits import METADATA_BYTES, METADATA_ENTRIES, METADATA_VALUE
from server.identity.model import Rights
from server.mailbox.check import check
from tests.imap_edge import Access
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World, message

in_thread = asyncio.to_thread


async def test_annotations_are_sealed_and_private_ones_their_readers(world: World) -> None:
    mailbox = await world.mailbox(PHARMACY)
    doctor, pharmacy = world.owners[DOCTOR], world.owners[PHARMACY]
    folder = await mailbox.create_folder("Dossiers")
    await mailbox.annotate(folder.folder_id, doctor, {"/private/comment": b"M. Martin", "/shared/comment": b"x"})
    await mailbox.annotate(None, pharmacy, {"/private/comment": b"\0", "/shared/motto": b""})
    assert await mailbox.annotations(doctor) == {
        folder.folder_id: {"/private/comment": b"M. Martin", "/shared/comment": b"x"},
        None: {"/shared/motto": b""},
    }
    assert await mailbox.annotations(pharmacy) == {
        folder.folder_id: {"/shared/comment": b"x"},
        None: {"/private/comment": b"\0", "/shared/motto": b""},
    }
    stored = str(await world.admin.fetch("SELECT * FROM annotation")).encode()
    assert b"Martin" not in stored
    assert b"comment" not in stored
    await mailbox.annotate(folder.folder_id, doctor, {"/private/comment": None, "/private/unknown": None})
    # What is written of a folder goes with it, through its renaming.
    renamed = await mailbox.rename_folder("Dossiers", "Autres")
    assert (await mailbox.annotations(doctor))[renamed.folder_id] == {"/shared/comment": b"x"}
    await mailbox.delete_folder("Autres")
    assert set(await mailbox.annotations(doctor)) == {None}


async def test_annotations_are_bounded(world: World) -> None:
    mailbox, reader = await world.mailbox(PHARMACY), world.owners[PHARMACY]
    many = {f"/shared/n{number}": b"x" for number in range(METADATA_ENTRIES)}
    await mailbox.annotate(1, reader, many)
    with pytest.raises(Refused) as refusal:
        await mailbox.annotate(1, reader, {"/shared/one": b"x", "/shared/two": None})
    assert refusal.value.reason is Reason.LIMIT_REACHED
    await mailbox.annotate(1, reader, {"/private/one": b"x"})
    largest = {f"/shared/n{number}": b"x" * METADATA_VALUE for number in range(METADATA_BYTES // METADATA_VALUE)}
    with pytest.raises(Refused) as refusal:
        await mailbox.annotate(2, reader, largest)
    assert refusal.value.reason is Reason.MAILBOX_FULL
    assert set(await mailbox.annotations(reader)) == {1}
    with pytest.raises(Refused) as refusal:
        await mailbox.annotate(99, reader, {"/shared/one": b"x"})
    assert refusal.value.reason is Reason.NO_SUCH_FOLDER


async def test_the_check_finds_an_annotation_that_was_moved(world: World) -> None:
    mailbox = await world.mailbox(PHARMACY)
    await mailbox.annotate(1, world.owners[PHARMACY], {"/shared/one": b"x"})
    await world.admin.execute("UPDATE annotation SET folder_id = 2")
    (problem,) = await check(world.admin, world.keyring, world.edge)
    assert problem.invariant == "an annotation opens and has its token"
    await world.admin.execute("DELETE FROM annotation")


async def test_a_mailbox_is_shared_by_setacl_and_the_trail_says_so(world: World, imap: Access) -> None:
    def run() -> None:
        client = imap.client(PHARMACY)
        assert client.ask("SETACL", "INBOX", DOCTOR, "lrswikxte")[0] == "OK"
        assert f"{DOCTOR} lrswikxtecd".encode() in client.ask("GETACL", "INBOX")[1]
        assert client.ask("SETACL", "INBOX", PATIENT, "lr")[0] == "NO"  # no professional
        assert client.ask("SETACL", "INBOX", DOCTOR, "-swikxte")[0] == "OK"
        client.logout()
        client = imap.client(DOCTOR)
        assert client.ask("SETACL", "INBOX", PHARMACY, "lr")[0] == "NO"  # a person's mailbox is not shared
        client.logout()

    await in_thread(run)
    mailbox = await world.mailbox(PHARMACY)
    (share,) = await mailbox.shares()
    assert (share.address, share.rights) == (DOCTOR, Rights.READ)
    kinds = "SELECT kind FROM audit WHERE owner_id = $1 AND kind LIKE 'delegat%' ORDER BY audit_id"
    assert [row["kind"] for row in await world.admin.fetch(kinds, world.owners[PHARMACY])] == ["delegated"] * 2
    await mailbox.share(DOCTOR, Rights(0), PHARMACY)
    assert await mailbox.shares() == []


async def test_a_full_mailbox_takes_no_more_and_lets_go(world: World, imap: Access) -> None:
    size = len(message())
    await world.admin.execute("UPDATE owner SET quota_bytes = $1 WHERE owner_id = $2", 3 * size, world.owners[PHARMACY])

    def run() -> None:
        client = imap.client(PHARMACY)
        for _ in range(3):
            assert client.append("INBOX", None, None, message())[0] == "OK"
        for refused in (lambda: client.append("INBOX", None, None, message()), lambda: client.copy("1:2", "Archive")):
            client.select("INBOX")
            status, data = refused()
            assert (status, data[0][:11]) == ("NO", b"[OVERQUOTA]")
        assert b"STORAGE 1 1 MAILBOX 6 1000" in client.ask("GETQUOTAROOT", "INBOX")[1]
        client.select("INBOX")
        assert client.ask("MOVE", "1:2", "Archive")[0] == "OK"
        client.store("1", "+FLAGS", "\\Deleted")
        assert f"DELETED-STORAGE {size}".encode() in client.status("INBOX", "(DELETED-STORAGE)")[1][0]
        client.expunge()
        assert client.append("INBOX", None, None, message())[0] == "OK"
        client.logout()

    await in_thread(run)


async def test_a_folder_is_made_for_its_use(world: World) -> None:
    mailbox: Any = await world.mailbox(DOCTOR)
    await mailbox.delete_folder("Archive")
    assert (await mailbox.create_folder("Vieux", "\\Archive")).special_use == "\\Archive"
    for use in ("\\Sent", "\\All", "\\Inbox"):
        with pytest.raises(Refused) as refusal:
            await mailbox.create_folder("Autre", use)
        assert refusal.value.reason is Reason.BAD_SPECIAL_USE


async def test_a_url_opens_one_part_to_another_and_the_trail_says_who(world: World, imap: Access) -> None:
    mailbox = await world.mailbox(PHARMACY)
    await mailbox.append(1, message("secret"))
    rump = f"imap://{PHARMACY.replace('@', '%40')}@msg.exemple.fr/INBOX/;UID=1/;SECTION=TEXT;URLAUTH=authuser"

    def run() -> None:
        client = imap.client(PHARMACY)
        status, told = client.ask("GENURLAUTH", f'"{rump}"', "INTERNAL")
        assert status == "OK"
        url = told.split(b'"')[1].decode()
        client.logout()
        client = imap.client(DOCTOR)
        assert b"secret" in client.ask("URLFETCH", f'"{url}"')[1]
        assert b"NIL" in client.ask("URLFETCH", f'"{url[:-1]}{"0" if url[-1] != "0" else "1"}"')[1]
        client.logout()
        client = imap.client(PHARMACY)
        assert client.ask("RESETKEY")[0] == "OK"
        client.logout()
        client = imap.client(DOCTOR)
        assert b"NIL" in client.ask("URLFETCH", f'"{url}"')[1]
        client.logout()

    await in_thread(run)
    read = "SELECT count(*) FROM audit WHERE kind = 'content-read' AND owner_id = $1"
    assert await world.admin.fetchval(read, world.owners[PHARMACY]) == 1
    assert await world.admin.fetchval(read, world.owners[DOCTOR]) == 0
