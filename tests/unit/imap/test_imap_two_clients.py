"""Two clients on one mailbox, in any order of commands, under each of the ways to be told: both end with what is there.

A client here knows only what it read: EXISTS, EXPUNGE or VANISHED, FETCH or UIDFETCH. After every answer each number it
was told must name the message it thinks; after NOOP it must hold exactly the messages and flags of the mailbox.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.imap_doubles import Backend, MemoryMailbox, Wire, signed_in

MODES = {
    "plain": b"x NOOP",
    "QRESYNC": b"x ENABLE QRESYNC",
    "UIDONLY": b"x ENABLE UIDONLY",
    "rev2": b"x ENABLE IMAP4rev2",
    "NOTIFY": b"x NOTIFY SET (SELECTED (MessageNew (FLAGS) MessageExpunge FlagChange))",
    "NOTIFY delayed": b"x NOTIFY SET (SELECTED-DELAYED (MessageNew MessageExpunge))",
}
# By number only where numbers are still a client's to use.
COMMANDS = {
    "NOOP": b"NOOP",
    "APPEND": b"APPEND INBOX {3+}\r\na:b",
    "SEEN": b"UID STORE %d +FLAGS (\\Seen)",
    "FLAG": b"UID STORE %d -FLAGS.SILENT (\\Flagged)",
    "DELETE": b"UID STORE %d +FLAGS.SILENT (\\Deleted)",
    "EXPUNGE": b"EXPUNGE",
    "UID EXPUNGE": b"UID EXPUNGE 1:%d",
    "MOVE": b"UID MOVE %d Sent",
    "COPY": b"UID COPY %d INBOX",
    "SEARCH": b"SEARCH UNSEEN",
    "FETCH": b"FETCH 1:* (UID)",
    "UID FETCH": b"UID FETCH 1:* (FLAGS)",
}
_SILENT = re.compile(rb"UID STORE (\d+) ([+-])FLAGS.SILENT \((.*)\)")
_LINE = re.compile(rb"\* (?:(\d+) (EXISTS|EXPUNGE|FETCH|UIDFETCH)|(VANISHED))(?: (.*))?\Z")


_NAMES = {1: b"\\Seen", 2: b"\\Answered", 4: b"\\Flagged", 8: b"\\Deleted", 16: b"\\Draft"}


class Client:
    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.uids: list[int] = []  # 0: counted, not known yet
        self.flags: dict[int, set[bytes]] = {}  # of those whose flags it was told

    def silent(self, command: bytes) -> None:
        """What a client takes for done when it asked not to be told."""
        found = _SILENT.match(command)
        if found is not None and int(found[1]) in self.flags:
            flags = self.flags[int(found[1])]
            flags |= {found[3]} if found[2] == b"+" else set()
            flags -= {found[3]} if found[2] == b"-" else set()

    def read(self, told: bytes) -> None:
        for line in told.split(b"\r\n"):
            found = _LINE.match(line)
            if found is None:
                continue
            number, word = int(found[1] or 0), (found[2] or found[3]).decode()
            if word == "EXISTS":
                assert number >= len(self.uids)
                self.uids += [0] * (number - len(self.uids))
            elif word == "EXPUNGE":
                del self.uids[number - 1]
            elif word == "VANISHED":
                for piece in found[4].split(b","):
                    low, _, high = piece.partition(b":")
                    for uid in range(int(low), int(high or low) + 1):
                        self._forget(uid)
            elif word == "UIDFETCH":
                if number not in self.uids:
                    self.uids[self.uids.index(0)] = number
            elif word == "FETCH" and (uid := re.search(rb"UID (\d+)", found[4])):
                assert self.uids[number - 1] in (0, int(uid[1])), line
                self.uids[number - 1] = int(uid[1])
            if flags := re.search(rb"FLAGS \(([^)]*)\)", found[4] or b""):
                uid_told = number if word == "UIDFETCH" else self.uids[number - 1]
                if uid_told and "FETCH" in word:
                    self.flags[uid_told] = set(flags[1].split())

    def _forget(self, uid: int) -> None:
        # One that is not known by its uid yet is among those that were only counted, at the end.
        if uid in self.uids:
            self.uids.remove(uid)
        else:
            assert self.uids.pop() == 0


@pytest.mark.parametrize("mode", MODES)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from(sorted(COMMANDS)), st.integers(1, 8)), max_size=25))
@settings(max_examples=25, deadline=None)
async def test_both_end_with_what_is_there(mode: str, steps: list[tuple[bool, str, int]]) -> None:
    mailbox = MemoryMailbox()
    for _ in range(4):
        await mailbox.append(1, b"a:b")
    backend = Backend(mailbox)
    clients = [Client(await signed_in(backend)), Client(await signed_in(Backend(mailbox)))]
    for client, how in zip(clients, (mode, "plain"), strict=True):
        assert b"x OK" in await client.wire.ask(MODES[how])
        client.read(await client.wire.ask(b"s SELECT INBOX"))
        client.read(await client.wire.ask(b"f UID FETCH 1:* (UID)"))
    for second, name, uid in steps:
        client = clients[second]
        command = COMMANDS[name]
        command = command % uid if b"%d" in command else command
        told = await client.wire.ask(b"t " + command)
        assert b"t OK" in told or b"t NO" in told or b"t BAD" in told
        client.silent(command)
        client.read(told)
        for other in clients:
            await other.wire.settle()
            other.read(other.wire.take())
    there = sorted(mailbox.kept[1].rows)
    for client in clients:
        client.read(await client.wire.ask(b"n NOOP"))
        client.read(await client.wire.ask(b"f UID FETCH 1:* (UID)"))
        assert sorted(client.uids) == there
        for uid in client.flags.keys() & set(there):
            names = {name for bit, name in _NAMES.items() if mailbox.kept[1].rows[uid].flags & bit}
            assert client.flags[uid] == names
