"""The main job, told and checked: a prescription goes from practice to pharmacy and patient, who writes back.

Every step is done by a program of the kind its person uses (smtplib, imaplib, Chromium where there is one) over real
sockets with TLS. Each claim is checked, and one that does not hold ends the story with status 1.
"""

from __future__ import annotations

import email
import email.policy
import email.utils
import hashlib
import imaplib
import json
import os
import re
import signal
import smtplib
import ssl
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from email.message import EmailMessage
from functools import partial
from pathlib import Path

import asyncpg

from crypto.pki import development
from crypto.smime.sign import sign_detached
from server.base import clock
from server.base.processes import die_with
from server.cli.common import err, out, run
from server.cli.demo import queries
from server.cli.demo.browser import Browser, BrowserError, find
from server.cli.demo.evidence import places_of
from server.cli.demo.extract import write_extract
from server.cli.demo.plain import Pages, PlainPages
from server.cli.demo.prescription import prescription_pdf
from server.cli.demo.signing_in import oauthbearer, sign_in, xoauth2
from server.db.credentials import SUPERUSER
from server.db.embedded import EmbeddedPostgres

DOMAIN = "msg.demo.test"
DOCTOR = f"aline.martin@{DOMAIN}"
SECRETARY = f"lou.petit@{DOMAIN}"
PHARMACY = f"pharmacie.centre@{DOMAIN}"
INS = "279035121518989"  # the référentiel's own example; nobody's number
PATIENT = f"{INS}@patient.{DOMAIN}"
RPPS = "10000000017"
SECRETARY_RPPS = "99000000051"
FINESS = "690000013"
SUBJECT = "Ordonnance du 24 novembre pour Zoé ESSAI"
ANSWER = "Merci docteur, la pharmacie a tout préparé."
CONTROL = "temoin-ecrit-en-clair-pour-verifier-la-recherche"
START_SECONDS = 120


class StepFailed(Exception):
    """A claim of the story does not hold."""


