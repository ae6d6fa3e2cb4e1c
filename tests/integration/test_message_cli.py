"""`caducee message …` on files, as an operator asks again what a signature is worth."""

from __future__ import annotations

import json
import os
import subprocess
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from crypto.pki import development
from crypto.pki.profile import KeyKind
from crypto.smime.envelope import encrypted_entity
from crypto.smime.sign import message, sign_detached, signed_entity
from server.base import clock
from tests.serving import CADUCEE, REPOSITORY, caducee
from tests.signers import DOCTOR, certificate

ENTITY = b"Content-Type: text/plain\r\n\r\nAmoxicilline 1 g.\r\n"


@pytest.fixture
def headers() -> dict[str, str]:
    return {"From": f"Aline MARTIN <{DOCTOR}>", "To": "a@b.test", "Date": format_datetime(clock.now())}


def test_a_signature_is_judged_again(home: Path, tmp_path: Path, headers: dict[str, str]) -> None:
    signer = development.signer(home / "pki", DOCTOR, "Aline MARTIN", "10000000017", clock.now(), KeyKind.P256)
    file = tmp_path / "message.eml"
    file.write_bytes(sign_detached(ENTITY, headers, signer, clock.now()))
    told = caducee("message", "verify", str(file), home=home)
    for words in ("passed, valid", "Aline MARTIN", "RPPS 10000000017", DOCTOR, "whole; header: no"):
        assert words in " ".join(told.split())
    # An editor took the carriage returns away.
    file.write_bytes(file.read_bytes().replace(b"\r\n", b"\n"))
    assert json.loads(caducee("message", "verify", str(file), "--json", home=home))["reason"] == "valid"
    file.write_bytes(file.read_bytes().replace(b"1 g", b"9 g"))
    assert json.loads(caducee("message", "verify", str(file), "--json", home=home))["reason"] == "tampered"


def test_an_encrypted_message_is_opened(home: Path, tmp_path: Path, headers: dict[str, str]) -> None:
    signer = development.signer(home / "pki", DOCTOR, "Aline MARTIN", "10000000017", clock.now(), KeyKind.P256)
    reader = certificate("LECTEUR", key=ec.generate_private_key(ec.SECP256R1()), self_signed=True)
    reader.save(tmp_path, "reader")
    signer.save(tmp_path, "other")
    inside = signed_entity(ENTITY, signer, clock.now())
    file = tmp_path / "message.eml"
    file.write_bytes(message(headers, encrypted_entity(inside, [reader.certificate])))

    def opened(key: str) -> subprocess.CompletedProcess[bytes]:
        words = ["message", "open", str(file), "--key", str(tmp_path / key)]
        return subprocess.run(
            [*CADUCEE, *words], env=os.environ | {"CADUCEE_HOME": str(home)}, cwd=REPOSITORY, capture_output=True
        )

    done = opened("reader.key")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(ENTITY)
    assert b"passed, valid" in done.stderr
    wrong = opened("other.key")
    assert (wrong.returncode, wrong.stdout) == (1, b"")
    assert b"encrypted to others" in wrong.stderr
