"""The national files from their address to the directory, by the command line, past a kill; what is ours survives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import asyncpg
import pytest

from directory import queries
from directory.load import LoadRefused, load, preview
from directory.national import blocks, extract
from directory.national.standing import show, standing
from server.base.tls import client_context
from server.cli.download import NotDownloaded, download
from tests.bench import nation
from tests.conftest import Database
from tests.directory_sample import write
from tests.integration.test_directory import contents
from tests.serving import caducee, refused

NOW = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
MARTIN = "889990000013"
BOX = "claire.martin@msg.exemple.fr"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write(tmp_path_factory.mktemp("national"), people=40)


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await database.connect()
    yield connection
    await connection.close()


class Site(BaseHTTPRequestHandler):
    """Serves one file with ranges, and cuts each connection after some bytes."""

    body = b""
    etag = '"1"'
    cut = 1 << 40
    asked: ClassVar[list[tuple[str, str]]] = []

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        start = self._answer()
        self.wfile.write(self.body[start : start + self.cut])
        if start + self.cut < len(self.body):
            self.wfile.flush()
            self.connection.unwrap() if isinstance(self.connection, ssl.SSLSocket) else None
            self.connection.close()

    def _answer(self) -> int:
        asked = self.headers.get("Range", "")
        self.asked.append((self.command, asked))
        start = 0
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file")
        elif asked and self.headers["If-Range"] == self.etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(self.body) - start))
        self.send_header("ETag", self.etag)
        self.send_header("Content-Disposition", 'attachment; filename="PS_LibreAcces_202611010200.zip"')
        self.end_headers()
        return start

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextlib.contextmanager
def site(home: Path, body: bytes) -> Iterator[tuple[type[Site], str]]:
    handler = type("Handler", (Site,), {"body": body, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "pki" / "server.pem", home / "pki" / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield handler, f"https://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_a_cut_connection_left_is_gone_on_with(initialised: Path, tmp_path: Path) -> None:
    body = bytes(range(256)) * 4_000
    tls = client_context(initialised / "pki" / "root.pem")
    with site(initialised, body) as (handler, url):
        handler.cut = 300_000
        first = download(f"{url}/moved", tmp_path, tls, lambda *_: None)
        assert (first.is_new, first.path.read_bytes()) == (True, body)
        gets = [asked for command, asked in handler.asked if command == "GET"]
        assert len(gets) == 4
        assert all(asked.startswith("bytes=") for asked in gets[1:])
        again = download(f"{url}/file", tmp_path, tls, lambda *_: None)
        assert (again.path, again.is_new) == (first.path, False)
        # A part of another version is of no use.
        handler.cut, handler.etag = 1 << 40, '"2"'
        part = first.path.with_name(f"{first.path.name}.part")
        part.write_bytes(b"old")
        handler.body = body[:1000]
        assert download(f"{url}/file", tmp_path, tls, lambda *_: None).path.read_bytes() == body[:1000]
        handler.cut, handler.etag = 0, '"3"'
        with pytest.raises(NotDownloaded, match="ends again and again, 0 bytes of 1000"):
            download(f"{url}/file", tmp_path, tls, lambda *_: None)
        with pytest.raises(NotDownloaded, match="certificate does not hold"):
            download(f"{url}/file", tmp_path, ssl.create_default_context(), lambda *_: None)
    with pytest.raises(NotDownloaded, match="https:// are followed"):
        download("http://localhost/PS.zip", tmp_path, tls, lambda *_: None)


def test_the_command_line_loads_from_an_address_and_tells(home: Path, files: list[Path], tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in files[:2]:
            packed.write(path, path.name)
    mailboxes = tmp_path / files[2].name
    lines = files[2].read_text().splitlines(keepends=True)
    mailboxes.write_text("".join([*lines, lines[1].replace("|", "", 1)]))
    assert "No national file" in caducee("directory", "status", home=home)
    with site(home, archive.read_bytes()) as (_, url):
        words = ("directory", "import", f"{url}/file", str(mailboxes))
        done = json.loads(caducee(*words, "--json", home=home))
        assert (done["left_out"], done["changes"]["professional"]["added"]) == (1, 46)
        rejected = home / "directory-rejected.txt"
        assert stat.S_IMODE(rejected.stat().st_mode) == 0o600
        assert f"{mailboxes.name}, line {len(lines) + 1}: 30 fields" in rejected.read_text()
        assert "MARTIN" in rejected.read_text()
        said = json.loads(caducee("directory", "diff", f"{url}/file", str(files[2]), "--json", home=home))
        assert said["details"] == {}
    said = json.loads(caducee("directory", "show", BOX, "--json", home=home))
    assert [person["national_id"] for person in said["professional"]] == [MARTIN]
    assert said["professional"][0]["holds"]
    assert said["organisation"][0]["name"] == "CABINET DU DOCTEUR MARTIN"
    assert json.loads(caducee("directory", "status", "--json", home=home))["files"][1] == mailboxes.name
    assert "knows nobody" in refused("directory", "show", "123", home=home)
    assert "only addresses that begin" in refused("directory", "import", "http://localhost/a.zip", home=home)


async def test_what_an_import_would_change_is_told_and_not_done(
    owner: asyncpg.Connection, files: list[Path], tmp_path: Path
) -> None:
    fewer = without_martin(files, tmp_path)
    await load(owner, files, NOW)
    before = await contents(owner)
    told = await preview(owner, fewer, LATER)
    assert await contents(owner) == before
    assert told.changes["professional"] == {"removed": 1}
    assert ("professional", "removed", f"{MARTIN} 10") in told.details
    assert ("mailbox_entry", "removed", BOX) in told.details
    done = await load(owner, fewer, LATER)
    assert done.changes == told.changes


def without_martin(files: list[Path], folder: Path) -> list[Path]:
    fewer = [folder / path.name for path in files]
    for old, new in zip(files, fewer, strict=True):
        lines = old.read_text().splitlines(keepends=True)
        new.write_text("".join(line for line in lines if "89990000013" not in line))
    return fewer


async def test_who_left_is_remembered_until_the_return(
    owner: asyncpg.Connection, files: list[Path], tmp_path: Path
) -> None:
    await load(owner, files, NOW)
    (activity,) = (await show(owner, MARTIN))["activity"]
    await load(owner, without_martin(files, tmp_path), LATER)
    gone = {(row["kind"], row["key"]): row["gone_at"] for row in await owner.fetch("SELECT * FROM directory.gone")}
    assert gone == dict.fromkeys(
        [
            ("professional", MARTIN),
            ("mailbox", BOX),
            ("activity", str(activity["activity_id"])),
            ("organisation", activity["organisation_id"]),
        ],
        LATER,
    )
    assert await owner.fetchval("SELECT max(changed_at) FROM directory.professional") == NOW
    await load(owner, files, LATER + timedelta(days=1))
    # An activity comes back as another one.
    assert [row["kind"] for row in await owner.fetch("SELECT kind FROM directory.gone")] == ["activity"]
    changed = await owner.fetch("SELECT national_id FROM directory.professional WHERE changed_at > $1", LATER)
    assert [row["national_id"] for row in changed] == [MARTIN]
    found = await standing(owner)
    assert found is not None
    assert found.is_old(found.loaded_at + timedelta(days=4))
    assert not found.is_old(found.loaded_at + timedelta(days=2))


async def test_what_is_ours_is_neither_changed_nor_removed(
    owner: asyncpg.Connection, files: list[Path], tmp_path: Path
) -> None:
    await load(owner, files, NOW)
    ours = "UPDATE directory.mailbox_entry SET source = 'own', unlisted = true, service = 'Ici' WHERE address = $1"
    await owner.execute(ours, BOX)
    kept = "SELECT to_jsonb(m)::text FROM directory.mailbox_entry m WHERE address = $1"
    before = await owner.fetchval(kept, BOX)
    changed = [tmp_path / path.name for path in files]
    for old, new in zip(files, changed, strict=True):
        new.write_text(old.read_text().replace("|MARTIN|Claire|", "|MARTINE|Claire|"))
    await load(owner, changed, LATER)
    assert await owner.fetchval(kept, BOX) == before
    assert (await show(owner, MARTIN))["professional"][0]["last_name"] == "MARTINE"
    await load(owner, without_martin(files, tmp_path), LATER + timedelta(days=1))
    assert await owner.fetchval(kept, BOX) == before


async def test_a_nation_is_loaded_as_a_few_lines_are(
    owner: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [path for path in nation.write(tmp_path, share=0.001) if "Dipl" not in path.name]
    activity = next(path for path in files if "activite" in path.name)
    first, *lines = activity.read_bytes().splitlines(keepends=True)
    activity.write_bytes(b"".join([first, *lines[:700], b"damaged\n", *lines[700:]]))
    monkeypatch.setattr(extract, "BLOCK_BYTES", 64 << 10)
    undone = owner.transaction()  # so that both begin with nothing
    await undone.start()
    alone = await load(owner, files, NOW)
    expected = await contents(owner)
    await undone.rollback()
    indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'directory' ORDER BY indexname"
    made = await owner.fetch(indexes)
    monkeypatch.setattr(blocks, "LARGE_BYTES", 0)
    monkeypatch.setattr(queries, "MANY_ROWS", 0)
    done = await load(owner, files, NOW)
    assert [row for row in await owner.fetch(indexes) if "listing" not in row[0]] == [
        row for row in made if "listing" not in row[0]
    ]
    assert await owner.fetchval("SELECT count(*) FROM pg_trigger WHERE tgenabled = 'D'") == 0
    assert [(one.line, one.reason) for one in done.problems] == [(one.line, one.reason) for one in alone.problems]
    assert [one.line for one in done.problems] == [702]
    assert (done.counts, done.changes, done.lines, done.suspects) == (
        *(alone.counts, alone.changes, alone.lines, alone.suspects),
    )
    found = await contents(owner)
    unnumbered = {"activity", "word", "listing", "load"}  # these hold numbers of their own making
    assert {name: rows for name, rows in found.items() if name not in unnumbered} == {
        name: rows for name, rows in expected.items() if name not in unnumbered
    }


async def test_a_reading_process_that_ends_refuses_the_load(
    owner: asyncpg.Connection, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await contents(owner)
    monkeypatch.setattr(blocks, "LARGE_BYTES", 0)
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with pytest.raises(LoadRefused, match="a process that was reading it ended"):
        await load(owner, files, NOW)
    assert await contents(owner) == before


LOAD = """
import asyncio, asyncpg, sys
from datetime import UTC, datetime
from pathlib import Path
from directory.load import load
async def main(dsn, *files):
    connection = await asyncpg.connect(dsn)
    await load(connection, [Path(file) for file in files], datetime.now(UTC))
asyncio.run(main(*sys.argv[1:]))
"""


async def test_killed_in_the_middle_the_old_directory_stays(
    database: Database, owner: asyncpg.Connection, files: list[Path], tmp_path: Path
) -> None:
    await load(owner, files, NOW)
    before = await contents(owner)
    others = [str(path) for path in nation.write(tmp_path, share=0.002) if "Dipl" not in path.name]
    process = subprocess.Popen([sys.executable, "-c", LOAD, database.dsn(), *others])
    written = (
        "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'directory.activity'::regclass AND mode LIKE 'Row%')"
    )
    while not await owner.fetchval(written):
        assert process.poll() is None
        await asyncio.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while await owner.fetchval(written):
        await asyncio.sleep(0.01)
    assert await contents(owner) == before
    assert (await load(owner, files, LATER)).changes == {}
