"""Programs that people read mail with, before the real edge and store: offlineimap both ways, mutt by its keys."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import subprocess
import time
from pathlib import Path

from server.mailbox.model import Flag
from tests.imap_edge import Access, deliver
from tests.programs import need
from tests.store_world import PHARMACY, World, message

in_thread = asyncio.to_thread
PROGRAM_SECONDS = 60


def lf(texts: list[bytes]) -> list[bytes]:
    return sorted(text.replace(b"\r\n", b"\n") for text in texts)


async def flags_of(world: World, folder_id: int = 1) -> list[int]:
    view = await (await world.mailbox(PHARMACY)).view(folder_id)
    return [row.flags for row in view.rows]


async def test_offlineimap_keeps_two_sides_the_same(world: World, imap: Access, tmp_path: Path) -> None:
    program = need("offlineimap")
    await deliver(world, "un", "deux", "accents é à ü", "quatre")
    maildir, settings = tmp_path / "mail", tmp_path / "offlineimaprc"
    settings.write_text(
        f"""
[general]
accounts = caducee
metadata = {tmp_path / "metadata"}
ui = quiet

[Account caducee]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {maildir}

[Repository far]
type = IMAP
remotehost = localhost
remoteport = {imap.tls_port}
remoteuser = {PHARMACY}
remotepass = {imap.password(PHARMACY)}
ssl = yes
sslcacertfile = {imap.pki / "root.pem"}
tls_level = tls_compat
"""
    )

    async def sync() -> None:
        command = [program, "-o", "-c", str(settings)]
        environment = os.environ | {"HOME": str(tmp_path), "RES_OPTIONS": "attempts:1"}
        done = await in_thread(
            subprocess.run, command, env=environment, capture_output=True, timeout=PROGRAM_SECONDS, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def files(folder: str) -> list[Path]:
        return sorted(path for part in ("cur", "new") for path in (maildir / folder / part).iterdir())

    await sync()
    assert lf([path.read_bytes() for path in files("INBOX")]) == lf(await world.texts(PHARMACY))
    # Here one is read, one thrown away, one written; there one is flagged, one deleted.
    read, gone, *_ = files("INBOX")
    read.rename(maildir / "INBOX" / "cur" / (read.name.partition(":")[0] + ":2,S"))
    gone.unlink()
    own = message("du poste", 9)
    (maildir / "Archive" / "new" / f"{int(time.time())}.1.poste").write_bytes(own.replace(b"\r\n", b"\n"))

    def there() -> None:
        client = imap.client(PHARMACY)
        client.select("INBOX")
        client.store("3", "+FLAGS.SILENT", "(\\Flagged)")
        client.store("4", "+FLAGS.SILENT", "(\\Deleted)")
        client.expunge()
        client.logout()

    await in_thread(there)
    await sync()
    await sync()
    here = lf([path.read_bytes() for path in files("INBOX")])
    assert here == lf(await world.texts(PHARMACY))
    assert len(here) == 2
    assert sorted(await flags_of(world)) == sorted(
        (Flag.SEEN * ("S" in name)) | (Flag.FLAGGED * ("F" in name))
        for name in (path.name.partition(":2,")[2] for path in files("INBOX"))
    )
    archive = await (await world.mailbox(PHARMACY)).folder("Archive")
    (uploaded,) = await world.texts(PHARMACY, archive.folder_id)
    assert uploaded.endswith(b"\r\n\r\ndu poste\r\n")


async def test_mutt_flags_files_deletes_and_keeps_what_it_sends(world: World, imap: Access, tmp_path: Path) -> None:
    program = need("mutt")
    await deliver(world, "un", "deux", "trois")
    settings = tmp_path / "muttrc"
    keys = "<first-entry><flag-message><next-entry><delete-message><next-entry><save-message>=Archive<enter>"
    settings.write_text(
        f"""
