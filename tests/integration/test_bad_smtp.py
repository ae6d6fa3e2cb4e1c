"""Bad input at submission, on real sockets before a real store: what each attack and each accident leaves behind.

The border between commands and content is tried with every sequence that a peer has taken for an end. The list of
faults, each with the tests that hold it, stands in `docs/security.md`.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl

import pytest

from server.base import limits
from server.smtp.service import Budget
from tests.durability.processes import kill, kind_of, tree
from tests.serving import Served
from tests.smtp_edge import DOMAIN, Post
from tests.store_world import DOCTOR, PHARMACY, World, message
from tests.unit.smtp.test_reader import FALSE_ENDS

ENVELOPE = f"MAIL FROM:<{DOCTOR}>\r\nRCPT TO:<{PHARMACY}>\r\n".encode()
SMUGGLED = ENVELOPE + b"DATA\r\n" + message("smuggled", number=666) + b".\r\n"


class Raw:
    """A client of bytes: nothing between the test and the socket but TLS. Its methods block."""

    def __init__(self, running: Post, *, tls: bool = True) -> None:
        name = "submission_tls" if tls else "submission"
        self.socket = socket.create_connection(("127.0.0.1", running.sockets.ports[name]), timeout=20)
        if tls:
            self.socket = running.tls().wrap_socket(self.socket, server_hostname=DOMAIN)
        self._file = self.socket.makefile("rb")
        assert self.reply()[0] == 220

    def signed_in(self, running: Post) -> Raw:
        given = base64.b64encode(f"\0{DOCTOR}\0{running.password(DOCTOR)}".encode())
        assert [code for code, _ in self.ask(b"EHLO x\r\nAUTH PLAIN " + given + b"\r\n", 2)] == [250, 235]
        return self

    def ask(self, data: bytes, replies: int = 1) -> list[tuple[int, str]]:
        """Send in one piece, read so many replies."""
        self.socket.sendall(data)
        return [self.reply() for _ in range(replies)]

    def reply(self) -> tuple[int, str]:
        """The next reply, its last line; (0, "") at the end."""
        try:
            line = self._file.readline()
            while line[3:4] == b"-":
                line = self._file.readline()
        except ConnectionResetError:
            line = b""
        return (int(line[:3]), line[4:].decode().strip()) if line else (0, "")

    def close(self) -> None:
        self._file.close()
        self.socket.close()


async def raw(running: Post) -> Raw:
    return await asyncio.to_thread(lambda: Raw(running).signed_in(running))


async def test_no_smuggling_sequence_makes_two_messages_of_one(world: World, submission: Post) -> None:
    """By DATA and by BDAT: refused whole, or kept whole; never is what follows read as commands."""

    def attack(end: bytes, number: int) -> tuple[int, int]:
        client = Raw(submission).signed_in(submission)
        inside = message("before", number=number) + b"x" + end + SMUGGLED.removesuffix(b"\r\n.\r\n")
        by_data = client.ask(ENVELOPE + b"DATA\r\n" + inside + b"\r\n.\r\nNOOP\r\n", 5)
        assert [code for code, _ in by_data[:3] + by_data[4:]] == [250, 250, 354, 250]
        chunk = inside.replace(b"before", b"chunk ")
        by_bdat = client.ask(ENVELOPE + b"BDAT %d LAST\r\n" % len(chunk) + chunk + b"NOOP\r\n", 4)
        assert [code for code, _ in by_bdat[:2] + by_bdat[3:]] == [250, 250, 250]
        assert client.ask(b"QUIT\r\n", 2) == [(221, "2.0.0 bye"), (0, "")]
        client.close()
        return by_data[3][0], by_bdat[2][0]

    kept = 0
    for number, end in enumerate(FALSE_ENDS):
        rest = end.replace(b"\r\n", b"")
        bare = b"\r" in rest or b"\n" in rest
        assert await asyncio.to_thread(attack, end, number) == ((554, 554) if bare else (250, 250)), end
        kept += 0 if bare else 2
    texts = await world.texts(PHARMACY)
    assert 0 < len(texts) == kept
    assert all(text.count(b"Message-ID: <666@") == 1 and not text.startswith(b"smuggled") for text in texts)


async def test_ten_thousand_recipients_at_once(world: World, submission: Post) -> None:
    """RFC 5321 §4.5.3.1.10: a hundred are taken, the others wait for another transaction; one copy comes."""

    def flood() -> list[int]:
        client = Raw(submission).signed_in(submission)
        rcpt = f"RCPT TO:<{PHARMACY}>\r\n".encode()
        answers = client.ask(f"MAIL FROM:<{DOCTOR}>\r\n".encode() + rcpt * 10_000, 10_001)
        answers += client.ask(b"DATA\r\n" + message() + b".\r\n", 2)
        client.close()
        return [code for code, _ in answers]

    codes = await asyncio.to_thread(flood)
    assert codes == [250] + [250] * limits.SMTP_RECIPIENTS + [452] * (10_000 - limits.SMTP_RECIPIENTS) + [354, 250]
    assert len(await world.texts(PHARMACY)) == 1


async def test_who_guesses_ten_thousand_addresses_learns_fifty(world: World, submission: Post) -> None:
    def guess() -> list[int]:
        client = Raw(submission).signed_in(submission)
        codes = client.ask(f"MAIL FROM:<{DOCTOR}>\r\n".encode())
        for start in range(0, 10_000, 100):
            names = range(start, start + 100)
            codes += client.ask(b"".join(b"RCPT TO:<dr.%d@msg.exemple.fr>\r\n" % name for name in names), 100)
        codes += client.ask(f"RCPT TO:<{PHARMACY}>\r\n".encode())
        client.close()
        return [code for code, _ in codes]

    codes = await asyncio.to_thread(guess)
    assert codes[1:] == [550] * limits.UNKNOWN_RECIPIENTS_PER_SENDER + [450] * (
        10_001 - limits.UNKNOWN_RECIPIENTS_PER_SENDER
    )


async def test_an_over_long_command_is_refused_and_the_next_one_read(submission: Post) -> None:
    client = await raw(submission)
    for line in (b"NOOP " + b"x" * limits.SMTP_LINE, b"MAIL FROM:<" + b"a" * 1_000_000 + b"@msg.exemple.fr>"):
        answers = await asyncio.to_thread(client.ask, line + b"\r\nNOOP\r\n", 2)
        assert answers == [(500, "5.5.2 command line too long"), (250, "2.0.0 OK")]
    client.close()


async def test_nul_and_eight_bit_in_commands_are_no_commands(submission: Post) -> None:
    client = await raw(submission)
    sent = (
        b"NO\0OP\r\n\xff\xfe\r\nMAIL FROM:<\xe9@msg.exemple.fr>\r\nMAIL FROM:<dr@msg.exemple.fr> ENVID=\xe9\r\nNOOP\r\n"
    )
    answers = await asyncio.to_thread(client.ask, sent, 5)
    assert [code for code, _ in answers] == [500, 500, 553, 501, 250]
    client.close()


async def test_half_a_connection_gets_its_replies(submission: Post) -> None:
    """In clear the client may close its side (RFC 1123 §5.2: it asked all it will); it is answered, then all ends."""

    def talk() -> list[tuple[int, str]]:
        client = Raw(submission, tls=False)
        client.socket.sendall(b"EHLO x\r\nNOOP\r\nMAIL FROM:<")
        client.socket.shutdown(socket.SHUT_WR)
        replies = [client.reply() for _ in range(3)]
        client.close()
        return replies

    assert [code for code, _ in await asyncio.to_thread(talk)] == [250, 250, 0]
    while submission.edge.service.sessions:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("cut", ["close_notify", "FIN", "RST"])
async def test_a_content_that_is_cut_is_no_message(world: World, submission: Post, cut: str) -> None:
    """What was cut is not taken: a cut before the final dot, and one that lets only half of the dot through."""

    def talk(sent: bytes) -> None:
        client = Raw(submission).signed_in(submission)
        client.ask(ENVELOPE + b"DATA\r\n", 3)
        client.socket.sendall(sent)
        if cut == "close_notify":
            assert isinstance(client.socket, ssl.SSLSocket)
            client.socket.unwrap()
        elif cut == "FIN":
            client.socket.shutdown(socket.SHUT_WR)
        else:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()

    for sent in (message(), message() + b".", message() + b".\r"):
        await asyncio.to_thread(talk, sent)
    while submission.edge.service.sessions:
        await asyncio.sleep(0.01)
    assert submission.edge.service.budget.used == 0
    assert await world.texts(PHARMACY) == []


@pytest.mark.parametrize("begin", [b"DATA\r\n", b"BDAT 100\r\n"])
async def test_a_content_that_never_comes_frees_the_session(
    submission: Post, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    client = await raw(submission)
    await asyncio.to_thread(client.ask, ENVELOPE, 2)
    monkeypatch.setattr(limits, "SMTP_IDLE_SECONDS", 0.05)
    client.socket.sendall(begin)
    replies = [await asyncio.to_thread(client.reply) for _ in range(2)]
    assert (421, "4.4.2 idle for too long; closing") in replies
    while submission.edge.service.sessions:
        await asyncio.sleep(0.01)
    client.close()


async def test_chunks_count_against_the_memory_too(world: World, submission: Post) -> None:
    """And what a chunk held is given back when the transaction ends, however it ends."""
    service = submission.edge.service
    service.budget = Budget(20_000)
    client, letter = await raw(submission), message("x" * 12_000)
    first = ENVELOPE + b"BDAT %d\r\n" % len(letter) + letter
    for ending in (b"RSET\r\n", b"EHLO x\r\n"):
        assert [code for code, _ in await asyncio.to_thread(client.ask, first, 3)] == [250, 250, 250]
        assert service.budget.used == len(letter)
        await asyncio.to_thread(client.ask, ending)
        assert service.budget.used == 0
    answers = await asyncio.to_thread(client.ask, first + b"BDAT 9000 LAST\r\n" + b"y" * 9_000 + b"NOOP\r\n", 5)
    assert answers[3:] == [(452, "4.3.1 too much mail in flight here, try again later"), (250, "2.0.0 OK")]
    assert service.budget.used == 0
    assert [code for code, _ in await asyncio.to_thread(client.ask, first + b"BDAT 0 LAST\r\n", 4)][3] == 250
    client.close()
    assert len(await world.texts(PHARMACY)) == 1


async def test_unknown_parameters_are_refused(submission: Post) -> None:
    client = await raw(submission)
    wrong = ["BY=120;R", "MT-PRIORITY=3", "XFORWARD", "BODY=", "=", "SIZE=-1", "SIZE=1 SIZE=1", "RET=HDRS RET=FULL"]
    sent = "".join(f"MAIL FROM:<{DOCTOR}> {one}\r\n" for one in wrong).encode()
    codes = [code for code, _ in await asyncio.to_thread(client.ask, sent + b"NOOP\r\n", len(wrong) + 1)]
    assert codes == [555, 555, 555, 500, 500, 501, 500, 500, 250]
    client.close()


def test_the_database_restarts_in_the_middle_of_data(running: Served) -> None:
    """PostgreSQL is killed between the two halves of a content: the message comes once, at the latest on the retry."""
    client = running.submission(running.doctor)
    letter = message(number=77).replace(DOCTOR.encode(), running.doctor.encode())
    client.mail(running.doctor)
    client.rcpt(running.pharmacy)
    client.docmd("DATA")
    client.send(letter[:100])
    assert running.process is not None
    (postmaster,) = [pid for pid, command in tree(running.process.pid).items() if kind_of(command) == "postmaster"]
    kill(postmaster)
    client.send(letter[100:] + b".\r\n")
    code, text = client.getreply()
    assert code in (250, 451), text
    client.close()
    running.wait_ready()
    while code != 250:
        again = running.submission(running.doctor)
        again.mail(running.doctor)
        again.rcpt(running.pharmacy)
        code, text = again.data(letter)
        assert code in (250, 451), text
        again.close()
    reader = running.imap(running.pharmacy)
    reader.select()
    assert len(reader.search(None, "HEADER", "Message-ID", "<77@cabinet.example>")[1][0].split()) == 1
    reader.logout()
