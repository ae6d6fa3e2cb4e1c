"""Passwords of the database users: made once, private, and told to PostgreSQL only as SCRAM verifiers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from server.db.credentials import make_password, password, scram_verifier


def test_made_once_and_private(tmp_path: Path) -> None:
    first = make_password(tmp_path, "imap")
    assert make_password(tmp_path, "imap") == password(tmp_path, "imap") == first
    assert len(first) >= 43
    assert stat.S_IMODE((tmp_path / "database" / "imap").stat().st_mode) == 0o600


def test_of_many_makers_at_once_one_wins_and_all_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(lambda _: make_password(tmp_path, "web"), range(64)))
    assert made == {password(tmp_path, "web")}
    assert [file.name for file in (tmp_path / "database").iterdir()] == ["web"]


def test_the_verifier_is_what_rfc_5803_says() -> None:
    kind, strength, keys = scram_verifier("pencil").split("$")
    iterations, salt = strength.split(":")
    stored, server = (base64.b64decode(key) for key in keys.split(":"))
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", base64.b64decode(salt), int(iterations))
    assert (kind, int(iterations) >= 4096) == ("SCRAM-SHA-256", True)
    assert stored == hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    assert server == hmac.digest(salted, b"Server Key", "sha256")
