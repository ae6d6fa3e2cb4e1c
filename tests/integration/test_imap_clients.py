"""Real clients against the real edge on real ports, before the real store: each keeps its own idea of IMAP."""

from __future__ import annotations

import asyncio
import contextlib
import imaplib
import re
import socket
import ssl
import subprocess
import zlib
from pathlib import Path

import aioimaplib
import pytest

from server.base import clock
from server.imap import connection
from tests.imap_edge import NAME, Access, Client, deliver
from tests.programs import need
from tests.store_world import DOCTOR, PHARMACY, World, message

in_thread = asyncio.to_thread


async def test_imaplib_does_the_rounds_of_practice_software(world: World, imap: Access) -> None:
    await deliver(world, "un", "deux", "trois")

    def rounds() -> None:
        client = imap.client(PHARMACY)
        assert "AUTH=PLAIN" not in client.capability()[1][0].decode()
        assert client.select("INBOX") == ("OK", [b"3"])
        assert client.uid("search", None, "UNSEEN") == ("OK", [b"1 2 3"])
        status, data = client.uid("fetch", "2", "(FLAGS BODY.PEEK[])")
        assert status == "OK"
        assert isinstance(data[0], tuple)
        assert data[0][1].endswith(message("deux", 2))
        assert client.uid("store", "1:2", "+FLAGS.SILENT", "(\\Seen)")[0] == "OK"
        assert client.search(None, "SEEN", "FROM", '"docteur"') == ("OK", [b"1 2"])
        assert client.search(None, "BODY", "trois") == ("OK", [b"3"])
        assert client.copy("3", "Archive")[0] == "OK"
        assert client.store("3", "+FLAGS", "\\Deleted")[1] == [b"3 (FLAGS (\\Deleted \\Recent))"]
        assert client.expunge() == ("OK", [b"3"])
        assert client.append("Sent", "(\\Seen $Work)", '"17-Jul-1996 02:44:25 -0700"', message("moi"))[0] == "OK"
        assert client.create("Dossiers/2026")[0] == "OK"
        assert any(b"Dossiers/2026" in line for line in client.list()[1])
        assert client.rename("Dossiers/2026", '"Patients vus"')[0] == "OK"
        assert client.delete('"Patients vus"')[0] == "OK"
        assert client.namespace()[0] == "OK"
        assert client.select("Sent") == ("OK", [b"1"])
        (envelope,) = client.fetch("1", "(ENVELOPE INTERNALDATE)")[1]
        assert b'"Ordonnance"' in envelope
        assert b"17-Jul-1996 09:44:25 +0000" in envelope
        client.close()
        client.logout()

    await in_thread(rounds)
    archive = await (await world.mailbox(PHARMACY)).folder("Archive")
    (kept,) = await world.texts(PHARMACY, archive.folder_id)
    assert kept.endswith(message("trois", 3))


async def test_imaplib_searches_sorts_and_threads(world: World, imap: Access) -> None:
    await deliver(world, "fièvre", "œdème à 5 €", "toux")

    def rounds() -> None:
        client = imap.client(PHARMACY)
        client.select("INBOX")
        client.literal = "œdème".encode("iso-8859-15")  # type: ignore[attr-defined]
        assert client.search("ISO-8859-15", "BODY") == ("OK", [b"2"])
        assert client.sort("(REVERSE SIZE)", "UTF-8", "ALL") == ("OK", [b"2 1 3"])
        assert client.uid("sort", "(SUBJECT REVERSE SIZE)", "UTF-8", "NOT", "3") == ("OK", [b"2 1"])
        assert client.thread("ORDEREDSUBJECT", "UTF-8", "ALL") == ("OK", [b"(1 (2)(3))"])
        assert client.thread("REFERENCES", "UTF-8", "TEXT toux") == ("OK", [b"(3)"])
        client.logout()

    await in_thread(rounds)


