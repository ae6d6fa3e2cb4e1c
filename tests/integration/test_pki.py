"""`caducee pki` as a small operator uses it, and what the sealed role serves to programs of others: openssl, curl."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from server.cli.main import app
from server.db.embedded import EmbeddedPostgres
from tests.integration.test_roles import ROOT, SECONDS
from tests.operators import free_port
from tests.serving import caducee

URL = "http://pki.exemple.fr"


def said(home: Path, *words: str) -> Result:
    """What the command comes to, in this process: these commands ask no database."""
    environment = {"CADUCEE_HOME": str(home), "CADUCEE_LDAP__PKI_URL": URL}
    return CliRunner().invoke(app, ["pki", *words], env=environment)


def pki(home: Path, *words: str) -> Any:
    done = said(home, *words, "--json")
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def test_certificates_are_issued_once_renewed_and_listed(home: Path) -> None:
    words = ("issue", "server", "mail.exemple.fr", "--host", "imap.exemple.fr")
    made = pki(home, *words)
    assert made["made"] is True
    assert pki(home, *words)["made"] is False
    certificate = Path(made["certificate"])
    text = openssl("x509", "-in", str(certificate), "-noout", "-text")
    for wanted in ("DNS:imap.exemple.fr", f"{URL}/root.crl", f"OCSP - URI:{URL}/ocsp"):
        assert wanted in text
    openssl("verify", "-CAfile", str(home / "pki" / "root.pem"), str(certificate))
    before = certificate.read_bytes()
    assert pki(home, "renew", str(certificate))["renewed"] == [str(certificate)]
    assert certificate.read_bytes() != before
    openssl("verify", "-CAfile", str(home / "pki" / "root.pem"), str(certificate))
    pki(home, "revoke", str(certificate), "--reason", "superseded")
    rows = {row["file"]: row["revoked"] for row in pki(home, "list")}
    assert rows["issued/server-mail.exemple.fr.pem"] is True
    assert rows["server.pem"] is False
    assert pki(home, *words)["made"] is True  # in the place of one that is revoked
    assert "--mail" in str(said(home, "issue", "smime", "Dr A").exception)
    assert "no profile" in str(said(home, "issue", "root", "X").exception)


def openssl(*words: str) -> str:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
async def test_others_ask_the_sealed_role_for_list_and_standing(home: Path, tmp_path: Path) -> None:
    caducee("pki", "publish", home=home)
    port = free_port(["127.0.0.1"])
    environment = os.environ | {"CADUCEE_LDAP__PKI_PORT": str(port)}
    root, leaf = home / "pki" / "root.pem", home / "pki" / "organisation.pem"
    command = [sys.executable, "-m", "server.roles", "ldap", "--home", str(home)]
    async with EmbeddedPostgres(home):
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment)
        try:
            assert process.stderr is not None
            assert '"serving"' in process.stderr.readline()
            base = f"http://127.0.0.1:{port}"

            def asked(*words: str) -> str:
                issuer = ("-issuer", str(root), "-CAfile", str(root), "-cert", str(leaf))
                return openssl("ocsp", *issuer, "-url", f"{base}/ocsp", *words)

            for told in (asked(), asked("-no_nonce")):  # with a nonce, and as RFC 5019 has it
                assert "Response verify OK" in told
                assert f"{leaf}: good" in told
            assert "no nonce" not in asked()
            caducee("pki", "revoke", str(leaf), "--reason", "keyCompromise", home=home)
            assert "keyCompromise" in asked()  # the sealed process reads what was written since
            crl = tmp_path / "root.crl"
            subprocess.run(["curl", "-sf", "-o", str(crl), f"{base}/root.crl"], check=True)
            listed = openssl("crl", "-in", str(crl), "-inform", "DER", "-CAfile", str(root), "-noout", "-text")
            assert "Key Compromise" in listed
            for path, status in (("/nothing", "404"), ("/ocsp/!!", "200"), ("/root.cer", "200")):
                code = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", f"{base}{path}"]
                assert subprocess.run(code, capture_output=True, text=True).stdout == status
            large = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", "--data-binary", "x" * 5_000, f"{base}/ocsp"]
            assert subprocess.run(large, capture_output=True, text=True).stdout == "413"
        finally:
            process.terminate()
            process.communicate(timeout=SECONDS)
