"""A whole Caducée as an operator runs it: made by `caducee init`, run by `caducee serve`, in processes of its own."""

from __future__ import annotations

import csv
import imaplib
import json
import os
import shutil
import signal
import smtplib
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CADUCEE = [sys.executable, "-m", "server.cli"]
REPOSITORY = Path(__file__).parent.parent
DOMAIN = "msg.exemple.fr"
PATIENT_DOMAIN = f"patient.{DOMAIN}"
DOCTOR = f"dr.martin@{DOMAIN}"
PHARMACY = f"pharmacie.centre@{DOMAIN}"
INS = "279035121518989"  # an official sample with a valid key (not a person)
PATIENT = f"{INS}@{PATIENT_DOMAIN}"
# Tests of load and of faults send from one mailbox what no person sends in an hour.
UNLIMITED = {"CADUCEE_SUBMISSION__MESSAGES_PER_HOUR": "0", "CADUCEE_SUBMISSION__RECIPIENTS_PER_HOUR": "0"}
# For tests that ask nothing of several …
PROVIDED = {
    "CADUCEE_RELAY__WORKERS": "1",
    "CADUCEE_SUBMISSION__WORKERS": "1",
    "CADUCEE_FACILITY__WORKERS": "1",
}
# … nor of an identity provider.
ONE_WORKER = PROVIDED | {
    "CADUCEE_PROVIDER__WORKERS": "0",
    "CADUCEE_IDENTITY__PROVIDERS": "{}",
    "CADUCEE_FACILITY__WORKERS": "0",
}
START_SECONDS = 60  # initdb and crash recovery on a loaded machine


def ended(*words: str, home: Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CADUCEE, *words],
        env=os.environ | {"CADUCEE_HOME": str(home)} | (environment or {}),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )


def caducee(*words: str, home: Path, environment: dict[str, str] | None = None) -> str:
    """Run one command to its end; its standard output. Raises AssertionError with what it said when it failed."""
    done = ended(*words, home=home, environment=environment)
    assert done.returncode == 0, f"caducee {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def refused(*words: str, home: Path, environment: dict[str, str] | None = None) -> str:
    """What a command says when it ends with status 1, and no traceback."""
    done = ended(*words, home=home, environment=environment)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


class Served:
    """One data directory and the `serve` that runs it."""

    def __init__(self, home: Path, environment: dict[str, str] | None = None, domain: str = DOMAIN) -> None:
        self.home = home
        self.domain = domain
        self.doctor = f"dr.martin@{domain}"
        self.pharmacy = f"pharmacie.centre@{domain}"
        self.patient = f"{INS}@patient.{domain}"
        self.passwords: dict[str, str] = {}
        self._environment = UNLIMITED | (environment or {})
        self.process: subprocess.Popen[bytes] | None = None

    def make(self, extra: list[list[str]] | None = None) -> None:
        """`caducee init`, the mailboxes of the main job, and `extra` ones (rows of the CSV that import reads).

        Made once a domain and process, then copied: that is six seconds of processor less each time.
        """
        if self.domain not in _made:
            kept = tempfile.TemporaryDirectory(prefix="caducee-made-")
            first = Served(Path(kept.name) / "home", domain=self.domain)
            caducee("init", str(first.home), "--domain", self.domain, home=first.home)
            first.add_mailboxes(
                [
                    [self.doctor, "PER", "Dr Aline MARTIN", "10000000017", "", ""],
                    [self.pharmacy, "ORG", "Pharmacie du Centre", "", "690000013", ""],
                    [self.patient, "PATIENT", "Zoé ESSAI", "", "", INS],
                ]
            )
            _made[self.domain] = (kept, first)
        first = _made[self.domain][1]
        shutil.copytree(first.home, self.home, ignore=shutil.ignore_patterns("run"), dirs_exist_ok=True)
        self.passwords |= first.passwords
        if extra:
            self.add_mailboxes(extra)

    def add_mailboxes(self, rows: list[list[str]]) -> None:
        source, secrets = self.home / "mailboxes.csv", self.home / f"passwords-{len(self.passwords)}.csv"
        with source.open("w", newline="") as file:
            csv.writer(file).writerows([["address", "type", "name", "rpps", "finess", "ins"], *rows])
        caducee("mailbox", "import", str(source), "--passwords", str(secrets), home=self.home)
        with secrets.open(newline="") as file:
            self.passwords |= {row["address"]: row["app_password"] for row in csv.DictReader(file)}
        source.unlink()
        secrets.unlink()

    def start(self) -> None:
        """Start `serve` and wait until every role answers."""
        (self.home / "run" / "ports.json").unlink(missing_ok=True)
        log = (self.home / "serve.log").open("ab")
        self.process = subprocess.Popen(
            [*CADUCEE, "serve"],
            env=os.environ | {"CADUCEE_HOME": str(self.home)} | self._environment,
            cwd=REPOSITORY,
            stdout=log,
            stderr=log,
        )
        log.close()
        deadline = time.monotonic() + START_SECONDS
        while not (self.home / "run" / "ports.json").exists():
            assert self.process.poll() is None, (self.home / "serve.log").read_text()[-3000:]
            assert time.monotonic() < deadline, (
                "serve did not come up: " + (self.home / "serve.log").read_text()[-3000:]
            )
            time.sleep(0.05)

    def stop(self) -> None:
        """SIGTERM, as an operator stops it; it must end well."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()  # its children die with it
                self.process.wait()
                raise
            assert status == 0, (self.home / "serve.log").read_text()[-3000:]

    def wait_ready(self) -> None:
        """Wait until a client can sign in again (a killed role is back within 2 s)."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.imap(self.doctor).logout()
                self.submission(self.doctor).quit()
            except (OSError, imaplib.IMAP4.error, smtplib.SMTPException):
                assert time.monotonic() < deadline, "serve did not come back"
                time.sleep(0.1)
            else:
                return

    @property
    def ports(self) -> dict[str, int]:
        """Raises FileNotFoundError while not every role answers."""
        return dict(json.loads((self.home / "run" / "ports.json").read_text()))

    def tls(self) -> ssl.SSLContext:
        """A client's context that trusts this instance's root, and checks the name."""
        return ssl.create_default_context(cafile=str(self.home / "pki" / "root.pem"))

    def submission(self, address: str) -> smtplib.SMTP:
        """A signed-in submission session, over STARTTLS."""
        client = smtplib.SMTP("localhost", self.ports["submission"], timeout=30)
        client.starttls(context=self.tls())
        client.login(address, self.passwords[address])
        return client

    def imap(self, address: str) -> imaplib.IMAP4_SSL:
        """A signed-in IMAP session, over TLS."""
        client = imaplib.IMAP4_SSL("localhost", self.ports["imap_tls"], ssl_context=self.tls(), timeout=30)
        client.login(address, self.passwords[address])
        return client


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[Served]:
    """A `Served` with the mailboxes of the main job, from when every role answers."""
    with tempfile.TemporaryDirectory(prefix="caducee-served-") as place:
        served = Served(Path(place) / "home", environment)
        served.make()
        served.start()
        try:
            yield served
        finally:
            served.stop()


_made: dict[str, tuple[tempfile.TemporaryDirectory[str], Served]] = {}  # by domain, until the process ends