async def test_a_search_ends_when_its_client_is_gone(
    world: World, imap: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deliver(world, "un")
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless(*_: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr("server.mailbox.store.Mailbox.summaries", endless)
    client = await in_thread(imap.client, PHARMACY)
    await in_thread(client.select)
    await in_thread(client.send, b"x SEARCH TEXT un\r\n")
    await asyncio.wait_for(begun.wait(), 30)
    await in_thread(client.shutdown)
    await asyncio.wait_for(ended.wait(), 30)


async def test_each_message_is_recent_to_one_session(world: World, imap: Access) -> None:
    await deliver(world, "un", "deux")

    def status(client: Client) -> bytes:
        return client.status("INBOX", "(MESSAGES RECENT)")[1][0]

    def first(client: Client, looker: Client, other: Client) -> None:
        assert status(client) == b"INBOX (MESSAGES 2 RECENT 2)"
        # EXAMINE sees it, and takes it from nobody (RFC 3501 §6.3.2).
        looker.select("INBOX", readonly=True)
        assert looker.recent() == ("OK", [b"2"])
        assert looker.search(None, "NEW") == ("OK", [b"1 2"])
        client.select("INBOX")
        assert client.recent() == ("OK", [b"2"])
        client.store("1", "+FLAGS.SILENT", "(\\Seen)")
        assert client.fetch("1:2", "(FLAGS)")[1] == [rb"1 (FLAGS (\Seen \Recent))", rb"2 (FLAGS (\Recent))"]
        assert client.fetch("1", "(UID FLAGS RFC822.SIZE)")[1][0].startswith(rb"1 (UID 1 FLAGS (\Seen \Recent) RFC")
        assert client.search(None, "NEW") == ("OK", [b"2"])
        assert client.search(None, "RECENT") == ("OK", [b"1 2"])
        assert client.search(None, "OLD") == ("OK", [b""])
        other.select("INBOX")
        assert other.recent() == ("OK", [b"0"])
        assert other.search(None, "OLD") == ("OK", [b"1 2"])
        assert status(other) == b"INBOX (MESSAGES 2 RECENT 0)"

    def then(client: Client, other: Client) -> None:
        # Who is told first has it, and the other not.
        assert client.recent() == ("OK", [b"3"])
        assert client.fetch("3", "(FLAGS)")[1] == [rb"3 (FLAGS (\Recent))"]
        other.noop()
        assert other.fetch("3", "(FLAGS)")[1] == [rb"3 (FLAGS ())"]
        client.select("INBOX")
        assert client.search(None, "RECENT") == ("OK", [b""])

    clients = [await in_thread(imap.client, PHARMACY) for _ in range(3)]
    await in_thread(first, *clients)
    await deliver(world, "trois")
    await in_thread(then, clients[0], clients[2])
    for client in clients:
        await in_thread(client.logout)


async def test_reading_is_written_to_the_trail_and_polling_is_not(world: World, imap: Access) -> None:
    await deliver(world, "un", "deux")
    read = "SELECT count(*) FROM audit WHERE kind = 'content-read'"

    def poll(*items: str) -> None:
        client = imap.client(PHARMACY)
        client.select("INBOX")
        client.uid("search", None, "ALL")
        for item in items:
            client.uid("fetch", "1:*", item)
        client.logout()

    before = await world.admin.fetchval(read)
    await in_thread(poll, "(FLAGS)", "(BODYSTRUCTURE)")
    assert await world.admin.fetchval(read) == before
    await in_thread(poll, "(BODY.PEEK[])")
    assert await world.admin.fetchval(read) == before + 1


async def test_aioimaplib_hears_of_a_delivery_while_it_idles(world: World, imap: Access) -> None:
    context = imap.tls()
    context.check_hostname = False
    client = aioimaplib.IMAP4_SSL("127.0.0.1", imap.tls_port, ssl_context=context)
    await client.wait_hello_from_server()
    assert (await client.login(PHARMACY, imap.password(PHARMACY))).result == "OK"
    assert (await client.select("INBOX")).result == "OK"
    idle = await client.idle_start(timeout=20)
    await deliver(world, "nouveau")
    assert await client.wait_server_push(10) == [b"1 EXISTS", b"1 RECENT"]
    client.idle_done()
    await asyncio.wait_for(idle, 10)
    found = await client.uid_search("ALL")
    assert found.lines[0] == b"1"
    await client.logout()


async def test_curl_lists_fetches_searches_and_uploads(world: World, imap: Access, tmp_path: Path) -> None:
    curl = need("curl")
    await deliver(world, "pour curl")
    letter = tmp_path / "letter.eml"
    letter.write_bytes(message("de curl", 7))

    async def run(path: str, *more: str) -> bytes:
        command = [curl, "--silent", "--show-error", "--cacert", str(imap.pki / "root.pem"), "--max-time", "20"]
        command += ["--resolve", f"{NAME}:{imap.tls_port}:127.0.0.1"]
        command += ["--user", f"{PHARMACY}:{imap.password(PHARMACY)}", f"imaps://{NAME}:{imap.tls_port}/{path}", *more]
        done = await in_thread(subprocess.run, command, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return bytes(done.stdout)

    assert b'* LIST (\\HasNoChildren) "/" INBOX' in await run("")
    assert (await run("INBOX;UID=1")).endswith(message("pour curl"))
    assert await run("INBOX;UID=1;SECTION=TEXT") == b"pour curl\r\n"
    assert b"* SEARCH 1\r\n" in await run("INBOX?UNSEEN") + b"* SEARCH 1\r\n"
    await run("Archive", "--upload-file", str(letter))
    assert await run("Archive;UID=1") == message("de curl", 7)


async def test_mbsync_syncs_both_ways_to_the_byte(world: World, imap: Access, tmp_path: Path) -> None:
    mbsync = need("mbsync")
    await deliver(world, "un", "deux", "accents é à ü", "quatre")
    store, maildir = tmp_path / "state", tmp_path / "mail"
    store.mkdir()
    maildir.mkdir()
    settings = tmp_path / "mbsyncrc"
    settings.write_text(
        f"""
IMAPAccount caducee
Host 127.0.0.1
Port {imap.tls_port}
User {PHARMACY}
Pass {imap.password(PHARMACY)}
SSLType IMAPS
CertificateFile {imap.pki / "server.pem"}

IMAPStore far
Account caducee

MaildirStore near
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState {store}/
CopyArrivalDate yes
"""
    )

    async def sync() -> None:
        command = [mbsync, "--config", str(settings), "--all"]
        done = await in_thread(subprocess.run, command, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def files(folder: str) -> dict[str, Path]:
        return {path.name: path for part in ("cur", "new") for path in (maildir / folder / part).iterdir()}

    await sync()
    assert sorted(plain(path) for path in files("INBOX").values()) == sorted(
        text.replace(b"\r\n", b"\n") for text in await world.texts(PHARMACY)
    )
    # Here a new message, one read, one thrown away; there all flagged, one deleted.
    chosen = sorted(files("INBOX").values(), key=lambda path: path.name.partition(",U=")[2])
    chosen[0].rename(maildir / "INBOX" / "cur" / (chosen[0].name.partition(":")[0] + ":2,S"))
    chosen[1].unlink()
    (maildir / "Archive" / "new" / "1.local.host").write_bytes(message("du poste", 9).replace(b"\r\n", b"\n"))
    await in_thread(mark, imap)
    await sync()
    await sync()
    archive = await (await world.mailbox(PHARMACY)).folder("Archive")
    (uploaded,) = await world.texts(PHARMACY, archive.folder_id)
    assert without_tuid(uploaded) == message("du poste", 9)
    far = await (await world.mailbox(PHARMACY)).view(1)
    assert len(far.rows) == 2
    assert sorted(plain(path) for path in files("INBOX").values()) == sorted(
        text.replace(b"\r\n", b"\n") for text in await world.texts(PHARMACY)
    )
    assert sum(bool(row.flags & 1) for row in far.rows) == sum(
        ":2,S" in name or ":2,FS" in name for name in files("INBOX")
    )
    assert sum(bool(row.flags & 4) for row in far.rows) == sum(
        "F" in name.partition(":2,")[2] for name in files("INBOX")
    )


def plain(path: Path) -> bytes:
    return without_tuid(path.read_bytes())


def without_tuid(text: bytes) -> bytes:
    """mbsync marks what it uploads with a field of its own, until it has learnt the uid."""
    return re.sub(rb"X-TUID: [^\r\n]*\r?\n", b"", text)


def mark(imap: Access) -> None:
    client = imap.client(PHARMACY)
    client.select("INBOX")
    client.store("1:*", "+FLAGS.SILENT", "(\\Flagged)")
    client.store("4", "+FLAGS.SILENT", "(\\Deleted)")
    client.expunge()
    client.logout()


async def test_a_large_message_goes_in_and_comes_out_whole(world: World, imap: Access) -> None:
    large = message("0123456789abcdef\r\n" * 200_000, 3)

    def both_ways() -> bytes:
        client = imap.client(DOCTOR)
        assert client.append("Drafts", None, None, large)[0] == "OK"
        client.select("Drafts")
        whole = client.fetch("1", "(BODY.PEEK[])")[1][0][1]
        part = client.fetch("1", "(BODY.PEEK[TEXT]<2000000.36>)")[1][0][1]
        assert part == large[large.index(b"\r\n\r\n") + 4 :][2_000_000:2_000_036]
        client.logout()
        return bytes(whole)

    assert await in_thread(both_ways) == large


async def test_what_is_too_large_is_refused_before_it_is_sent(world: World, imap: Access) -> None:
    limit = world.database.settings.transport.max_message_bytes

    def attempt() -> bytes:
        client = imap.client(DOCTOR)
        client.send(b"x APPEND Drafts {%d}\r\n" % (limit + 1))
        line = client.readline()
        client.logout()
        return line

    assert (await in_thread(attempt)).startswith(b"x NO [TOOBIG]")


async def test_wrong_user_and_wrong_password_get_the_same_answer(world: World, imap: Access) -> None:
    def attempt(address: str) -> str:
        client = Client(imap.port, imap.tls())
        with pytest.raises(imaplib.IMAP4.error) as refusal:
            client.login(address, "wrong")
        client.logout()
        return str(refusal.value)

    answers = {await in_thread(attempt, address) for address in (DOCTOR, "nobody@msg.exemple.fr", "nobody", "@")}
    assert answers == {"b'[AUTHENTICATIONFAILED] Unknown address or wrong password'"}


async def test_what_was_pipelined_before_tls_is_dropped(world: World, imap: Access) -> None:
    def attempt() -> bytes:
        raw = socket.create_connection(("127.0.0.1", imap.port), timeout=20)
        raw.recv(1_000)
        raw.sendall(b"a STARTTLS\r\nb NOOP\r\n")
        assert raw.recv(1_000).startswith(b"a OK")
        # The injected line came with the command; the handshake starts on what follows.
        secured = imap.tls().wrap_socket(raw, server_hostname=NAME)
        secured.sendall(b"c NOOP\r\n")
        return secured.recv(1_000)

    assert (await in_thread(attempt)).startswith(b"c OK")


async def test_a_reader_that_takes_nothing_keeps_nobody_waiting(world: World, imap: Access) -> None:
    await (await world.mailbox(PHARMACY)).append(1, message("x" * 6_000_000))

    def slow() -> ssl.SSLSocket:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        raw.settimeout(20)
        raw.connect(("127.0.0.1", imap.tls_port))
        secured = imap.tls().wrap_socket(raw, server_hostname=NAME)
        secured.sendall(
            f"a LOGIN {PHARMACY} {imap.password(PHARMACY)}\r\nb SELECT INBOX\r\nc FETCH 1 BODY[]\r\n".encode()
        )
        heard = b""
        while b"c OK" not in heard and b"FETCH (BODY[]" not in heard:
            heard += secured.recv(1_000)
        return secured

    def quick() -> str:
        client = imap.client(PHARMACY)
        client.select("INBOX")
        status = client.noop()[0]
        client.logout()
        return str(status)

    held = await in_thread(slow)
    assert await in_thread(quick) == "OK"
    held.close()


async def test_draining_says_goodbye(world: World, imap: Access) -> None:
    client, port = await in_thread(imap.client, DOCTOR), imap.port
    await imap.edge.drain(clock.monotonic() + 10)
    line = await in_thread(client.readline)
    assert line.startswith(b"* BYE [UNAVAILABLE]")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=20)


async def test_a_store_that_is_away_is_told_as_such(world: World, imap: Access) -> None:
    def attempt(client: Client) -> tuple[str, list[bytes | None]]:
        return client.select("INBOX")

    client = await in_thread(imap.client, DOCTOR)
    world.reader_pool.terminate()
    status, (text,) = await in_thread(attempt, client)
    assert status == "NO"
    assert text is not None
    assert text.startswith(b"[UNAVAILABLE]")


async def test_a_client_under_compression(world: World, imap: Access) -> None:
    await deliver(world, "un " * 20_000)

    def rounds() -> None:
        raw = socket.create_connection(("127.0.0.1", imap.tls_port), 20)
        with imap.tls().wrap_socket(raw, server_hostname=NAME) as client:
            deflates, inflates = zlib.compressobj(wbits=-15), zlib.decompressobj(-15)
            took, heard = 0, b""
            client.sendall(b"a LOGIN %s %s\r\n" % (PHARMACY.encode(), imap.password(PHARMACY).encode()))
            client.sendall(b"b COMPRESS DEFLATE\r\n")
            while not heard.endswith(b"\r\nb OK Compressing from here on\r\n"):
                heard += client.recv(65_536)
            text = b"c SELECT INBOX\r\nd FETCH 1 BODY.PEEK[]\r\n"
            client.sendall(deflates.compress(text) + deflates.flush(zlib.Z_SYNC_FLUSH))
            heard = b""
            while b"\r\nd OK" not in heard:
                octets = client.recv(65_536)
                took += len(octets)
                heard += inflates.decompress(octets)
            assert heard.count(b"un ") >= 20_000
            assert took < 5_000

    await in_thread(rounds)


async def test_notify_tells_of_other_mailboxes_and_of_their_list(world: World, imap: Access) -> None:
    def listen() -> tuple[Client, Client]:
        listening, other = imap.client(PHARMACY), imap.client(PHARMACY)
        listening.send(b"n NOTIFY SET (PERSONAL (MessageNew MessageExpunge MailboxName))\r\n")
        assert listening.readline() == b"n OK It will be told\r\n"
        return listening, other

    listening, other = await in_thread(listen)
    await in_thread(other.create, "Dossiers")
    assert await in_thread(listening.readline) == b'* LIST (\\HasNoChildren) "/" Dossiers\r\n'
    await deliver(world, "un")
    assert (await in_thread(listening.readline)).startswith(b"* STATUS INBOX (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ")
    await in_thread(other.append, "Dossiers", None, None, message("moi"))
    assert (await in_thread(listening.readline)).startswith(b"* STATUS Dossiers (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ")
    await in_thread(other.delete, "Dossiers")
    assert await in_thread(listening.readline) == b'* LIST (\\NonExistent) "/" Dossiers\r\n'
    for client in (listening, other):
        await in_thread(client.logout)


async def test_a_stranger_who_trickles_octets_frees_the_slot(imap: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IMAP_LOGIN_SECONDS", 0.5)

    def trickle() -> bytes:
        heard = b""
        with socket.create_connection(("127.0.0.1", imap.port), 20) as raw:
            raw.settimeout(0.05)
            while not heard.endswith(b"idle for too long\r\n"):
                with contextlib.suppress(TimeoutError):
                    heard += raw.recv(1_000)
                raw.sendall(b"x")
        return heard

    assert b"BYE" in await in_thread(trickle)
