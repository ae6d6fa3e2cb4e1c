"""BURL: what IMAP hands over by a URL is sent without being sent again, and submission opens nothing else."""

from __future__ import annotations

import asyncio

from server.mailbox.beside import handed
from tests.imap_edge import Access
from tests.smtp_edge import Post
from tests.store_world import DOCTOR, PHARMACY, World, message

LINE = b"iVBORw0KGgoAAAANSUhEUgAABAAAAAQACAYAAAB/HSuDAAAACXBIWXMAAAsTAAALEwEAmpwYAA\r\n"
LARGE = message() + LINE * 30_000  # 2.3 MB


def make(imap: Access, access: str = DOCTOR, uid: int = 1) -> bytes:
    """A URL of a draft of the doctor's, or what kept it from being made."""
    client = imap.client(DOCTOR)
    holder = DOCTOR.replace("@", "%40")
    rump = f"imap://{holder}@msg.exemple.fr/Drafts/;UID={uid};URLAUTH=submit+{access.replace('@', '%40')}"
    status, told = client.ask("GENURLAUTH", f'"{rump}"', "INTERNAL")
    client.logout()
    return told.split(b'"')[1] if status == "OK" else told


async def send(submission: Post, url: bytes, sender: str = DOCTOR) -> int:
    client = await submission.client(sender)
    await client.docmd(f"MAIL FROM:<{sender}>")
    await client.docmd(f"RCPT TO:<{PHARMACY if sender == DOCTOR else DOCTOR}>")
    code, _ = await client.docmd("BURL", f"{url.decode()} LAST")
    await client.quit()
    return int(code)


async def test_a_draft_is_sent_from_where_it_stands(world: World, imap: Access, submission: Post) -> None:
    mailbox = await world.mailbox(DOCTOR)
    drafts = await mailbox.folder("Drafts")
    for data in (LARGE, message("petit", 2)):
        await mailbox.append(drafts.folder_id, data)
    for uid in (1, 2):
        assert await send(submission, await asyncio.to_thread(make, imap, uid=uid)) == 250
    got = await world.texts(PHARMACY)
    assert [text[text.index(b"From: ") :] for text in got] == [LARGE, message("petit", 2)]
    # What lies there opens with the URL alone.
    stored = await world.admin.fetch("SELECT * FROM handed_piece")
    assert all(b"Docteur" not in row["data"] for row in stored)


async def test_only_the_holder_sends_and_only_in_time(world: World, imap: Access, submission: Post) -> None:
    mailbox = await world.mailbox(DOCTOR)
    drafts = await mailbox.folder("Drafts")
    await mailbox.append(drafts.folder_id, message())
    assert b"[CANNOT]" in await asyncio.to_thread(make, imap, access=PHARMACY)
    url = await asyncio.to_thread(make, imap)
    assert await send(submission, url, sender=PHARMACY) == 554
    changed = url[:-1] + (b"0" if url[-1:] != b"0" else b"1")
    assert await send(submission, changed) == 554
    await world.admin.execute("UPDATE handed SET expires_at = now() - interval '1 second'")
    assert await send(submission, url) == 554
    assert await handed.forget(world.jobs_pool) == 1
    # Made anew it is the same URL, until the folder's key is.
    assert await asyncio.to_thread(make, imap) == url
    await mailbox.drop_url_keys(drafts.folder_id)
    assert await send(submission, url) == 554
    assert await world.texts(PHARMACY) == []


async def test_a_damaged_copy_is_not_sent(world: World, imap: Access, submission: Post) -> None:
    mailbox = await world.mailbox(DOCTOR)
    await mailbox.append((await mailbox.folder("Drafts")).folder_id, LARGE)
    url = await asyncio.to_thread(make, imap)
    await world.admin.execute("DELETE FROM handed_piece WHERE number = 1")
    assert await send(submission, url) == 554
    assert await world.texts(PHARMACY) == []
