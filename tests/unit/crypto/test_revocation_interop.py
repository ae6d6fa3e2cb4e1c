"""Revocation between two implementations: lists and answers that OpenSSL makes, questions that it reads."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from crypto.pki.crl import Crl
from crypto.pki.issue import Issued, new_root, server
from crypto.pki.ocsp import NONCE_BYTES, OcspAnswer, request_bytes
from crypto.pki.profile import KeyKind
from crypto.pki.revocation import Revocations
from server.base import clock
from tests.programs import need

TIME = "%y%m%d%H%M%SZ"
SETTINGS = """
[ca]
default_ca = here
[here]
database = {folder}/index.txt
default_md = sha256
default_crl_days = 1
crlnumber = {folder}/number
"""


NONCE = bytes(range(NONCE_BYTES))


@dataclass(frozen=True)
class Authority:
    """An authority that OpenSSL runs, and two certificates of it: one revoked, one not."""

    folder: Path
    root: Issued
    revoked: x509.Certificate
    good: x509.Certificate

    def openssl(self, *words: str) -> None:
        done = subprocess.run([need("openssl"), *words], cwd=self.folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def _row(certificate: x509.Certificate, revoked: str) -> str:
    """A line of OpenSSL's index (txt_db of openssl-ca)."""
    serial = certificate.serial_number
    number = serial.to_bytes((serial.bit_length() + 7) // 8, "big").hex().upper()
    state = "R" if revoked else "V"
    return f"{state}\t{certificate.not_valid_after_utc:{TIME}}\t{revoked}\t{number}\tunknown\t/CN=x\n"


@pytest.fixture(params=[KeyKind.P256, KeyKind.RSA_3072], ids=str)
def authority(request: pytest.FixtureRequest, tmp_path: Path) -> Authority:
    now = clock.now() - timedelta(hours=1)
    root = new_root(now, kind=request.param)
    revoked, good = (server(root, [f"{name}.exemple.fr"], name, now).certificate for name in ("un", "deux"))
    root.save(tmp_path, "root")
    rows = [_row(one, f"{now:{TIME}},keyCompromise" if one is revoked else "") for one in (revoked, good)]
    (tmp_path / "index.txt").write_text("".join(rows))
    (tmp_path / "number").write_text("01\n")
    (tmp_path / "ca.cnf").write_text(SETTINGS.format(folder=tmp_path))
    return Authority(tmp_path, root, revoked, good)


def judged(authority: Authority, known: Revocations) -> list[str]:
    root, now = authority.root.certificate, clock.now()
    return [known.judge((one, root), now).status for one in (authority.revoked, authority.good)]


def test_a_list(authority: Authority) -> None:
    words = ["-config", "ca.cnf", "-cert", "root.pem", "-keyfile", "root.key"]
    authority.openssl("ca", "-gencrl", *words, "-out", "list.pem")
    known = Revocations()
    known.learn(Crl.parse((authority.folder / "list.pem").read_bytes(), "openssl"))
    assert judged(authority, known) == ["revoked", "good"]


def test_answers(authority: Authority) -> None:
    known = Revocations()
    for name, certificate in (("revoked", authority.revoked), ("good", authority.good)):
        (authority.folder / f"{name}.req").write_bytes(request_bytes(certificate, authority.root.certificate, NONCE))
        words = ["-index", "index.txt", "-CA", "root.pem", "-rsigner", "root.pem", "-rkey", "root.key", "-ndays", "1"]
        authority.openssl("ocsp", *words, "-reqin", f"{name}.req", "-respout", f"{name}.resp")
        answer = OcspAnswer.parse((authority.folder / f"{name}.resp").read_bytes(), name)
        assert answer.answers(NONCE)
        assert not answer.answers(bytes(NONCE_BYTES))
        known.learn(answer)
    assert judged(authority, known) == ["revoked", "good"]
