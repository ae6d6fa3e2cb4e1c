"""A doctor's software at work on a Caducée that serves, the patient's page, and the telephone of a pharmacy."""

from __future__ import annotations

import json
import re
import subprocess
import time
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from crypto.pki import development
from crypto.pki.issue import Issued
from server.base import clock
from tests.documents import altered, card, document, openssl_stamps, stamper, stamping_server
from tests.programs import need
from tests.serving import DOCTOR, PATIENT, PHARMACY, START_SECONDS, Served, caducee, refused


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    (tmp_path / "plain.pdf").write_bytes(document())
    return tmp_path / "plain.pdf"


def signer(home: Path) -> tuple[Issued, list[str]]:
    """The doctor's certificate and key, and how the command is told of them."""
    issued = development.signer(home / "pki", DOCTOR, "Aline MARTIN", "10000000017", clock.now())
    (certificate,) = (home / "pki" / "smime").glob(f"{DOCTOR}*.pem")
    return issued, ["--certificate", str(certificate), "--key", str(certificate.with_suffix(".key"))]


def scanned(pdf: Path) -> str:
    """What a telephone reads on the first page."""
    subprocess.run([need("pdftoppm"), "-r", "150", "-png", "-singlefile", pdf, pdf.with_suffix("")], check=True)
    read = subprocess.run(
        [need("zbarimg"), "--quiet", "--raw", pdf.with_suffix(".png")], capture_output=True, check=True
    )
    return read.stdout.decode().strip()


def signed_in(running: Served, address: str) -> httpx.Client:
    browser = httpx.Client(
        base_url=f"https://localhost:{running.ports['web']}", verify=running.tls(), headers={"Accept": "text/html"}
    )
    token = re.search(r'name="jeton" value="([0-9a-f]{64})"', browser.get("/").text)
    assert token
    assert browser.post("/connexion", data={"jeton": token[1], "adresse": address}).status_code == 303
    return browser


def test_signed_sent_scanned_and_withdrawn(running: Served, plain: Path, tmp_path: Path) -> None:
    issued, key = signer(running.home)
    reply = openssl_stamps(tmp_path, stamper(Issued.load(running.home / "pki", "root"), clock.now()))
    done = tmp_path / "ordonnance.pdf"
    with stamping_server(reply) as url:
        stamps = {"CADUCEE_PRESCRIPTION__TIMESTAMP_URL": url}
        caducee("trust", "refresh", home=running.home)
        words = ["prescription", "sign", str(plain), "--mailbox", DOCTOR, "--patient", PATIENT, "-o", str(done)]
        answer = caducee(*words, *key, "--level", "B-LT", "--json", home=running.home, environment=stamps)
        made = json.loads(answer)
        with card(tmp_path / "card", issued, "CPS", "signature", "1234") as module:
            by_card = ["--module", str(module), "--token", "CPS", "--label", "signature", "--pin", "1234"]
            other = tmp_path / "by-card.pdf"
            words[words.index(str(done))] = str(other)
            assert "B-T" in caducee(*words, *by_card, "--level", "B-T", home=running.home, environment=stamps)
            assert "PinIncorrect" in refused(
                *words, *by_card[:-1], "9999", "--level", "B-T", home=running.home, environment=stamps
            )
    assert made["verdict"]["level"] == "B-LT"
    assert "Signature is Valid" in subprocess.run([need("pdfsig"), done], capture_output=True, text=True).stdout
    assert caducee("prescription", "verify", str(done), home=running.home).startswith(
        "passed, valid, B-LT, Aline MARTIN"
    )
    assert "passed" in caducee("prescription", "verify", str(other), home=running.home)
    (tmp_path / "altered.pdf").write_bytes(altered(done.read_bytes()))
    assert "Not every" in refused("prescription", "verify", str(tmp_path / "altered.pdf"), home=running.home)
    assert "not signed" in refused("prescription", "verify", str(plain), home=running.home)
    # The code on the paper leads to the page, and names nobody.
    assert scanned(done) == made["url"]
    assert made["url"].startswith(f"https://{running.domain}/ordonnances/")
    path = made["url"].partition(running.domain)[2]
    assert "Document signé" in signed_in(running, PHARMACY).get(path).text
    listed = caducee("prescription", "list", DOCTOR, home=running.home)
    assert made["number"] in listed
    assert made["code"] not in listed
    caducee("prescription", "withdraw", made["number"], home=running.home)
    assert "withdrawn before" in refused("prescription", "withdraw", made["number"], home=running.home)
    assert "Annulée" in signed_in(running, PHARMACY).get(path).text
    told = caducee("trace", DOCTOR, home=running.home)
    assert {"prescription-made", "prescription-read", "prescription-withdrawn"} <= set(
        re.findall(r"prescription-\w+", told)
    )
    # What the sealed processes find: the jobs for the patient, the pages for the pharmacy.
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = DOCTOR, f"{PATIENT}, {PHARMACY}", "Votre ordonnance"
    message.set_content("Bonjour.")
    message.add_attachment(done.read_bytes(), maintype="application", subtype="pdf", filename="ordonnance.pdf")
    with running.submission(DOCTOR) as client:
        client.send_message(message)
    patient = signed_in(running, PATIENT)
    deadline = time.monotonic() + START_SECONDS
    while "Document signé" not in (record := patient.get("/dossier").text):
        assert time.monotonic() < deadline, record
        time.sleep(0.2)
    pharmacy = signed_in(running, PHARMACY)
    (newest,) = re.findall(r'href="(/messages/1/\d+)"', pharmacy.get("/messages").text)[:1]
    page = pharmacy.get(newest).text
    assert "Document signé" in page
    assert "Signé avant le" in page


def test_what_cannot_be_signed(running: Served, plain: Path, tmp_path: Path) -> None:
    _, key = signer(running.home)
    words = ["prescription", "sign", str(plain), "--mailbox", DOCTOR, "-o", str(tmp_path / "out.pdf")]
    assert "--certificate" in refused(*words, home=running.home)
    assert "timestamp_url" in refused(*words, *key, "--level", "B-T", home=running.home)
    away = {"CADUCEE_PRESCRIPTION__TIMESTAMP_URL": "http://127.0.0.1:9"}
    assert "reached" in refused(*words, *key, "--level", "B-T", home=running.home, environment=away)
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    words[2] = str(tmp_path / "broken.pdf")
    assert "written to" in refused(*words, *key, home=running.home)
    development.create(tmp_path / "stranger", "autre.example", clock.now())
    development.signer(tmp_path / "stranger", DOCTOR, "Aline MARTIN", "10000000017", clock.now())
    (other,) = (tmp_path / "stranger" / "smime").glob("*.pem")
    words[2] = str(plain)
    strange = ["--certificate", str(other), "--key", str(other.with_suffix(".key"))]
    assert "untrusted" in refused(*words, *strange, home=running.home)
    assert not (tmp_path / "out.pdf").exists()
