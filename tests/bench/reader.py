"""Readers of mail over TLS: a blocking IMAP client that costs little itself, and the work that it gives a server.

The peer and ours get the same octets. What the client spends comes on top of both, so it is kept small; clients that
poll at the same time are processes of their own.
"""

from __future__ import annotations

import itertools
import multiprocessing
import random
import re
import socket
import time
from collections.abc import Callable, Iterator

from tests.bench.generator import Target, tls
from tests.bench.meter import cpu_seconds

TLS = tls()
POLL_BATCH = 5  # new messages whose structure a poll cycle fetches
BOX = b"BigBox"
FILL = 100  # messages in one MULTIAPPEND, or on their way at a time
WORDS = ["patient", "résultat", "biologie", "ordonnance", "courrier", "consultation", "imagerie", "clinique", "suivi"]
RARE = "aiguilledanslefoin"
DAYS = 720
NEWEST = 1_790_000_000  # fixed, so that what SINCE finds does not move between runs


class Client:
    """One signed-in connection."""

    def __init__(self, target: Target, user: int) -> None:
        self._socket = TLS.wrap_socket(socket.create_connection(("127.0.0.1", target.imaps_port)))
        self._tags = itertools.count(1)
        self._rest = b""
        self._until(lambda seen: seen.endswith(b"\r\n"))
        name, password, _ = target.users[user]
        self.ask(f'LOGIN "{name}" "{password}"'.encode())

    def ask(self, command: bytes) -> bytes:
        """Send a command and read up to its tagged answer. Raises RuntimeError when that is not OK."""
        tag = b"t%d" % next(self._tags)
        self._socket.sendall(tag + b" " + command + b"\r\n")
        return self.answer(tag, command)

    def send(self, data: bytes) -> bytes:
        """Send a command without waiting; returns its tag, for `answer`."""
        tag = b"t%d" % next(self._tags)
        self._socket.sendall(tag + b" " + data)
        return tag

    def answer(self, tag: bytes, command: bytes = b"") -> bytes:
        ok, start = b"\r\n" + tag + b" ", tag + b" "

        def tagged(seen: bytearray) -> bool:
            if not seen.endswith(b"\r\n"):
                return False
            last = seen.rfind(b"\r\n", 0, -2)
            return seen.startswith(start) if last < 0 else seen.startswith(ok, last)

        seen = self._until(tagged)
        line = seen[seen.rfind(b"\r\n", 0, -2) + 2 :] if seen.rfind(b"\r\n", 0, -2) >= 0 else seen
        if not line.startswith(start + b"OK"):
            raise RuntimeError(f"{command[:40]!r} was answered by {bytes(line[:100])!r}")
        return bytes(seen)

    def _until(self, whole: Callable[[bytearray], bool]) -> bytearray:
        seen = bytearray()
        while not whole(seen):
            more = self._socket.recv(1 << 14)
            if not more:
                raise RuntimeError("the connection was closed")
            seen += more
        return seen

    def close(self) -> None:
        self.ask(b"LOGOUT")
        self._socket.close()


