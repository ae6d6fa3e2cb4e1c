"""What a thief gets (docs/security.md): of the disk, of a backup, of a process, of the database account.

One `serve` with mail in it. Keys are looked for as raw bytes and in base64, and each search is shown to find them where
they must be.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from email.message import EmailMessage
from pathlib import Path

import pytest

from crypto import blob
from crypto.edge import EdgeKeys, Salts
from crypto.keyring import BUCKETS, Keyring
from crypto.sealing import message_info, seal
from server.base import clock
from server.base.errors import Reason, Refused
from server.base.settings import load
from server.db.confinement import installed_binaries
from server.db.pool import admin_dsn
from server.mailbox.understand import understand
from tests.durability.processes import kind_of, tree
from tests.serving import DOMAIN, INS, Served, caducee
from tests.store_world import PATIENT, World, message

TEXT, SUBJECT, FILE = "METFORMINE1000", "ORDONNANCE-SECRETE", "bilan-lipidique"
UNPUBLISHED = f"remplacante@{DOMAIN}"  # a person without a number has no entry in the directory
# Written by nobody else: what a thief would look for.
PRIVATE = [TEXT, SUBJECT, FILE, INS, "remplacante@"]
EDGES = ("relay", "submission", "sender", "fetcher", "ldap", "console")


@pytest.fixture(scope="module")
def stolen(running: Served) -> Served:
    """A server with a message for a patient and a pharmacy, read once, in a folder with a name."""
    running.add_mailboxes([[UNPUBLISHED, "PER", "Chloé ESSAI", "", "", ""]])
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = UNPUBLISHED, f"{running.pharmacy}, {running.patient}", SUBJECT
    letter.set_content(f"{TEXT}\r\n" * 20)
    letter.add_attachment(f"%PDF-1.7 {TEXT}".encode(), maintype="application", subtype="pdf", filename=f"{FILE}.pdf")
    with running.submission(UNPUBLISHED) as client:
        client.send_message(letter)
    with running.imap(running.pharmacy) as client:
        client.create(SUBJECT)
        client.select("INBOX")
        assert TEXT.encode() in client.fetch("1", "(BODY.PEEK[])")[1][0][1]
    return running


def forms(secret: bytes) -> list[bytes]:
    return [secret, base64.b64encode(secret).rstrip(b"=")]


def test_the_disk_without_the_keys_tells_of_nobody(stolen: Served) -> None:
    """The data directory of a running server with PostgreSQL's log of changes, and its logs; and keys/ by itself."""
    caducee("check", home=stolen.home)
    searched = 0
    for file in stolen.home.rglob("*"):
        if file.is_file() and "pki" not in file.parts:
            data = file.read_bytes()
            searched += len(data)
            assert [one for one in PRIVATE if one.encode() in data] == [], file
    assert searched > 10_000_000


def test_a_backup_of_the_database_tells_of_nobody_and_holds_no_key(stolen: Served) -> None:
    dump = subprocess.run(
        [installed_binaries() / "pg_dump", "--inserts", admin_dsn(load(stolen.home))], capture_output=True, check=True
    ).stdout
    assert b"INSERT INTO public.content" in dump
    assert [one for one in PRIVATE if one.encode() in dump] == []
    # What is published stands in the directory, and nothing leads from there to a mailbox.
    public = [line for line in dump.splitlines() if b"dr.martin@" in line]
    assert {line.split(b" VALUES", 1)[0] for line in public} == {
        b"INSERT INTO directory.own_mailbox",
        b"INSERT INTO directory.mailbox_entry",
    }
    secrets = held_by_readers(stolen.home) | {"edge": (stolen.home / "keys" / "edge.json").read_bytes()}
    assert [name for name, secret in secrets.items() if any(form in dump for form in forms(secret))] == []


def held_by_readers(home: Path) -> dict[str, bytes]:
    """What opens mailboxes: the master, the identity key, the bucket keys."""
    ring = Keyring.open(home / "keys" / "ring")
    newest = json.loads(ring.recovery())
    master = json.loads((home / "keys" / "ring" / "master.json").read_text())
    found = {"identity": ring.identity_key, "master": base64.b64decode(master["versions"][str(ring.version)])}
    return found | {f"bucket {n}": base64.b64decode(newest["buckets"][n][1]) for n in (0, BUCKETS - 1)}


