"""No INS, subject, name or password in any log, after a run with all that is usual and much that goes wrong."""

from __future__ import annotations

import base64
import contextlib
import imaplib
import smtplib
import socket
from pathlib import Path

import pytest

from server.cli.demo.evidence import places_of
from server.cli.demo.plain import PlainPages
from server.cli.demo.signing_in import sign_in
from tests.durability.processes import kill, kind_of, tree
from tests.serving import DOCTOR, INS, PATIENT, PATIENT_DOMAIN, PHARMACY, Served, caducee

RPPS = "10000000017"  # the doctor's
OTHER_INS = "162018885045327"  # an official sample too; has no mailbox here
SUBJECT = "Ordonnance-tres-confidentielle"
BODY = "Traitement-tres-confidentiel"
WRONG = "mot-de-passe-faux-mais-secret"


@pytest.fixture(scope="module")
def running(provided: Served) -> Served:
    """With the development provider."""
    return provided


def write(served: Served) -> None:
    message = f"From: {DOCTOR}\r\nTo: {PATIENT}\r\nSubject: {SUBJECT}\r\n\r\n{BODY}\r\n"
    with served.submission(DOCTOR) as client:
        client.sendmail(DOCTOR, [PATIENT, PHARMACY], message)
        for recipient in (f"{OTHER_INS}@{PATIENT_DOMAIN}", f"{OTHER_INS}@autre.example", f'"{OTHER_INS}\x1b'):
            with contextlib.suppress(smtplib.SMTPException):
                client.sendmail(DOCTOR, [recipient], message)
        with contextlib.suppress(smtplib.SMTPException):
            client.sendmail(PATIENT, [PHARMACY], message)  # a sender that is not the doctor's
        with contextlib.suppress(smtplib.SMTPException):
            client.sendmail(DOCTOR, [PATIENT], message.replace(DOCTOR, PATIENT))
        client.docmd("VRFY", PATIENT)
        client.docmd(f"NONSENSE {INS}")


def sign_in_wrongly(served: Served) -> None:
    for address in (PATIENT, f"{OTHER_INS}@{PATIENT_DOMAIN}"):
        with smtplib.SMTP("localhost", served.ports["submission"], timeout=30) as client:
            client.starttls(context=served.tls())
            with contextlib.suppress(smtplib.SMTPException):
                client.login(address, WRONG)
            for mechanism, said in (
                ("XOAUTH2", f"user={address}\1auth=Bearer {WRONG}\1\1"),
                ("OAUTHBEARER", f"n,a={address},\1auth=Bearer {WRONG}\1\1"),
                ("PLAIN", f"{PATIENT}\0{address}\0{WRONG}"),
                ("PLAIN", f"{PATIENT}\0{WRONG}"),
            ):
                client.docmd("AUTH", f"{mechanism} {base64.b64encode(said.encode()).decode()}")
                client.docmd("")
        with (
            imaplib.IMAP4_SSL("localhost", served.ports["imap_tls"], ssl_context=served.tls(), timeout=30) as reader,
            contextlib.suppress(imaplib.IMAP4.error),
        ):
            reader.login(address, WRONG)
        with (
            imaplib.IMAP4_SSL("localhost", served.ports["imap_tls"], ssl_context=served.tls(), timeout=30) as reader,
            contextlib.suppress(imaplib.IMAP4.error),
        ):
            reader.authenticate("XOAUTH2", lambda challenge, said=address: token(said, WRONG))


def sign_in_by_token(served: Served, value: str) -> None:
    with imaplib.IMAP4_SSL("localhost", served.ports["imap_tls"], ssl_context=served.tls(), timeout=30) as reader:
        reader.authenticate("XOAUTH2", lambda challenge: token(DOCTOR, value))


def token(address: str, value: str) -> bytes:
    return f"user={address}\1auth=Bearer {value}\1\1".encode()


def read(served: Served) -> None:
    with served.imap(PATIENT) as client:
        client.select("INBOX")
        client.uid("SEARCH", "SUBJECT", SUBJECT)
        client.uid("FETCH", "1:*", "(ENVELOPE BODY[])")
        client.create(f"Dossier-{INS}")
        with contextlib.suppress(imaplib.IMAP4.error):
            client.select(f"Absent-{INS}")
    with PlainPages(served.home / "pki" / "root.pem") as pages:
        sign_in(pages, f"https://localhost:{served.ports['web']}", f"8{RPPS}")
    with PlainPages(served.home / "pki" / "root.pem") as pages:
        pages.open(f"https://localhost:{served.ports['web']}/")
        pages.fill("#adresse", PATIENT)
        pages.click("#connexion button")
        pages.click("a.message")
        assert BODY in pages.text()
        with contextlib.suppress(OSError):
            pages.open(f"https://localhost:{served.ports['web']}/messages/{INS}")
    for name in ("submission", "imap", "web", "ldap"):
        with socket.create_connection(("localhost", served.ports[name])) as raw:
            raw.sendall(f"{INS}\r\n\0{SUBJECT}\r\n\r\n".encode())


def test_no_log_tells_of_a_person(running: Served) -> None:
    token_ = caducee("identity", "token", DOCTOR, home=running.home).strip()
    write(running)
    sign_in_wrongly(running)
    sign_in_by_token(running, token_)
    read(running)
    assert running.process is not None
    for pid, command in tree(running.process.pid).items():
        if kind_of(command) == "postmaster":
            kill(pid)  # and what the roles say when their database is away
    with contextlib.suppress(OSError, smtplib.SMTPException):
        write(running)
    running.wait_ready()
    marker = running.home / "log" / "control"
    marker.write_text(SUBJECT)
    needles = {
        "the control": SUBJECT.encode(),
        "an INS": INS.encode(),
        "a national identifier": RPPS.encode(),
        "an unknown INS": OTHER_INS.encode(),
        "the body": BODY.encode(),
        "a wrong password": WRONG.encode(),
        "a right password": running.passwords[DOCTOR].encode(),
        "a token": token_.encode(),
        "a name": b"ESSAI",
        "a traceback": b"Traceback",
    }
    places = places_of(needles, running.home / "log", running.home / "run")
    serve = {"the serve log": (running.home / "serve.log").read_bytes()}
    assert [Path(place).name for place in places.pop("the control")] == ["control"]
    assert {name: files for name, files in places.items() if files} == {}
    assert [name for name, needle in needles.items() if needle in serve["the serve log"]] == []
