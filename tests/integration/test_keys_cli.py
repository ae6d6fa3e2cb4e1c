"""`caducee keys …` beside a running `serve`: sessions go on through every change, and a lost keys/ is made again."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from cryptography import x509
from typer.testing import CliRunner

from crypto.keyfile import write_private
from crypto.pki import authority
from server.cli.main import app
from server.db.embedded import EmbeddedPostgres
from tests.documents import SOFTHSM
from tests.serving import CADUCEE, REPOSITORY, Served, caducee, refused


def keys(home: Path, *words: str) -> Any:
    return json.loads(caducee("keys", *words, "--json", home=home))


def send(served: Served, subject: str) -> None:
    text = f"From: <{served.doctor}>\r\nTo: <{served.pharmacy}>\r\nSubject: {subject}\r\n\r\nBonjour\r\n"
    with served.submission(served.doctor) as client:
        client.sendmail(served.doctor, [served.pharmacy], text)


def read(client: Any) -> list[bytes]:
    """Every message of the inbox, opened anew."""
    client.select("INBOX")
    _, found = client.fetch("1:*", "(BODY.PEEK[])")
    return [part[1] for part in found if isinstance(part, tuple)]


def test_sessions_go_on_while_keys_are_renewed_turned_and_destroyed(running: Served) -> None:
    home = running.home
    send(running, "un")
    with running.imap(running.pharmacy) as held:
        assert len(read(held)) == 1
        keys(home, "rotate")
        assert keys(home, "rewrap")["mailbox_keys"] >= 3
        send(running, "deux")
        assert keys(home, "retire")["still_needed"] == 0
        listed = keys(home, "list")
        assert (listed["master_version"], listed["older_generations"], listed["retired_generations"]) == (2, 0, 4_096)
        assert len(read(held)) == 2
        keys(home, "rotate", "--mailbox", running.pharmacy)
        send(running, "trois")
        assert len(read(held)) == 3
        with running.imap(running.pharmacy) as fresh:
            assert len(read(fresh)) == 3
        assert keys(home, "list")["former_pairs"] == 1
        keys(home, "destroy", "--yes")
        keys(home, "destroy", running.doctor, "--yes")
        assert len(read(held)) == 3
        assert keys(home, "list")["destroyed_mailboxes"] == 1
    assert "keys-changed" in caducee("trace", running.pharmacy, home=home)
    assert "consistent" in caducee("check", home=home)


def test_mailboxes_are_given_keys_to_sign_with_and_lose_them(running: Served) -> None:
    pki = running.home / "pki"

    def mailboxes(*words: str) -> Result:
        return CliRunner().invoke(app, ["pki", *words, "--home", str(running.home), "--json"])

    assert json.loads(mailboxes("mailboxes").stdout) == {"made": 0}  # their import gave them
    before = authority.issued(authority.issued_file(pki))
    revoking = "revoke", "--mailbox", running.patient, "--reason", "superseded"
    assert mailboxes(*revoking).exit_code == 0
    revoked = x509.load_der_x509_crl(authority.list_file(pki).read_bytes())
    assert {one.serial_number for one in revoked} < before
    assert "nothing to revoke" in str(mailboxes(*revoking).exception)
    assert json.loads(mailboxes("mailboxes").stdout) == {"made": 1}
    assert len(authority.issued(authority.issued_file(pki)) - before) == 1


@pytest.mark.soak
@pytest.mark.parametrize("seconds", [1.0, 1.5, 2.0, 3.0])
def test_a_command_that_was_killed_goes_on(home: Path, seconds: float) -> None:
    """kill -9 in the middle of wrapping mailbox keys (tests/integration/test_keylife.py stops it at each step)."""
    rows = "\n".join(f"m{n}@msg.exemple.fr,APP,Logiciel,,," for n in range(3_000))
    (home / "some.csv").write_text("address,type,name,rpps,finess,ins\n" + rows + "\n")
    caducee("mailbox", "import", str(home / "some.csv"), home=home)
    keys(home, "rotate")
    process = subprocess.Popen([*CADUCEE, "keys", "rewrap", "--home", str(home)], cwd=REPOSITORY)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    keys(home, "rewrap")
    assert keys(home, "list")["keys_under_older"] == 0
    assert keys(home, "retire")["still_needed"] == 0
    assert "consistent" in caducee("check", home=home)


def test_a_lost_keyring_is_made_again_by_enough_people(home: Path) -> None:
    shares = keys(home, "escrow", "--shares", "3", "--threshold", "2")["shares"]
    export = home / "kept.export"
    shutil.copy(home / "keys" / "mailboxes.export", export)
    shutil.rmtree(home / "keys")
    (home / "keys").mkdir(mode=0o700)

    def recover(*given: str) -> subprocess.CompletedProcess[str]:
        words = [*CADUCEE, "keys", "recover", str(export), "--home", str(home)]
        text = "\n".join([*given, "", ""])
        return subprocess.run(words, cwd=REPOSITORY, input=text, capture_output=True, text=True)

    alone = recover(shares[0])
    assert alone.returncode == 1
    assert "no secret" in alone.stderr
    assert not (home / "keys" / "ring").exists()
    together = recover(shares[2], shares[0])
    assert together.returncode == 0, together.stderr
    assert "already" in recover(shares[2], shares[0]).stderr
    assert keys(home, "import", str(export))["lost"] == []
    assert "consistent" in caducee("check", home=home)


@pytest.mark.skipif(not shutil.which("softhsm2-util"), reason="needs softhsm2")
async def test_the_master_key_lives_in_a_token_and_sealed_readers_start_from_it(home: Path, tmp_path: Path) -> None:
    """SoftHSM2, each command in a process of its own: what the token closed opens with it and its PIN alone."""
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}\nobjectstore.backend = file\n")
    token = {"SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf")}
    making = ["softhsm2-util", "--init-token", "--free", "--label", "caducee", "--pin", "1234", "--so-pin", "1234"]
    subprocess.run(making, env=os.environ | token, check=True, capture_output=True)
    pin = home / "keys" / "token.pin"
    write_private(pin, b"1234\n")
    caducee("keys", "keep", "--module", str(SOFTHSM), home=home, environment=token)
    master = json.loads((home / "keys" / "ring" / "master.json").read_text())
    (closed,) = master["versions"].values()
    assert len(base64.b64decode(closed)) == 12 + 32 + 16  # nonce, key, tag
    assert "1234" not in json.dumps(master)
    async with EmbeddedPostgres(home):
        words = [sys.executable, "-m", "server.roles", "imap", "--home", str(home)]
        role = subprocess.Popen(words, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, env=os.environ | token)
        assert role.stderr is not None
        assert '"serving"' in role.stderr.readline()
        role.terminate()
        role.communicate(timeout=60)
    write_private(pin, b"9999")
    assert "PinIncorrect" in refused("check", home=home, environment=token)


def test_keys_say_what_is_wrong(home: Path) -> None:
    assert "not an export" in refused("keys", "import", str(home / "caducee.toml"), home=home)
    assert "at least 2" in refused("keys", "escrow", "--shares", "2", "--threshold", "3", home=home)