set folder="imaps://localhost:{imap.tls_port}/" spoolfile="+INBOX" record="+Sent" postponed="+Drafts"
set imap_user="{PHARMACY}" imap_pass="{imap.password(PHARMACY)}" ssl_starttls=yes ssl_force_tls=yes
set certificate_file="{imap.pki / "root.pem"}"
set header_cache="{tmp_path / "headers"}" message_cachedir="{tmp_path}" tmpdir="{tmp_path}" from="{PHARMACY}"
set resolve=no sort=date confirmappend=no delete=yes quit=yes move=no wait_key=no mail_check=1
set sendmail="/bin/true" editor="/bin/true"
set imap_qresync=yes imap_condstore=yes imap_idle=yes
push "{keys}<sync-mailbox><quit>"
"""
    )
    await in_thread(at_terminal, [program, "-n", "-F", str(settings)], tmp_path)
    assert [flags & Flag.FLAGGED for flags in await flags_of(world)] == [Flag.FLAGGED]
    (kept,) = await world.texts(PHARMACY)
    assert kept.endswith(message("un", 1))
    archive = await (await world.mailbox(PHARMACY)).folder("Archive")
    (filed,) = await world.texts(PHARMACY, archive.folder_id)
    assert filed.endswith(message("trois", 3))
    command = [program, "-n", "-F", str(settings), "-s", "Réponse", "--", "dr.dupont@msg.exemple.fr"]
    done = await in_thread(
        subprocess.run,
        command,
        input="Bien reçu\n".encode(),
        capture_output=True,
        env=os.environ | {"HOME": str(tmp_path), "LANG": "C.UTF-8"},
        timeout=PROGRAM_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sent = await (await world.mailbox(PHARMACY)).folder("Sent")
    (copy,) = await world.texts(PHARMACY, sent.folder_id)
    assert b"Subject: =?" in copy
    assert await flags_of(world, sent.folder_id) == [Flag.SEEN]


async def test_mutt_comes_back_to_a_mailbox_that_changed(world: World, imap: Access, tmp_path: Path) -> None:
    """With COMPRESS, UTF8=ACCEPT and QRESYNC: what it kept becomes true again by what it is told."""
    program, mailbox = need("mutt"), await world.mailbox(PHARMACY)
    for number in range(4):
        await mailbox.append(1, message(number=number))
    (tmp_path / "headers").mkdir()
    settings = f"""
set folder="imaps://localhost:{imap.tls_port}/" spoolfile="+INBOX" header_cache="{tmp_path / "headers"}/"
set imap_user="{PHARMACY}" imap_pass="{imap.password(PHARMACY)}" ssl_force_tls=yes
set certificate_file="{imap.pki / "root.pem"}" ssl_ca_certificates_file="{imap.pki / "root.pem"}" ssl_verify_host=no
set imap_condstore imap_qresync imap_deflate
set delete=yes quit=yes move=no wait_key=no beep=no mark_old=no
"""

    async def said(keys: str) -> str:
        """What was said, as mutt writes it down."""
        (tmp_path / "muttrc").write_text(f'{settings}push "{keys}<quit>"\n')
        await in_thread(at_terminal, [program, "-n", "-F", "muttrc", "-d", "3"], tmp_path)
        return (tmp_path / ".muttdebug0").read_text(errors="replace")

    first = await said("<first-entry><delete-message><sync-mailbox><last-entry><flag-message>")
    for line in ("Compressing from here on", "* ENABLED UTF8=ACCEPT", "* ENABLED QRESYNC", "* VANISHED 1"):
        assert line in first
    assert [(row.uid, row.flags) for row in (await mailbox.view(1)).rows] == [(2, 0), (3, 0), (4, Flag.FLAGGED)]

    await mailbox.append(1, message(number=5))
    await mailbox.store(1, [2], "add", Flag.DELETED)
    await mailbox.expunge(1)
    await mailbox.store(1, [3], "add", Flag.ANSWERED)
    second = await said("<first-entry>")
    assert "VANISHED)" in second  # its UID FETCH … (CHANGEDSINCE … VANISHED)
    assert "* VANISHED (EARLIER) 1:2" in second or "* VANISHED (EARLIER) 2" in second
    assert "FETCH (UID 3 FLAGS (\\Answered) MODSEQ" in second
    assert "FETCH (UID 5 " in second
    assert "FETCH (UID 4 FLAGS (\\Flagged) INTERNALDATE" not in second  # its header was kept


def at_terminal(command: list[str], home: Path) -> None:
    """Run a program of full screens to its end, at a terminal that nobody looks at."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home)
        environment = os.environ | {"HOME": str(home), "TERM": "xterm", "LANG": "C.UTF-8"}
        os.execvpe(command[0], command, environment)
    shown, deadline = b"", time.monotonic() + PROGRAM_SECONDS
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    shown = (shown + os.read(terminal, 65_536))[-4_000:]
                except OSError:  # the program closed its side
                    break
        else:
            os.kill(pid, 9)
            raise AssertionError(f"it did not end: {shown!r}")
    finally:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(terminal)
    assert status == 0, shown
