"""A load generator that speaks plain submission and IMAP to any server, so that ours and the peer get the same work."""

from __future__ import annotations

import asyncio
import base64
import itertools
import random
import re
import ssl
import time
from dataclasses import dataclass, field

from tests.bench.meter import cpu_seconds, machine_ticks, pss_bytes, steal_share

AT_ONCE = 50  # connections that are opened together
SETTLED_SECONDS = 5.0
PUSHED = 60  # messages, one after the other
PUSH_SECONDS = 60.0  # a push that takes longer is lost


@dataclass
class Target:
    """One server: where it listens, who may sign in (user → password), and the processes that are its cost."""

    name: str
    submission_port: int
    imaps_port: int
    users: list[tuple[str, str, str]]  # sign-in name, password, address
    roots: list[int]
    messages: dict[int, list[bytes]] = field(
        default_factory=dict
    )  # size → a message for each user, CRLF, no Message-ID


def tls() -> ssl.SSLContext:
    """Encrypted without checking the name: what is measured is the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Line:
    """One connection, read by lines."""

    def __init__(self) -> None:
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def open(self, port: int, context: ssl.SSLContext | None) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=1 << 22)

    async def smtp(self, line: bytes | None, want: bytes) -> None:
        if line is not None:
            self.writer.write(line + b"\r\n")
        while True:
            reply = await self.reader.readline()
            if reply[3:4] != b"-":
                break
        if not reply.startswith(want):
            raise RuntimeError(f"{(line or b'')[:30]!r} was answered by {reply!r}")

    async def imap(self, tag: bytes, command: bytes) -> bytes:
        self.writer.write(tag + b" " + command + b"\r\n")
        seen = bytearray()
        while True:
            line = await self.reader.readline()
            if not line:
                raise RuntimeError("the connection was closed")
            seen += line
            literal = re.search(rb"\{(\d+)\}\r\n$", line)
            if literal:
                seen += await self.reader.readexactly(int(literal[1]))
            elif line.startswith(tag + b" "):
                if not line.startswith(tag + b" OK"):
                    raise RuntimeError(f"{command[:30]!r} was answered by {line!r}")
                return bytes(seen)


async def _submitter(target: Target, user: int) -> Line:
    name, password, _ = target.users[user]
    line = Line()
    await line.open(target.submission_port, None)
    await line.smtp(None, b"220")
    await line.smtp(b"EHLO bench.test", b"250")
    await line.smtp(b"STARTTLS", b"220")
    await line.writer.start_tls(tls())
    line.reader._transport = line.writer.transport  # type: ignore[attr-defined]  # 3.11 leaves the old one in the reader
    await line.smtp(b"EHLO bench.test", b"250")
    await line.smtp(b"AUTH PLAIN " + base64.b64encode(f"\0{name}\0{password}".encode()), b"235")
    return line


async def _reader(target: Target, user: int) -> Line:
    line = Line()
    await line.open(target.imaps_port, tls())
    await line.reader.readline()
    name, password, _ = target.users[user]
    await line.imap(b"a", f'LOGIN "{name}" "{password}"'.encode())
    return line


async def _count(line: Line) -> int:
    answer = await line.imap(b"s", b"STATUS INBOX (MESSAGES)")
    return int(re.search(rb"MESSAGES (\d+)", answer)[1])  # type: ignore[index]


async def idle(target: Target, connections: int) -> dict[str, object]:
    """Open IMAP connections that sign in, select INBOX and IDLE: the memory of the server's processes for each, and how
    long after the final dot of a message, sent to one mailbox at a time, each connection there hears EXISTS."""
    lines: list[list[Line]] = [[] for _ in target.users]

    async def wait(number: int) -> None:
        user = number % len(target.users)
        line = await _reader(target, user)
        await line.imap(b"b", b"SELECT INBOX")
        line.writer.write(b"c IDLE\r\n")
        if not (await line.reader.readline()).startswith(b"+"):
            raise RuntimeError("IDLE was refused")
        lines[user].append(line)

    await wait(0)  # what the first of all costs is no connection's
    before = pss_bytes(target.roots)
    for start in range(1, connections, AT_ONCE):
        await asyncio.gather(*(wait(number) for number in range(start, min(start + AT_ONCE, connections))))
    await asyncio.sleep(SETTLED_SECONDS)
    grown = pss_bytes(target.roots) - before
    cpu, began = cpu_seconds(target.roots), time.perf_counter()
    await asyncio.sleep(SETTLED_SECONDS)
    waiting = (cpu_seconds(target.roots) - cpu) / (time.perf_counter() - began)
    pushes = await _pushes(target, lines)
    for line in itertools.chain.from_iterable(lines):
        line.writer.close()
    return {
        "server": target.name,
        "connections": connections,
        "kib_per_connection": round(grown / 1024 / max(connections - 1, 1), 1),
        "cpu_share_while_idle": round(waiting, 4),
        "pushes": len(pushes),
        "push_p50_ms": round(1000 * pushes[len(pushes) // 2], 1),
        "push_p99_ms": round(1000 * pushes[len(pushes) * 99 // 100], 1),
    }


async def _pushes(target: Target, lines: list[list[Line]]) -> list[float]:
    """Seconds from the final dot to EXISTS, of each connection, in order of size."""
    waits: list[float] = []

    async def heard(line: Line, began: float) -> None:
        while not (await line.reader.readline()).endswith(b" EXISTS\r\n"):
            pass
        waits.append(time.perf_counter() - began)

    size = min(target.messages)
    submitter = await _submitter(target, 0)
    head, _, tail = target.messages[size][0].partition(b"\r\n\r\n")
    chance = random.Random(7)
    for number in range(PUSHED):
        user = number % len(target.users)
        await submitter.smtp(f"MAIL FROM:<{target.users[0][2]}>".encode(), b"250")
        await submitter.smtp(f"RCPT TO:<{target.users[user][2]}>".encode(), b"250")
        await submitter.smtp(b"DATA", b"354")
        submitter.writer.write(head + b"\r\nMessage-ID: <push.%d@bench.test>\r\n\r\n" % number + tail + b".\r\n")
        began = time.perf_counter()
        await asyncio.wait_for(asyncio.gather(*(heard(line, began) for line in lines[user])), PUSH_SECONDS)
        await submitter.smtp(None, b"250")
        await asyncio.sleep(chance.uniform(0.05, 0.25))  # in step with no timer of the server
    submitter.writer.close()
    return sorted(waits)


async def deliver(target: Target, size: int, messages: int, connections: int, mailboxes: int) -> dict[str, object]:
    """Send `messages` over `connections` signed-in sessions to `mailboxes` in turn, until all can be seen by IMAP."""
    readers = [await _reader(target, user) for user in range(mailboxes)]
    already = [await _count(reader) for reader in readers]
    lines = [await _submitter(target, n % len(target.users)) for n in range(connections)]
    numbers, waits = itertools.count(), []
    stamp = time.time_ns()

    async def session(user: int, line: Line) -> None:
        sender = target.users[user][2].encode()
        head, _, tail = target.messages[size][user].partition(b"\r\n\r\n")
        for number in iter(lambda: next(numbers), None):
            if number >= messages:
                return
            recipient = target.users[number % mailboxes][2].encode()
            began = time.perf_counter()
            line.writer.write(b"MAIL FROM:<%b>\r\nRCPT TO:<%b>\r\nDATA\r\n" % (sender, recipient))
            for want in (b"250", b"250", b"354"):
                await line.smtp(None, want)
            line.writer.write(head + b"\r\nMessage-ID: <%d.%d@bench.test>\r\n\r\n" % (stamp, number) + tail + b".\r\n")
            await line.smtp(None, b"250")
            waits.append(time.perf_counter() - began)

    cpu, ticks, began = cpu_seconds(target.roots), machine_ticks(), time.perf_counter()
    await asyncio.gather(*(session(n % len(target.users), line) for n, line in enumerate(lines)))
    accepted = time.perf_counter() - began
    while True:
        counts = [await _count(reader) for reader in readers]
        if sum(counts) - sum(already) >= messages:
            break
        await asyncio.sleep(0.05)
    delivered = time.perf_counter() - began
    spent = cpu_seconds(target.roots) - cpu
    for line in lines + readers:
        line.writer.close()
    waits.sort()
    return {
        "server": target.name,
        "bytes": len(target.messages[size][0]),
        "messages": messages,
        "connections": connections,
        "mailboxes": mailboxes,
        "accepted_per_s": round(messages / accepted, 1),
        "delivered_per_s": round(messages / delivered, 1),
        "cpu_ms_per_message": round(1000 * spent / messages, 3),
        "accept_p50_ms": round(1000 * waits[len(waits) // 2], 2),
        "accept_p99_ms": round(1000 * waits[len(waits) * 99 // 100], 2),
        "surplus": sum(counts) - sum(already) - messages,
        "steal": round(steal_share(ticks, machine_ticks()), 4),
    }
