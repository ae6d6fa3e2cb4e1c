"""Two operators and messages too large to be pushed: held by the one, fetched by the other, whole in the mailbox."""

from __future__ import annotations

import json
import os
from base64 import encodebytes
from collections.abc import Iterator

import pytest

from crypto.pki import development
from crypto.smime.sign import sign_detached
from server.base import clock
from tests.durability.processes import kind_of, memory, tree
from tests.operators import HOSTS, Operators, arrived, free_port, operators
from tests.serving import ONE_WORKER, Served, caducee

OCTETS = 60 * 1000 * 1000
PASSING = ("submission", "sender", "relay")
ROOM_KIB = 200 * 1024


@pytest.fixture(scope="module")
def space() -> Iterator[Operators]:
    port = str(free_port(list(HOSTS.values())))
    with operators(
        environment={
            **ONE_WORKER,
            "CADUCEE_TRANSPORT__POINTER_BYTES": "2000000",
            "CADUCEE_TRANSPORT__MAX_MESSAGE_BYTES": "100000000",
            "CADUCEE_RELAY__HELD_PORT": port,
            "CADUCEE_SENDER__HELD_PORT": port,
        }
    ) as running:
        yield running


def signed(sender: Served, recipient: str, subject: str, octets: int) -> bytes:
    """A message of about so many octets, signed by its sender."""
    signer = development.signer(sender.home / "pki", sender.doctor, "Essai", "10000000017", clock.now())
    body = encodebytes(os.urandom(octets * 3 // 4)).replace(b"\n", b"\r\n")
    content = b"Content-Type: application/dicom\r\nContent-Transfer-Encoding: base64\r\n\r\n" + body
    headers = {
        "From": sender.doctor,
        "To": recipient,
        "Subject": subject,
        "Date": "Mon, 2 Mar 2026 12:00:00 +0100",
        "Message-ID": f"<{subject}@test>",
        "X-MSS-NIL": "12345",
    }
    return sign_detached(content, headers, signer, clock.now())


def workers(served: Served) -> dict[str, int]:
    """The most memory (KiB) that each worker which passes such a message on has had."""
    assert served.process is not None
    found = {pid: kind_of(command) for pid, command in tree(served.process.pid).items()}
    return {f"{served.domain} {kind}": memory(pid, "VmHWM") for pid, kind in found.items() if kind in PASSING}


def said(served: Served, role: str, event: str) -> list[dict[str, object]]:
    lines = (served.home / "log" / f"{role}.log").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line.get("event") == event]


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("first", "second", "octets"),
    [(0, 1, OCTETS), (1, 0, OCTETS // 10), pytest.param(1, 0, OCTETS, marks=pytest.mark.soak)],
)
def test_large_ones_pass_whole_both_ways(space: Operators, first: int, second: int, octets: int) -> None:
    sender, reader = space.caducees[first], space.caducees[second]
    subject = f"Scanner-{first}-{octets}"
    before = {line["held"] for line in said(sender, "relay", "held_fetched")}
    data = signed(sender, reader.doctor, subject, octets)
    with sender.submission(sender.doctor) as client:
        client.sendmail(sender.doctor, [reader.doctor, reader.pharmacy], data)
    there = arrived(space, reader, reader.doctor, subject)
    trace = there[: -len(data)]
    assert there.endswith(data)  # byte for byte below what the two operators wrote above it
    assert b"smime=pass" in trace
    assert trace.count(b"Received:") == 2
    assert b"with HTTPS" in trace
    with reader.imap(reader.pharmacy) as client:
        client.select(readonly=True)
        _, (numbers,) = client.search(None, "SUBJECT", subject)
        _, (size, *_) = client.fetch(numbers.decode(), "(RFC822.SIZE)")
        assert str(len(there)).encode() in size
    held = {line["held"] for line in said(sender, "relay", "held_fetched")} - before
    assert len(held) == 1  # once for all its recipients
    peaks = {role: peak for served in (sender, reader) for role, peak in workers(served).items()}
    assert max(peaks.values()) < ROOM_KIB, peaks  # a worker's memory does not follow the size
    told = caducee("trace", reader.doctor, home=reader.home)
    assert "message-fetched" in told
    assert "message-accepted" in told


def test_what_is_small_is_sent_as_ever(space: Operators) -> None:
    sender, reader = space.caducees
    before = len(said(sender, "relay", "held_fetched"))
    data = signed(sender, reader.doctor, "Petit", 100_000)
    with sender.submission(sender.doctor) as client:
        client.sendmail(sender.doctor, [reader.doctor], data)
    assert arrived(space, reader, reader.doctor, "Petit").endswith(data)
    assert len(said(sender, "relay", "held_fetched")) == before
