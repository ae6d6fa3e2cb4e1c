"""Large messages before real processes: a worker's memory does not follow their size, no death leaves half of one."""

from __future__ import annotations

import smtplib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto.pki import development
from crypto.smime.sign import sign_detached
from server.base import clock
from server.mail.content import octets
from tests.durability.processes import kill, kind_of, memory, tree
from tests.serving import DOCTOR, PHARMACY, START_SECONDS, Served, caducee

MEGABYTE = 1_000_000
# What a message past 1 MiB may take of its worker, whatever its size: limits.LARGE_MESSAGE_BYTES, and what the
# allocator keeps besides.
ROOM_KIB = 10 * 1024
IMAP_ROOM_KIB = 16 * 1024  # and on the way out a piece that is read, one that is opened, gathered, written
ENTITY = b"Content-Type: image/png; name=radio.png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
LINE = b"iVBORw0KGgoAAAANSUhEUgAABAAAAAQACAYAAAB/HSuDAAAACXBIWXMAAAsTAAALEwEAmpwYAA\r\n"
LARGEST = {
    "CADUCEE_TRANSPORT__MAX_MESSAGE_BYTES": str(256 * 1024 * 1024),
    "CADUCEE_SUBMISSION__WORKERS": "1",  # those that are watched
    "CADUCEE_IMAP__WORKERS": "1",
}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="caducee-large-") as place:
        served = Served(Path(place) / "home", LARGEST)
        served.make()
        served.start()
        try:
            yield served
            caducee("check", home=served.home)
        finally:
            served.stop()


def processes(served: Served, kind: str) -> list[int]:
    assert served.process is not None
    return [pid for pid, command in tree(served.process.pid).items() if kind_of(command) == kind]


def message(number: int, size: int) -> bytes:
    header = f"From: {DOCTOR}\r\nTo: {PHARMACY}\r\nSubject: {number}\r\nMessage-ID: <{number}@large.example>\r\n"
    return header.encode() + ENTITY + LINE * (size // len(LINE))


def shown(served: Served) -> dict[str, int]:
    """Subject → uid in the pharmacy's INBOX; none may stand there twice."""
    client = served.imap(PHARMACY)
    client.select("INBOX", readonly=True)
    _, data = client.uid("FETCH", "1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    client.logout()
    found = [
        (item[1].split(b":")[1].strip().decode(), int(item[0].split(b"UID ")[1].split()[0]))
        for item in data
        if isinstance(item, tuple)
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


def fetched(served: Served, subject: str) -> bytes:
    """A message whole, by IMAP."""
    client = served.imap(PHARMACY)
    client.select("INBOX", readonly=True)
    _, data = client.uid("FETCH", str(shown(served)[subject]), "(BODY.PEEK[])")
    client.logout()
    assert isinstance(data[0], tuple)
    return data[0][1]


def send(served: Served, data: bytes) -> None:
    client = served.submission(DOCTOR)
    client.sendmail(DOCTOR, [PHARMACY], data)
    client.quit()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("megabytes", [25, pytest.param(200, marks=pytest.mark.soak)])
def test_memory_does_not_follow_the_size(served: Served, megabytes: int) -> None:
    (worker,) = processes(served, "submission")
    send(served, message(megabytes * 10, 100_000))  # what the first message of a process makes it load
    before = memory(worker, "VmRSS")
    data = message(megabytes, megabytes * MEGABYTE)
    send(served, data)
    assert memory(worker, "VmHWM") - before < ROOM_KIB
    assert fetched(served, str(megabytes)).endswith(data)


@pytest.mark.timeout(600)
def test_memory_of_imap_does_not_follow_the_size(served: Served) -> None:
    (worker,) = processes(served, "imap")
    client = served.imap(PHARMACY)

    def there_and_back(data: bytes) -> None:
        assert client.append("Drafts", None, None, data)[0] == "OK"
        client.select("Drafts", readonly=True)
        for item in ("BODY.PEEK[]", "BINARY.PEEK[1]"):
            _, found = client.fetch("*", f"({item})")
            assert isinstance(found[0], tuple)
            assert found[0][1] == (data if item == "BODY.PEEK[]" else octets(data[data.index(LINE) :], "base64"))

    there_and_back(message(1, 100_000))
    before = memory(worker, "VmRSS")
    there_and_back(message(2, 25 * MEGABYTE))
    assert memory(worker, "VmHWM") - before < IMAP_ROOM_KIB
    client.logout()


@pytest.mark.timeout(300)
def test_a_signed_message_of_25_megabytes_and_one_that_was_changed(served: Served) -> None:
    signer = development.signer(served.home / "pki", DOCTOR, "Aline MARTIN", "10000000017", clock.now())
    for subject, changed, expected in (("signed", False, b"smime=pass"), ("changed", True, b"smime=fail")):
        headers = {"From": DOCTOR, "To": PHARMACY, "Subject": subject, "Message-ID": f"<{subject}@large.example>"}
        data = bytearray(sign_detached(ENTITY + LINE * (25 * MEGABYTE // len(LINE)), headers, signer, clock.now()))
        if changed:
            data[20 * MEGABYTE // len(LINE) * len(LINE) + 20] ^= 1
        send(served, bytes(data))
        found = fetched(served, subject)
        assert found.endswith(data[data.index(b"Content-Type: ") :])
        assert expected in found[: found.index(b"\r\nFrom: ")]


def begin(served: Served, data: bytes) -> smtplib.SMTP:
    """Half of a message by DATA."""
    client = served.submission(DOCTOR)
    client.docmd("MAIL", f"FROM:<{DOCTOR}>")
    client.docmd("RCPT", f"TO:<{PHARMACY}>")
    client.docmd("DATA")
    client.send(data[: len(data) // 2])
    return client


def send_until_taken(served: Served, data: bytes) -> None:
    """As a mail client does: again after a lost connection or a temporary refusal, and never after a 5xx."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            send(served, data)
        except (OSError, smtplib.SMTPException) as error:
            if getattr(error, "smtp_code", 400) >= 500 or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


@pytest.mark.timeout(300)
def test_a_killed_worker_leaves_no_half(served: Served) -> None:
    data = message(7, 20 * MEGABYTE)
    client = begin(served, data)
    (worker,) = processes(served, "submission")
    kill(worker)
    with pytest.raises((OSError, smtplib.SMTPException)):
        client.data(data)
    assert "7" not in shown(served)
    send_until_taken(served, data)
    assert fetched(served, "7").endswith(data)


@pytest.mark.timeout(300)
def test_a_database_that_restarts_in_the_middle_is_told_as_temporary(served: Served) -> None:
    data = message(8, 20 * MEGABYTE)
    client = begin(served, data)
    (postmaster,) = processes(served, "postmaster")
    kill(postmaster)
    client.send(data[len(data) // 2 :] + b".\r\n")
    code, _ = client.getreply()
    assert code == 451
    client.close()
    served.wait_ready()
    assert "8" not in shown(served)
    send_until_taken(served, data)
    assert fetched(served, "8").endswith(data)
