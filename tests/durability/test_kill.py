"""kill -9 of any process, at any moment, loses no message that got a 250 and shows none twice.

Clients send with retries, as every mail client does: the same bytes again after a lost connection or a 4xx. At the end
each message that was answered 250 stands in its mailbox exactly once, with one row in the trail. `make test` runs the
short form, `make soak` the full one.
"""

from __future__ import annotations

import asyncio
import imaplib
import os
import random
import re
import smtplib
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from server.db.embedded import EmbeddedPostgres
from tests.durability.processes import alive, kill, kind_of, tree
from tests.serving import PATIENT, PHARMACY, Served, caducee

KINDS = ["submission", "postmaster", "supervisor", "backend", "imap", "jobs", "web", "relay", "ldap"]
SENDERS = 6
GIVE_UP_SECONDS = 60  # one message: longer than any recovery
QUIET_SECONDS = 1.5  # longer than early_reply/ lets a reply run ahead: what is not shown after it was lost
EARLY = {"PYTHONPATH": str(Path(__file__).parent / "early_reply")}


class Sender:
    """Sends its share of the messages, each until it is accepted: from the doctor, to these in turn."""

    def __init__(
        self, served: Served, name: str, numbers: range, halt: threading.Event, recipients: Sequence[str] = ()
    ) -> None:
        self.accepted: list[str] = []
        self.domain = served.domain
        self._served, self._name, self._numbers, self._halt = served, name, numbers, halt
        self._recipients = recipients or (served.patient, served.pharmacy)
        self._client: smtplib.SMTP | None = None

    def run(self) -> None:
        for number in self._numbers:
            recipient = self._recipients[number % len(self._recipients)]
            message_id = f"<{self._name}.{number}@{self.domain}>"
            head = f"From: {self._served.doctor}\r\nTo: {recipient}\r\nSubject: {number}\r\n"
            text = f"{head}Message-ID: {message_id}\r\n\r\n"
            deadline = time.monotonic() + GIVE_UP_SECONDS
            while not self._send(recipient, text + "Bonjour.\r\n" * 40):
                if self._halt.wait(0.05):
                    return
                assert time.monotonic() < deadline, f"{message_id} was not accepted within {GIVE_UP_SECONDS} s"
            self.accepted.append(message_id)

    def _send(self, recipient: str, text: str) -> bool:
        """True: answered 250. False: try again. Any 5xx is an error of the server's."""
        try:
            if self._client is None:
                self._client = self._served.submission(self._served.doctor)
            self._client.sendmail(self._served.doctor, [recipient], text)
        except smtplib.SMTPRecipientsRefused as error:
            if any(code >= 500 for code, _ in error.recipients.values()):
                raise
        except smtplib.SMTPResponseException as error:
            if error.smtp_code >= 500:
                raise
        except (OSError, smtplib.SMTPException):  # also while ports.json is away
            pass
        else:
            return True
        if self._client is not None:
            self._client.close()
        self._client = None
        return False


def kill_all_along(served: Served, moments: random.Random, done: threading.Event, pause: float) -> Counter[str]:
    """Kill one process after another until `done`; a killed supervisor is started again. How many of each kind."""
    killed: Counter[str] = Counter()
    turn = 0
    while not done.wait(moments.uniform(0.3, 1.0) * pause):
        assert served.process is not None
        family = tree(served.process.pid)
        wanted = KINDS[turn % len(KINDS)]
        victims = sorted(pid for pid, command in family.items() if kind_of(command) == wanted)
        if wanted == "supervisor":
            victims = [served.process.pid]
        if not victims:
            continue  # killed a moment ago and not back yet
        turn += 1
        kill(moments.choice(victims))
        killed[wanted] += 1
        if wanted == "supervisor":
            served.process.wait()
            deadline = time.monotonic() + 10
            while orphans := [command for pid, command in family.items() if alive(pid)]:
                assert time.monotonic() < deadline, f"outlived the supervisor: {orphans}"
                time.sleep(0.05)
            served.start()
    return killed


