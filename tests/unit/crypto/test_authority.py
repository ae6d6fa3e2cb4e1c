"""The revocation list of an authority of ours, as OpenSSL reads it."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from crypto.errors import CryptoError
from crypto.pki import development
from crypto.pki.authority import list_file, revoke
from tests.programs import need


@pytest.fixture
def pki(tmp_path: Path, noon: datetime) -> Path:
    development.create(tmp_path, "mss.example.test", noon)
    return tmp_path


def certificate(pki: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((pki / f"{name}.pem").read_bytes())


def verify(pki: Path, name: str, noon: datetime) -> str:
    """What OpenSSL says of a certificate when it looks at the list."""
    listed = x509.load_der_x509_crl(list_file(pki).read_bytes())
    pem = pki / "list.pem"
    pem.write_bytes(listed.public_bytes(encoding=serialization.Encoding.PEM))
    at = str(int((noon + timedelta(minutes=1)).timestamp()))
    command = [need("openssl"), "verify", "-crl_check", "-attime", at, "-CAfile", pki / "root.pem", "-CRLfile", pem]
    done = subprocess.run([*command, pki / f"{name}.pem"], capture_output=True, text=True)
    return done.stdout + done.stderr


def test_openssl_knows_who_is_revoked(pki: Path, noon: datetime) -> None:
    assert verify(pki, "organisation", noon).endswith(": OK\n")
    revoke(pki, certificate(pki, "organisation"), noon)
    revoke(pki, certificate(pki, "server-rsa"), noon)
    revoke(pki, certificate(pki, "organisation"), noon)
    assert "certificate revoked" in verify(pki, "organisation", noon)
    assert "certificate revoked" in verify(pki, "server-rsa", noon)
    assert verify(pki, "server", noon).endswith(": OK\n")
    listed = x509.load_der_x509_crl(list_file(pki).read_bytes())
    assert len(list(listed)) == 2
    assert listed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 3


def test_only_what_the_authority_issued(pki: Path, noon: datetime, tmp_path: Path) -> None:
    before = list_file(pki).read_bytes()
    development.create(tmp_path / "other", "mss.example.test", noon)
    with pytest.raises(CryptoError, match="not issued by"):
        revoke(pki, certificate(tmp_path / "other", "organisation"), noon)
    assert list_file(pki).read_bytes() == before


def test_a_list_that_is_gone_is_said(pki: Path, noon: datetime) -> None:
    list_file(pki).write_bytes(b"junk")
    with pytest.raises(CryptoError, match="no revocation list"):
        revoke(pki, certificate(pki, "organisation"), noon)
