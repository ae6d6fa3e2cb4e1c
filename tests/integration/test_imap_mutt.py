"""mutt with COMPRESS, UTF8=ACCEPT and QRESYNC on: what it kept of a mailbox becomes true again when it comes back.

It runs in a terminal of its own; what was said stands in its debug file.
"""

from __future__ import annotations

import asyncio
import os
import pty
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from crypto.smime.anchors import TrustAnchors
from server.mailbox.model import Flag
from tests.imap_edge import Access, access
from tests.programs import need
from tests.store_world import PHARMACY, World, message

SETTINGS = """
set imap_condstore imap_qresync imap_deflate imap_user="{user}" imap_pass="{password}"
set ssl_force_tls ssl_verify_host=no ssl_ca_certificates_file="{root}" certificate_file="{root}"
set folder="imaps://localhost:{port}/" spoolfile="+INBOX" header_cache="{cache}/"
set quit=yes delete=yes move=no wait_key=no beep=no mark_old=no
"""


def run(home: Path, keys: str) -> str:
    """Start mutt in `home`, press `keys`, and return what was said when it has ended."""
    command = [need("timeout"), "--foreground", "60", need("mutt"), "-n", "-F", "rc", "-d", "3", "-e", f'push "{keys}"']
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(home)
        environment = dict(os.environ, TERM="xterm", HOME=str(home), LC_ALL="C.UTF-8")
        os.execve(command[0], command, environment)
    with suppress(OSError):  # the terminal is gone when mutt is
        while os.read(terminal, 65_536):
            continue
    os.close(terminal)
    assert os.waitpid(process, 0)[1] == 0
    return (home / ".muttdebug0").read_text(errors="replace")


@pytest.fixture
async def imap(world: World, pki: Path, anchors: TrustAnchors) -> AsyncIterator[Access]:
    async with access(world, pki, anchors) as running:
        yield running


async def test_mutt_comes_back_to_a_mailbox_that_changed(world: World, imap: Access, tmp_path: Path) -> None:
    mailbox = await world.mailbox(PHARMACY)
    for number in range(4):
        await mailbox.append(1, message(number=number))
    (tmp_path / "cache").mkdir()
    settings = SETTINGS.format(
        user=PHARMACY,
        password=imap.password(PHARMACY),
        root=imap.pki / "root.pem",
        port=imap.tls_port,
        cache=tmp_path / "cache",
    )
    (tmp_path / "rc").write_text(settings)
    keys = "<first-entry><delete-message><sync-mailbox><last-entry><flag-message><quit>"
    said = await asyncio.to_thread(run, tmp_path, keys)
    for line in ("Compressing from here on", "* ENABLED UTF8=ACCEPT", "* ENABLED QRESYNC", "* VANISHED 1"):
        assert line in said
    assert [(row.uid, row.flags) for row in (await mailbox.view(1)).rows] == [(2, 0), (3, 0), (4, Flag.FLAGGED)]

    await mailbox.append(1, message(number=5))
    await mailbox.store(1, [2], "add", Flag.DELETED)
    await mailbox.expunge(1)
    await mailbox.store(1, [3], "add", Flag.ANSWERED)
    said = await asyncio.to_thread(run, tmp_path, "<first-entry><quit>")
    assert "VANISHED)" in said  # its UID FETCH … (CHANGEDSINCE … VANISHED)
    assert "* VANISHED (EARLIER) 1:2" in said or "* VANISHED (EARLIER) 2" in said
    assert "FETCH (UID 3 FLAGS (\\Answered) MODSEQ" in said
    assert "FETCH (UID 5 " in said
    assert "FETCH (UID 4 FLAGS (\\Flagged) INTERNALDATE" not in said  # its header was kept