def memory(pid: int) -> Iterator[bytes]:
    """All that a process has written or may write, region by region."""
    lines = (Path("/proc") / str(pid) / "maps").read_text().splitlines()
    with (Path("/proc") / str(pid) / "mem").open("rb") as image:
        for line in lines:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if found:
                begin, end = (int(one, 16) for one in found.groups())
                image.seek(begin)
                yield image.read(end - begin)


def found_in(pid: int, secrets: Mapping[str, bytes]) -> set[str]:
    looked_for = [(name, form) for name, secret in secrets.items() for form in forms(secret)]
    return {name for region in memory(pid) for name, form in looked_for if form in region}


@pytest.mark.skipif(os.getuid() != 0, reason="sealed processes show their memory to root alone")
def test_no_process_that_faces_the_network_holds_what_opens_a_message(stolen: Served) -> None:
    """Memory and environment of each, while mail passes: no key of a reader, no seed of a mailbox, no private root."""
    assert stolen.process is not None
    home, edge = stolen.home, EdgeKeys.load(stolen.home / "keys" / "edge.json")
    root = (home / "pki" / "root.key").read_bytes().splitlines()[1]
    queue = base64.b64decode(json.loads((home / "keys" / "queue.json").read_text())["key"])
    secrets = {**held_by_readers(home), "root": root, "queue": queue, "address": edge.address}
    processes = {kind_of(command): pid for pid, command in tree(stolen.process.pid).items()}
    held = {role: found_in(processes[role], secrets) for role in (*EDGES, "imap")}
    assert held["relay"] == held["submission"] == held["ldap"] == held["console"] == {"address"}
    assert held["sender"] == {"address", "queue"}
    assert held["fetcher"] == set()
    assert {"master", "address"} <= held["imap"]  # so what is looked for can be found
    assert not held["imap"] & {"queue", "root"}
    for role in EDGES:
        environment = (Path("/proc") / str(processes[role]) / "environ").read_bytes()
        assert [name for name, secret in secrets.items() if any(form in environment for form in forms(secret))] == []


async def test_the_database_account_alone_forges_no_message(world: World) -> None:
    """Its owner, who knows every public key, writes rows that are right in all but the edges' secret."""
    data = message("Arrêtez le traitement")
    owner_id = world.owners[PATIENT]
    public = await world.admin.fetchval("SELECT public_key FROM owner WHERE owner_id = $1", owner_id)
    content_id, key, salts = os.urandom(16), os.urandom(32), Salts.new()
    summary = understand(data, None, clock.now()).summary()
    await world.admin.execute(
        "INSERT INTO content (owner_id, content_id, size, key_form, key, summary, body)"
        " VALUES ($1, $2, $3, 'hpke', $4, $5, $6)",
        owner_id,
        content_id,
        len(data),
        seal(public, key, message_info(owner_id, content_id)),
        blob.encrypt(key, content_id, salts, summary.to_bytes(), b"summary"),
        blob.encrypt(key, content_id, salts, data),
    )
    mailbox = await world.mailbox(PATIENT)
    assert await mailbox.summaries([content_id]) == {}
    with pytest.raises(Refused) as damaged:
        await mailbox.body(content_id)
    assert damaged.value.reason is Reason.CONTENT_DAMAGED
    await world.admin.execute("DELETE FROM content WHERE content_id = $1", content_id)


async def test_the_database_account_alone_moves_no_message(world: World) -> None:
    """A row of one mailbox given to another, whose owner would read it with their own key."""
    await world.acceptor.accept(await world.envelope(PATIENT), message("Pour la patiente"))
    other = world.owners["pharmacie@msg.exemple.fr"]
    await world.admin.execute(
        "INSERT INTO content SELECT $1, content_id, size, key_form, key, summary, body FROM content"
        " WHERE owner_id = $2",
        other,
        world.owners[PATIENT],
    )
    content_id = await world.admin.fetchval("SELECT content_id FROM content WHERE owner_id = $1", other)
    with pytest.raises(Refused) as damaged:
        await (await world.mailbox("pharmacie@msg.exemple.fr")).body(content_id)
    assert damaged.value.reason is Reason.CONTENT_DAMAGED
    await world.admin.execute("DELETE FROM content WHERE owner_id = $1", other)
