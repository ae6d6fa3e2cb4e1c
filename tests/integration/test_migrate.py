"""A mailbox moves here from another server: a real Dovecot, the real command, killed in the middle."""

from __future__ import annotations

import imaplib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from server.cli.common import Failure
from server.cli.migrate.command import SECRET_VARIABLE, Mechanism, migrate
from server.imap.grammar import names
from tests.dovecot import PASSWORD, USER, Dovecot
from tests.serving import CADUCEE, REPOSITORY, Served, caducee

LETTER = "From: a@b.example\r\nSubject: {subject}\r\nMessage-ID: <same@for.all>\r\n\r\n{body}\r\n"
WITH_DOCUMENT = (
    "From: a@b.example\r\nSubject: document\r\nMIME-Version: 1.0\r\nContent-Type: application/pdf; name=o.pdf\r\n"
    "Content-Disposition: attachment; filename=o.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK\r\n"
)
MANY = 200  # messages of the folder during which the command is killed, several batches


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    server = Dovecot()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(PASSWORD + "\n", encoding="utf-8")
    return file


def words(address: str, dovecot: Dovecot, secret: Path) -> list[str]:
    there = ["--from", f"localhost:{dovecot.tls_port}", "--user", USER, "--ca", str(dovecot.root)]
    return [*CADUCEE, "mailbox", "migrate", address, *there, "--secret-file", str(secret)]


Migrate = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def migrated(running: Served, dovecot: Dovecot, secret: Path, capsys: pytest.CaptureFixture[str]) -> Migrate:
    """The command in this process: faster, and its answer by folder."""

    def run(address: str, **more: Any) -> list[dict[str, Any]]:
        given = {"server": f"localhost:{dovecot.tls_port}", "ca": dovecot.root, "secret_file": secret}
        capsys.readouterr()
        migrate(address, user=USER, **(given | more), as_json=True, home=running.home)
        return list(json.loads(capsys.readouterr().out)["folders"])

    return run


def folders_of(client: imaplib.IMAP4) -> dict[str, str]:
    """Folders by what they are called here; their names there."""
    found = {}
    for line in client.list()[1]:
        assert isinstance(line, bytes)
        match = re.fullmatch(rb'\((.*)\) "." "?(.*?)"?', line)
        assert match is not None
        if b"\\Noselect" in match[1]:
            continue
        name = match[2].decode()
        found[names.decode(match[2]).removeprefix("INBOX.").replace(".", "/")] = name
    return found