def play(home: Path | None, once: bool) -> int:
    """Play the story in `home` (a temporary folder when None); the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended either way, it ends its server in order
    with ExitStack() as stack:
        if home is None:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="caducee-demo-"))) / "home"
        try:
            _play(home.absolute(), once, stack)
        except (StepFailed, BrowserError, OSError) as failure:
            err.print(f"\n[bold red]The story ends here:[/] {failure}")
            return 1
        except KeyboardInterrupt:
            return 0
    return 0


def _play(home: Path, once: bool, stack: ExitStack) -> None:
    _chapter("1. A data directory, four mailboxes, a directory of professionals")
    caducee = _command(home)
    caducee("init", str(home), "--domain", DOMAIN)
    made = caducee("mailbox", "add", DOCTOR, "--type", "PER", "--name", "Dr Aline MARTIN", "--rpps", RPPS, "--json")
    doctors = json.loads(made)["owner_id"]
    caducee("mailbox", "add", SECRETARY, "--type", "PER", "--name", "Lou PETIT", "--rpps", SECRETARY_RPPS)
    until = f"{clock.now() + timedelta(days=30):%Y-%m-%d}"
    caducee("mailbox", "delegate", DOCTOR, "--to", SECRETARY, "--rights", "read", "--until", until)
    caducee("mailbox", "add", PHARMACY, "--type", "ORG", "--name", "Pharmacie du Centre", "--finess", FINESS)
    caducee("mailbox", "add", PATIENT, "--type", "PATIENT", "--name", "Zoé ESSAI", "--ins", INS)
    passwords = {address: caducee("mailbox", "app-password", address).split()[-1] for address in (DOCTOR, PHARMACY)}
    _told("mailboxes of a doctor, a secretary who may read for him, a pharmacy and a patient; app passwords for two")
    extract = write_extract(home, DOCTOR, RPPS, PHARMACY, FINESS)
    caducee("directory", "import", str(extract))
    found = json.loads(caducee("directory", "search", "pharmacie du centre", "lyon", "--json"))
    listed = [address for listing in found for _, address in listing["mailboxes"]]
    _check(PHARMACY in listed, f"the directory finds the pharmacy by its name and town: {listed}")
    stack.enter_context(_serving(home))
    ports: dict[str, int] = json.loads((home / "run" / "ports.json").read_text())
    _told("every role answers: " + ", ".join(f"{name} {port}" for name, port in ports.items()))
    tls = ssl.create_default_context(cafile=str(home / "pki" / "root.pem"))

    base = f"https://localhost:{ports['web']}"

    _chapter("2. The practice software signs a prescription and submits it (smtplib, STARTTLS, XOAUTH2)")
    token = caducee("identity", "token", RPPS).strip()
    _told("an access token of the development provider for the doctor, by CIBA; it counts for two minutes")
    pdf = prescription_pdf("Dr Aline MARTIN", "Zoé ESSAI", ["Paracétamol 1 g, 3 fois par jour pendant 5 jours"])
    message = _signed_prescription(home, pdf)
    with smtplib.SMTP("localhost", ports["submission"], timeout=30) as practice:
        practice.starttls(context=tls)
        practice.ehlo()
        practice.auth("XOAUTH2", lambda challenge=None: xoauth2(DOCTOR, token))
        refused = practice.sendmail(DOCTOR, [PHARMACY, PATIENT], message)
    with smtplib.SMTP("localhost", ports["submission"], timeout=30) as practice:
        practice.starttls(context=tls)
        practice.ehlo()
        code, _ = practice.auth("OAUTHBEARER", lambda challenge=None: oauthbearer(DOCTOR, token))
        _check(code == 235, "OAUTHBEARER signs in as well")
    _check(not refused, f"250 for the pharmacy and the patient: {len(message):,} octets, committed before the reply")

    _chapter("3. The pharmacy's software fetches it (imaplib, TLS)")
    received = _newest(ports, tls, PHARMACY, DOCTOR, lambda client: client.login(PHARMACY, passwords[PHARMACY]))
    verdict = str(received["Authentication-Results"])
    _check("smime=pass" in verdict, f"the signature is valid: {' '.join(verdict.split())}")
    parts = [part for part in received.walk() if part.get_content_type() == "application/pdf"]
    _check(len(parts) == 1 and parts[0].get_payload(decode=True) == pdf, "the PDF is the doctor's, to the last octet")

    _chapter("4. The patient finds it in the health record and writes back")
    with _pages(home) as (pages, who):
        _told(f"looked at with {who}")
        _read_and_answer(pages, base, pdf)

    _chapter("5. The doctor signs in at the identity provider and reads the answer")
    with _pages(home) as (pages, _):
        sign_in(pages, base, f"8{RPPS}")
        _check(
            "Aline MARTIN" in pages.text(), "signed in by the development provider; the doctor's messages are listed"
        )
        pages.click("a.message", SUBJECT)
        _check(ANSWER in pages.text(), "the patient's words are there")
    token = caducee("identity", "token", RPPS).strip()
    for mechanism, said in (("XOAUTH2", xoauth2(DOCTOR, token)), ("OAUTHBEARER", oauthbearer(DOCTOR, token))):
        answer = _newest(ports, tls, DOCTOR, PATIENT, partial(_by_token, mechanism, said.encode()))
    body = answer.get_body(("plain",))
    _check(
        body is not None and ANSWER in body.get_content(),
        "they have reached the doctor's software too (imaplib, XOAUTH2 and OAUTHBEARER)",
    )
    verdict = str(answer["Authentication-Results"])
    _check("smime=pass" in verdict, f"signed for the patient's mailbox, and valid: {' '.join(verdict.split())}")
    _check(bool(answer["In-Reply-To"]), "the answer refers to the prescription, so that it stands beside it")

    _chapter("6. A secretary acts for the doctor, under her own name")
    with _pages(home) as (pages, _):
        sign_in(pages, base, f"8{SECRETARY_RPPS}")
        _check("Mes boîtes" in pages.text(), "signed in; asked which mailbox to open")
        pages.click(f'button[value="{doctors}"]')
        pages.click("a.message", SUBJECT)
        _check(ANSWER in pages.text(), "she reads the answer in the doctor's mailbox")
    story = json.loads(caducee("trace", str(answer["Message-ID"]), "--reveal", "--json"))
    readers = {str(event.get("actor")) for event in story if event["event"] == "content-read"}
    _check({DOCTOR, SECRETARY} <= readers, f"the trail names who read it: {', '.join(sorted(readers))}")

    _chapter("7. What a thief of the disk would find")
    _search_the_disk(home, pdf, message)

    _chapter("8. The store proves its own invariants")
    _check("consistent" in caducee("check"), "caducee check finds nothing")
    out.print("\n[bold green]Every step held.[/]")
    if not once:
        _stay(home, ports, passwords)


def _signed_prescription(home: Path, pdf: bytes) -> bytes:
    """A message as practice software makes it: text and PDF, S/MIME-signed by the doctor (RFC 8551 §3.5)."""
    content = EmailMessage(policy=email.policy.SMTP)
    content.set_content("Bonjour,\n\nVoici l'ordonnance de Zoé ESSAI.\n\nDr Aline MARTIN\n")
    content.add_attachment(pdf, maintype="application", subtype="pdf", filename="ordonnance.pdf")
    signer = development.signer(home / "pki", DOCTOR, "Aline MARTIN", RPPS, clock.now())
    headers = {
        "From": f"Dr Aline MARTIN <{DOCTOR}>",
        "To": f"{PHARMACY}, {PATIENT}",
        "Subject": SUBJECT,
        "Message-ID": email.utils.make_msgid("ordonnance", DOMAIN),
        "Date": email.utils.format_datetime(clock.now()),
    }
    return sign_detached(content.as_bytes(), headers, signer, clock.now())


def _by_token(mechanism: str, said: bytes, client: imaplib.IMAP4) -> None:
    client.authenticate(mechanism, lambda _: said)


def _newest(
    ports: dict[str, int], tls: ssl.SSLContext, address: str, sender: str, sign_in: Callable[[imaplib.IMAP4], object]
) -> EmailMessage:
    """The last message of the INBOX from a sender, by IMAP."""
    with imaplib.IMAP4_SSL("localhost", ports["imap_tls"], ssl_context=tls, timeout=30) as client:
        sign_in(client)
        client.select("INBOX")
        _, found = client.uid("SEARCH", "FROM", sender)
        _check(bool(found[0]), f"{address.partition('@')[0]} has the message")
        _, data = client.uid("FETCH", found[0].split()[-1].decode(), "(BODY.PEEK[])")
    return email.message_from_bytes(data[0][1], policy=email.policy.default)


def _read_and_answer(pages: Pages, base: str, pdf: bytes) -> None:
    pages.open(base + "/")
    pages.fill("#adresse", PATIENT)
    pages.click("#connexion button")
    _check(SUBJECT in pages.text(), "signed in; the message is listed")
    pages.click("a.message", SUBJECT)
    _check("Signature valide" in pages.text() and "Aline MARTIN" in pages.text(), "the signer is named, and valid")
    same = pages.fetch_sha256(pages.attribute("a.piece", "href")) == hashlib.sha256(pdf).hexdigest()
    _check(same, "the PDF opens, and is the doctor's to the last octet")
    pages.click("a.repondre")
    pages.fill("#texte", ANSWER)
    pages.click("#reponse button")
    _check("Votre réponse est envoyée" in pages.text(), "the answer is sent", f"in: {pages.text()[:300]}")
    for _ in range(100):  # intake runs after the delivery, in another process
        pages.open(base + "/dossier")
        if "ordonnance" in pages.text():
            break
        time.sleep(0.1)
    _check("ordonnance" in pages.text(), "the prescription is filed among the documents of the record")


def _search_the_disk(home: Path, pdf: bytes, message: bytes) -> None:
    """After a CHECKPOINT, look for the message in data, WAL and logs; a row in clear shows that looking finds."""

    async def write_control() -> None:
        connection = await asyncpg.connect(EmbeddedPostgres(home).dsn(SUPERUSER))
        try:
            await connection.execute(queries.WRITE_CONTROL.format(control=CONTROL))
            await connection.execute(queries.FLUSH)
        finally:
            await connection.close()

    run(write_control())
    line = 8 * 76  # RFC 2045 §6.8: base64 stands in lines of 76, so a needle must lie within one
    sent = {
        "the subject as sent": re.search(rb"Subject: (\S+)", message)[1],  # type: ignore[index]
        "base64 of the PDF": b64encode(pdf)[line : line + 70],
        "base64 of the signature": message[-200:-160],
    }
    _check(all(needle in message for needle in sent.values()), "what is looked for does stand in the message")
    needles = sent | {
        "the control row": CONTROL.encode(),
        "the subject": SUBJECT.encode(),
        "the patient's name": "Zoé ESSAI".encode(),
        "the patient's number": INS.encode(),
        "octets of the PDF": pdf[40:120],
        "the answer": ANSWER.encode(),
    }
    places = places_of(needles, home / "pg", home / "log", home / "run")
    _check(bool(places.pop("the control row")), "the control row, written in clear, is found")
    for name, files in places.items():
        _check(not files, f"{name}: found nowhere in data, WAL and logs", f"in {files}")


def _stay(home: Path, ports: dict[str, int], passwords: dict[str, str]) -> None:
    out.print(f"\nStill running, to explore. Trust {home / 'pki' / 'root.pem'} to be spared warnings.", markup=False)
    out.print(f"  Health record   https://localhost:{ports['web']}   sign in as {PATIENT}", markup=False)
    for address, password in passwords.items():
        out.print(
            f"  Mail            {address}   password {password}   "
            f"IMAP localhost:{ports['imap_tls']} (TLS)   submission localhost:{ports['submission']} (STARTTLS)",
            markup=False,
        )
    out.print(
        f"  Professionals   https://localhost:{ports['web']}   sign in as anybody: caducee identity people",
        markup=False,
    )
    out.print(f"  Command line    .venv/bin/caducee doctor --home {home}", markup=False)
    out.print("Ctrl-C ends it.", markup=False)
    signal.pause()


def _command(home: Path) -> Callable[..., str]:
    """`caducee` as an operator types it; ends the story with what it said when it fails."""

    def caducee(*words: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "server.cli", *words],
            env=os.environ | {"CADUCEE_HOME": str(home)},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise StepFailed(f"caducee {words[0]} failed: {done.stdout}{done.stderr}")
        return done.stdout

    return caducee


@contextmanager
def _serving(home: Path) -> Iterator[None]:
    """`caducee serve`, from when every role answers until the story is over."""
    log = home / "log"
    log.mkdir(mode=0o700, exist_ok=True)
    story = os.getpid()
    with (log / "serve.log").open("wb") as said:
        server = subprocess.Popen(
            [sys.executable, "-m", "server.cli", "serve"],
            env=os.environ | {"CADUCEE_HOME": str(home)},
            stdout=said,
            stderr=said,
            start_new_session=True,  # Ctrl-C is for the story, which then ends the server in order
            preexec_fn=lambda: die_with(story),
        )
    try:
        for _ in range(START_SECONDS * 20):
            if (home / "run" / "ports.json").exists():
                break
            if server.poll() is not None:
                raise StepFailed(f"caducee serve ended: {(log / 'serve.log').read_text()[-2000:]}")
            time.sleep(0.05)
        else:
            raise StepFailed(f"the server did not come up within {START_SECONDS} s")
        yield
    finally:
        server.terminate()
        server.wait()


@contextmanager
def _pages(home: Path) -> Iterator[tuple[Pages, str]]:
    program = find()
    if program:
        with Browser(program, home / "pki" / "server.pem") as browser:
            yield browser, "Chromium"
    else:
        with PlainPages(home / "pki" / "root.pem") as pages:
            yield pages, "plain HTTP, since there is no Chromium here"


def _chapter(title: str) -> None:
    out.print(f"\n[bold]{title}[/]")


def _told(sentence: str) -> None:
    out.print(f"   {sentence}", markup=False)


def _check(holds: bool, claim: str, otherwise: str = "") -> None:
    if not holds:
        raise StepFailed(f"this does not hold: {claim} {otherwise}")
    out.print("   [green]✓[/] ", end="")
    out.print(claim, markup=False)