def shown(served: Served, address: str) -> Counter[str]:
    """Message-IDs in a mailbox's INBOX, as an IMAP client sees them."""
    client: imaplib.IMAP4_SSL = served.imap(address)
    client.select("INBOX", readonly=True)
    _, data = client.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
    client.logout()
    return Counter(
        re.search(rb"<[^>]+>", item[1])[0].decode()  # type: ignore[index]
        for item in data
        if isinstance(item, tuple) and b"@" in item[1]
    )


def settled(served: Served) -> Counter[str]:
    """What both mailboxes show once nothing has changed for a while."""
    seen = shown(served, PHARMACY) + shown(served, PATIENT)
    while True:
        time.sleep(QUIET_SECONDS)
        now = shown(served, PHARMACY) + shown(served, PATIENT)
        if now == seen:
            return seen
        seen = now


def play(served: Served, messages: int, pause: float, kills: bool = True) -> tuple[list[str], Counter[str]]:
    """Send under kills; the ids of what was accepted, and how often each kind was killed."""
    served.start()
    halt, done = threading.Event(), threading.Event()
    senders = [Sender(served, f"s{n}", range(n, messages, SENDERS), halt) for n in range(SENDERS)]
    moments = random.Random(int(os.environ.get("CADUCEE_SEED", "7")))
    with ThreadPoolExecutor(SENDERS + 1) as threads:
        sending = [threads.submit(sender.run) for sender in senders]
        killing = threads.submit(kill_all_along, served, moments, done, pause) if kills else None
        try:
            for future in sending:
                while not future.done() and not (killing and killing.done()):
                    time.sleep(0.02)
                if killing and killing.done():
                    break
                future.result()
        finally:
            done.set()
            if killing and killing.exception():
                halt.set()
        killed = killing.result() if killing else Counter()
        for future in sending:
            future.result()
    served.wait_ready()
    return [message_id for sender in senders for message_id in sender.accepted], killed


async def trail_and_copies(home: Path) -> tuple[int, int]:
    """Rows of the trail that tell of an accepted copy, and copies."""
    connection = await asyncpg.connect(EmbeddedPostgres(home).dsn())
    try:
        return (
            await connection.fetchval("SELECT count(*) FROM audit WHERE kind = 'message-accepted'"),
            await connection.fetchval("SELECT count(*) FROM message"),
        )
    finally:
        await connection.close()


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="caducee-kill-") as place:
        served = Served(Path(place) / "home", getattr(request, "param", None))
        served.make()
        try:
            yield served
        finally:
            served.stop()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("messages", "pause", "kinds"),
    [
        pytest.param(1_000, 0.5, 3, id="short"),
        pytest.param(2_000, 0.5, len(KINDS), id="full", marks=pytest.mark.soak),
    ],
)
def test_a_kill_of_any_process_loses_nothing_and_doubles_nothing(
    served: Served, messages: int, pause: float, kinds: int
) -> None:
    accepted, killed = play(served, messages, pause)
    seen = settled(served)
    assert len(accepted) == messages
    assert [message_id for message_id in accepted if seen[message_id] == 0] == [], f"lost, after {killed}"
    assert [message_id for message_id, times in seen.items() if times > 1] == [], f"doubled, after {killed}"
    assert len(killed) >= kinds, killed
    told, copies = asyncio.run(trail_and_copies(served.home))
    assert told == copies == messages
    caducee("check", home=served.home)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kills", [True, False])
@pytest.mark.parametrize("served", [EARLY], indirect=True, ids=["commit-after-250"])
def test_the_same_test_finds_a_commit_that_comes_after_the_250(served: Served, kills: bool) -> None:
    """Under kills it sees losses; without them none, so it is the kills that it sees."""
    accepted, killed = play(served, 600, 0.2, kills)
    seen = settled(served)
    lost = [message_id for message_id in accepted if seen[message_id] == 0]
    assert bool(lost) is kills, f"{len(lost)} lost after {killed}"