def messages(client: imaplib.IMAP4, name: str) -> list[tuple[bytes, frozenset[bytes], datetime]]:
    """Each message's octets, flags and internal date, in order of uid."""
    status, _ = client.select(f'"{name}"', readonly=True)
    assert status == "OK"
    found = []
    items = client.uid("fetch", "1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1]
    for item in items:
        if isinstance(item, tuple):
            head, body = item
            flags = re.search(rb"FLAGS \((.*?)\)", head)
            date = re.search(rb'INTERNALDATE "(.*?)"', head)
            assert flags is not None
            assert date is not None
            moment = datetime.strptime(date[1].decode().strip(), "%d-%b-%Y %H:%M:%S %z")
            found.append((body, frozenset(flags[1].split()) - {b"\\Recent"}, moment))
    return found


def count(client: imaplib.IMAP4, folder: str) -> int:
    status, (line,) = client.status(folder, "(MESSAGES)")
    return int(line.split()[-1].rstrip(b")")) if status == "OK" else 0


def fill(dovecot: Dovecot) -> None:
    client = dovecot.client()
    dates = ['"17-Jul-1996 02:44:25 -0700"', '"01-Jan-2025 00:00:00 +0100"', '" 3-Feb-2026 10:00:00 +0000"']
    flags = ["(\\Seen)", "(\\Answered \\Flagged $Forwarded étiquette)".replace("é", "e"), "()"]
    for folder in ("INBOX", "INBOX.Envoyes", "INBOX.Patients &AOA- revoir.2026", "INBOX.Divers"):
        if folder != "INBOX":
            client.create(f'"{folder}"')
        for number, (date, flag) in enumerate(zip(dates, flags, strict=True)):
            letter = LETTER.format(subject=f"{number}", body=f"{folder} " * number)
            assert client.append(f'"{folder}"', flag, date, letter.encode())[0] == "OK"
    client.subscribe('"INBOX.Divers"')
    client.append("INBOX", None, None, LETTER.format(subject="grand", body="0123456789" * 300_000).encode())
    client.append("INBOX", None, None, WITH_DOCUMENT.encode())
    client.create("INBOX.Beaucoup")
    client.logout()
    # A message that lost its line ends, and one with a NUL: what is there is copied as it is.
    folder = dovecot.mail / USER / ".Beaucoup" / "cur"
    owner = folder.stat()
    for number in range(MANY):
        file = folder / f"{1_700_000_000 + number}.M{number}.host:2,{'S' if number % 2 else ''}"
        file.write_text(LETTER.format(subject=f"{number}", body=f"{number} " * 8_000).replace("\r\n", "\n"))
        os.utime(file, (1_600_000_000 + number, 1_600_000_000 + number))
        os.chown(file, owner.st_uid, owner.st_gid)


def test_a_mailbox_is_copied_whole_however_often_it_is_killed(
    running: Served, dovecot: Dovecot, secret: Path, migrated: Migrate
) -> None:
    fill(dovecot)
    doctor, here = running.doctor, running.imap(running.doctor)
    assert {one["title"]: one["there"] for one in migrated(doctor, dry_run=True)} == {
        "INBOX": 5,
        "Envoyes": 3,
        "Patients à revoir/2026": 3,
        "Divers": 3,
        "Beaucoup": MANY,
    }
    assert count(here, "INBOX") == 0
    cut = 0
    for _ in range(2):
        before = count(here, "Beaucoup")
        command = subprocess.Popen(
            words(doctor, dovecot, secret),
            env=os.environ | {"CADUCEE_HOME": str(running.home)},
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while command.poll() is None and count(here, "Beaucoup") == before:
            time.sleep(0.01)
        command.send_signal(signal.SIGKILL)
        command.wait()
        cut += before < count(here, "Beaucoup") < MANY
    assert cut
    assert sum(one["copied"] for one in migrated(doctor)) < MANY
    there = dovecot.client()
    at_home = folders_of(here)
    for title, name in folders_of(there).items():
        ours = {"Envoyes": "Sent"}.get(title, title)
        assert messages(here, at_home[ours]) == messages(there, name), title
    subscribed = here.lsub()[1]
    assert any(line.endswith(b"Divers") for line in subscribed if isinstance(line, bytes))
    # Once more brings nothing; what came meanwhile, and only that, comes with the next run.
    assert sum(one["copied"] for one in migrated(doctor)) == 0
    there.append("INBOX", None, None, LETTER.format(subject="tard", body="").encode())
    assert sum(one["copied"] for one in migrated(doctor)) == 1
    there.logout()
    here.logout()
    caducee("check", home=running.home)


def test_what_a_patient_brings_goes_to_the_intake_of_the_record(
    running: Served, dovecot: Dovecot, migrated: Migrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, PASSWORD)
    found = migrated(
        running.patient,
        server=f"localhost:{dovecot.port}",
        starttls=True,
        mechanism=Mechanism.LOGIN,
        secret_file=None,
    )
    here = running.imap(running.patient)
    assert {one["title"]: one["copied"] for one in found} == {
        one["title"]: count(here, {"Envoyes": "Sent"}.get(one["title"], f'"{one["title"]}"').replace("à", "&AOA-"))
        for one in found
    }
    here.logout()
    deadline = time.monotonic() + 60
    while "documents-filed" not in (told := caducee("trace", running.patient, home=running.home)):
        assert time.monotonic() < deadline, told
    assert "mailbox-migrated" in told


def test_what_does_not_work_is_said_with_what_to_do(running: Served, secret: Path, migrated: Migrate) -> None:
    def said(**more: Any) -> str:
        with pytest.raises(Failure) as failure:
            migrated(running.pharmacy, **more)
        return str(failure.value)

    assert "it does not offer XOAUTH2" in said(mechanism=Mechanism.XOAUTH2)
    assert "--ca names its root" in said(ca=None)
    assert "--from is HOST or HOST:PORT" in said(server="localhost:imap")
    assert "cannot be read" in said(server="localhost:1")
    secret.write_text("faux\n")
    assert f"does not let {USER} in: it says [AUTHENTICATIONFAILED]" in said()
    secret.write_text("\n")
    assert "empty" in said()


def test_what_was_numbered_anew_is_copied_only_when_told(running: Served, dovecot: Dovecot, migrated: Migrate) -> None:
    there, here = dovecot.client(), running.imap(running.pharmacy)
    there.create("INBOX.Bref")
    there.append("INBOX.Bref", None, None, LETTER.format(subject="un", body="").encode())
    migrated(running.pharmacy)
    there.delete("INBOX.Bref")
    there.create("INBOX.Bref")
    there.append("INBOX.Bref", None, None, LETTER.format(subject="deux", body="").encode())
    with pytest.raises(Failure, match="Not all of it is here"):
        migrated(running.pharmacy)
    assert count(here, "Bref") == 1
    migrated(running.pharmacy, again=True)
    assert count(here, "Bref") == 2
    # A folder that was deleted here is made anew, and whole.
    here.delete("Bref")
    migrated(running.pharmacy)
    assert count(here, "Bref") == 1
    there.delete("INBOX.Bref")
    there.logout()
    here.logout()
