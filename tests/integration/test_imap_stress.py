"""Many sessions do anything at once, from a seed; each keeps what it was told and finds no contradiction.

What holds after every line: an EXPUNGE names a number in use; EXISTS never shrinks a mailbox; a number stands for the
uid it stood for; a message is \\Recent to one session. At the end all sessions see the same mailbox, and the store's
own check passes (the fixture's).
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable

import pytest

from tests.imap_edge import NAME, Access
from tests.store_world import PHARMACY, World, message

FOLDERS = ("INBOX", "Archive", "Trash")
_FETCH = re.compile(rb"(\d+) FETCH \(.*?UID (\d+)(?:.*?FLAGS \((.*?)\))?")
_MISSING = re.compile(rb"BAD No message|NO \[EXPUNGEISSUED\]")


class Sight:
    """One session and what it was told."""

    def __init__(self, imap: Access, random_: random.Random, recent: dict[tuple[str, int], object]) -> None:
        self.imap, self.random, self.recent = imap, random_, recent
        self.folder = ""
        self.uids: list[int] = []  # by number; 0: not told yet
        self.tags = 0

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self.imap.tls_port, ssl=self.imap.tls(), server_hostname=NAME, limit=2**20
        )
        await self.reader.readline()
        await self.ask(f"LOGIN {PHARMACY} {self.imap.password(PHARMACY)}")

    async def select(self, folder: str) -> None:
        self.folder, self.uids = folder, []
        await self.ask(f"SELECT {folder}")

    async def ask(self, command: str) -> bytes:
        """The tagged answer; what comes before it is taken in."""
        self.tags += 1
        tag = b"t%d" % self.tags
        self.writer.write(tag + b" " + command.encode() + b"\r\n")
        if command == "IDLE":
            await self.reader.readline()
            self.writer.write(b"DONE\r\n")
        while True:
            line = await asyncio.wait_for(self.reader.readline(), 60)
            assert line, command
            if line.startswith(tag):
                assert line.startswith(tag + b" OK") or _MISSING.search(line), (command, line)
                return line
            if line.startswith(b"* "):
                self.take(line[2:-2])

    def take(self, line: bytes) -> None:
        number, _, word = line.partition(b" ")
        if word == b"EXISTS":
            assert int(number) >= len(self.uids), (line, len(self.uids))
            self.uids += [0] * (int(number) - len(self.uids))
        elif word == b"EXPUNGE":
            assert 0 < int(number) <= len(self.uids), line
            del self.uids[int(number) - 1]
        elif found := _FETCH.match(line):
            at, uid = int(found[1]) - 1, int(found[2])
            assert at < len(self.uids), line
            assert self.uids[at] in (0, uid), (line, self.uids[at])
            self.uids[at] = uid
            if found[3] is not None and b"\\Recent" in found[3]:
                assert self.recent.setdefault((self.folder, uid), self) is self, line

    async def anything(self) -> None:
        r, last = self.random, max(1, len(self.uids))
        some, other = r.randint(1, last), r.choice(FOLDERS)
        flags = r.choice(("\\Seen", "\\Deleted", "\\Flagged a", "b \\Answered"))
        letter = message("corps", r.randint(1, 10**9)).decode()
        choices: list[Callable[[], str]] = [
            lambda: f"FETCH {some}:* (UID FLAGS)",
            lambda: f"UID FETCH 1:* ({r.choice(('FLAGS', 'UID FLAGS MODSEQ', 'RFC822.SIZE'))})",
            lambda: f"STORE {some} {r.choice(('+FLAGS', '-FLAGS', 'FLAGS.SILENT'))} ({flags})",
            lambda: f"UID STORE {some}:{some + 9} +FLAGS ({flags})",
            lambda: f"COPY {some} {other}",
            lambda: f"UID MOVE {some}:{some + 2} {other}",
            lambda: f"APPEND {other} ({r.choice(('', flags))}) {{{len(letter)}+}}\r\n{letter}",
            lambda: f"SEARCH {r.choice(('NEW', 'OLD SEEN', 'KEYWORD a', 'NOT DELETED', 'SUBJECT 7', 'BODY 3'))}",
            lambda: "EXPUNGE",
            lambda: "NOOP",
            lambda: "IDLE",
            lambda: f"STATUS {other} (MESSAGES RECENT UNSEEN)",
        ]
        await self.ask(r.choice(choices)())


async def stress(imap: Access, seed: int, sessions: int, commands: int) -> None:
    recent: dict[tuple[str, int], object] = {}
    sights = [Sight(imap, random.Random(seed * 1_000 + number), recent) for number in range(sessions)]

    async def run(sight: Sight) -> None:
        await sight.open()
        await sight.select(sight.random.choice(FOLDERS))
        for _ in range(commands):
            await sight.anything()

    await asyncio.gather(*map(run, sights))
    assert recent
    for folder in FOLDERS:
        seen = []
        for sight in sights:
            if sight.folder == folder:
                await sight.ask("NOOP")
                await sight.ask("FETCH 1:* (UID)")
                seen.append(sight.uids)
        assert all(uids == seen[0] for uids in seen)
    for sight in sights:
        await sight.ask("LOGOUT")
        sight.writer.close()


async def test_many_sessions_contradict_nobody(world: World, imap: Access) -> None:
    await stress(imap, seed=1, sessions=6, commands=30)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", range(2, 8))
async def test_many_sessions_contradict_nobody_for_long(world: World, imap: Access, seed: int) -> None:
    await stress(imap, seed, sessions=20, commands=400)