# --- the poll cycle ---------------------------------------------------------------------------------------------------
def poll(target: Target, seconds: float, clients: int) -> dict[str, object]:
    """The poll cycle of practice software: sign in, SELECT, search new, fetch, mark as seen, sign out; no pause."""
    with multiprocessing.get_context("fork").Pool(clients) as pool:
        cpu, began = cpu_seconds(target.roots), time.perf_counter()
        ended = began + seconds
        turns = [(target, number % len(target.users), ended) for number in range(clients)]
        waits = sorted(itertools.chain.from_iterable(pool.starmap(_cycles, turns, chunksize=1)))
        wall, spent = time.perf_counter() - began, cpu_seconds(target.roots) - cpu
    return {
        "server": target.name,
        "clients": clients,
        "cycles_per_s": round(len(waits) / wall, 1),
        "cpu_ms_per_cycle": round(1000 * spent / len(waits), 3),
        "cycle_p50_ms": round(1000 * waits[len(waits) // 2], 2),
        "cycle_p99_ms": round(1000 * waits[len(waits) * 99 // 100], 2),
    }


def _cycles(target: Target, user: int, ended: float) -> list[float]:
    waits = []
    while (began := time.perf_counter()) < ended:
        client = Client(target, user)
        client.ask(b"SELECT INBOX")
        new = found(client.ask(b"UID SEARCH UNSEEN"))[:POLL_BATCH]
        if new:
            client.ask(b"UID FETCH %b (UID ENVELOPE BODYSTRUCTURE)" % b",".join(b"%d" % uid for uid in new))
            client.ask(b"UID FETCH %d (BODY.PEEK[])" % new[0])
            client.ask(b"UID STORE %d +FLAGS (\\Seen)" % new[0])
        client.close()
        waits.append(time.perf_counter() - began)
    return waits


def found(answer: bytes) -> list[int]:
    """The numbers of a SEARCH answer."""
    line = re.search(rb"\* SEARCH([^\r]*)\r\n", answer)
    return [int(number) for number in line[1].split()] if line else []


# --- a large mailbox --------------------------------------------------------------------------------------------------
def small_message(number: int) -> bytes:
    """About 1,000 octets, one of 200 senders; one in 1,000 holds the rare word."""
    chance = random.Random(number)
    header = (
        f"From: Expediteur {number % 200} <expediteur{number % 200}@cabinet{number % 17}.test>\r\n"
        f"To: boite@bench.test\r\nSubject: Compte rendu {number}\r\nDate: {_moment(number, '%a, %d %b %Y')}\r\n"
        f"Message-ID: <{number}@bench.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    )
    lines = [RARE] if number % 1_000 == 7 else []
    lines += [" ".join(chance.choice(WORDS) for _ in range(8)) for _ in range(10)]
    return (header + "\r\n".join(lines) + "\r\n").encode()


def _moment(number: int, day: str) -> str:
    return time.strftime(day + " %H:%M:%S +0000", time.gmtime(NEWEST - number % DAYS * 86_400))


def fill(target: Target, user: int, messages: int) -> dict[str, object]:
    """The mailbox of the measures below, by MULTIAPPEND where the server has it."""
    client = Client(target, user)
    client.ask(b"CREATE " + BOX)
    many = b"MULTIAPPEND" in client.ask(b"CAPABILITY")
    began = time.perf_counter()
    for start in range(0, messages, FILL):
        parts = []
        for number in range(start, min(start + FILL, messages)):
            data = small_message(number)
            parts.append(b' "%b" {%d+}\r\n%b' % (_moment(number, "%d-%b-%Y").encode(), len(data), data))
        if many:
            client.answer(client.send(b"APPEND " + BOX + b"".join(parts) + b"\r\n"))
        else:
            tags = [client.send(b"APPEND " + BOX + part + b"\r\n") for part in parts]
            if client.answer(tags[-1]).count(b" OK ") != len(parts):
                raise RuntimeError("not every APPEND was taken")
    wall = time.perf_counter() - began
    client.close()
    return {"server": target.name, "messages": messages, "per_s": round(messages / wall, 1), "multiappend": many}


def commands(messages: int) -> Iterator[tuple[str, bytes, int | None]]:
    """Name, command, and how many messages a search must find."""
    since = time.strftime("%d-%b-%Y", time.gmtime(NEWEST - 30 * 86_400)).encode()
    numbers = range(messages)
    yield "select", b"SELECT " + BOX, None
    yield "fetch_flags_all", b"FETCH 1:* (FLAGS)", None
    yield "fetch_last50_envelope", b"FETCH %d:%d (UID FLAGS ENVELOPE)" % (max(messages - 49, 1), messages), None
    yield "search_unseen", b"UID SEARCH UNSEEN", messages
    yield "search_since", b"UID SEARCH SINCE " + since, sum(number % DAYS <= 30 for number in numbers)
    yield "search_from", b"UID SEARCH FROM expediteur77@", sum(number % 200 == 77 for number in numbers)
    yield "search_text", b"UID SEARCH TEXT " + RARE.encode(), sum(number % 1_000 == 7 for number in numbers)
    yield "store_all", b"STORE 1:* +FLAGS (\\Flagged)", None
    yield "store_all_silent", b"STORE 1:* +FLAGS.SILENT (\\Answered)", None


def box(target: Target, user: int, messages: int) -> Iterator[dict[str, object]]:
    """Each command in a session after the fill and in a second one, which takes the flags away again."""
    measured: dict[str, dict[str, list[float]]] = {}
    for turn in (1, 2):
        client = Client(target, user)
        for name, command, wanted in commands(messages):
            if turn == 2 and name.startswith("store"):
                command = command.replace(b"+FLAGS", b"-FLAGS")
            cpu, began = cpu_seconds(target.roots), time.perf_counter()
            answer = client.ask(command)
            took = time.perf_counter() - began
            figures = measured.setdefault(name, {"ms": [], "cpu_ms": []})
            figures["ms"].append(round(1000 * took, 1))
            figures["cpu_ms"].append(round(1000 * (cpu_seconds(target.roots) - cpu)))
            if wanted is not None and len(found(answer)) != wanted:
                raise RuntimeError(f"{name} found {len(found(answer))} messages, not {wanted}")
            if name == "fetch_flags_all" and answer.count(b" FETCH (") != messages:
                raise RuntimeError(f"{name} told {answer.count(b' FETCH (')} messages")
        client.close()
    for name, figures in measured.items():
        yield {"server": target.name, "messages": messages, "command": name} | figures


# --- a large message --------------------------------------------------------------------------------------------------
def large(target: Target, user: int, megabytes: int, rounds: int = 3) -> dict[str, object]:
    """APPEND of one message, and FETCH of it whole: megabytes (10^6 octets) a second, the median of the rounds."""
    line = random.Random(megabytes).randbytes(38).hex().encode() + b"\r\n"
    data = b"Subject: volumineux\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"
    data += line * (megabytes * 1_000_000 // len(line))
    client = Client(target, user)
    client.ask(b"CREATE Large")
    began = time.perf_counter()
    tag = client.send(b"APPEND Large {%d}\r\n" % len(data))
    client._until(lambda seen: seen.startswith(b"+") and seen.endswith(b"\r\n"))
    client._socket.sendall(data + b"\r\n")
    client.answer(tag)
    appended = time.perf_counter() - began
    client.ask(b"SELECT Large")
    rates, cpu = [], cpu_seconds(target.roots)
    for _ in range(rounds):
        began = time.perf_counter()
        answer = client.ask(b"FETCH 1 (BODY.PEEK[])")
        rates.append(len(data) / (time.perf_counter() - began) / 1_000_000)
        if data not in answer:
            raise RuntimeError("the message came back changed")
    spent = cpu_seconds(target.roots) - cpu
    client.close()
    return {
        "server": target.name,
        "megabytes": megabytes,
        "append_mb_per_s": round(megabytes / appended, 1),
        "fetch_mb_per_s": round(sorted(rates)[rounds // 2], 1),
        "fetch_cpu_ms": round(1000 * spent / rounds),
    }
