"""NOTIFY (RFC 5465) at its edges: too many mailboxes, what cannot be opened, and nothing left behind."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.base.errors import Refused
from server.imap import notifications
from tests.imap_doubles import Backend, MemoryMailbox, Wire, signed_in

SET = b"n NOTIFY SET (SELECTED (MessageNew (BODY[]) MessageExpunge)) (PERSONAL (MessageNew MessageExpunge MailboxName))"


async def told(wire: Wire) -> bytes:
    await wire.settle()
    return wire.take()


async def test_too_many_mailboxes_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "IMAP_NOTIFY_FOLDERS", 5)
    backend = Backend()
    wire = await signed_in(backend)
    assert await wire.ask(SET) == b"n NO [NOTIFICATIONOVERFLOW] Too many mailboxes to watch\r\n"
    assert not any(backend.mailbox.watchers.values())


async def test_one_too_many_later_ends_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "IMAP_NOTIFY_FOLDERS", 6)
    backend = Backend()
    wire = await signed_in(backend)
    assert (await wire.ask(SET)).startswith(b"n OK")
    await backend.mailbox.create_folder("Un")
    answer = await told(wire)
    assert answer.endswith(b"* OK [NOTIFICATIONOVERFLOW] Too many mailboxes to watch\r\n")
    await backend.mailbox.create_folder("Deux")
    await backend.mailbox.append(1, b"a: b\r\n\r\n")
    assert await told(wire) == b""
    assert not any(backend.mailbox.watchers.values())


@pytest.mark.parametrize("end", [b"x LOGOUT", b"x UNAUTHENTICATE", b"x NOTIFY NONE"])
async def test_nothing_is_watched_after_the_end(end: bytes) -> None:
    backend = Backend()
    wire = await signed_in(backend)
    await wire.ask(SET)
    assert any(backend.mailbox.watchers.values())
    await wire.ask(end)
    assert not any(backend.mailbox.watchers.values())


async def test_a_new_message_that_does_not_open_is_counted() -> None:
    backend = Backend()
    wire = await signed_in(backend)
    await wire.ask(SET)
    await wire.ask(b"s SELECT INBOX")
    backend.mailbox.broken.add(bytes(16))
    await backend.mailbox.append(1, b"a: b\r\n\r\n")
    assert await told(wire) == b"* 1 EXISTS\r\n"
    assert [event for event, _ in backend.log.lines if event.endswith("_failed")] == []


async def test_reading_what_is_new_is_in_the_trail_and_marks_nothing() -> None:
    backend = Backend()
    wire = await signed_in(backend)
    await wire.ask(SET)
    await wire.ask(b"s SELECT INBOX")
    await backend.mailbox.append(1, b"a: b\r\n\r\nx")
    assert b"* 1 FETCH (UID 1 BODY[] {9}\r\na: b\r\n\r\nx)" in await told(wire)
    assert backend.mailbox.reads == [("IMAP FETCH", 1)]
    assert not backend.mailbox.kept[1].rows[1].flags


async def test_a_deleted_mailbox_ends_the_session_that_has_it_open() -> None:
    backend = Backend()
    wire = await signed_in(backend)
    await wire.ask(SET)
    await wire.ask(b"s SELECT Trash")
    await backend.mailbox.delete_folder("Trash")
    assert b"* BYE The selected mailbox was deleted\r\n" in await told(wire)
    assert not any(backend.mailbox.watchers.values())


async def test_a_name_that_was_given_away_and_taken_again_is_told_as_gone_first() -> None:
    backend = Backend()
    wire = await signed_in(backend)
    await backend.mailbox.create_folder("A")
    await wire.ask(b"n NOTIFY SET (PERSONAL (MessageNew MessageExpunge MailboxName))")
    await backend.mailbox.rename_folder("A", "B")
    await backend.mailbox.create_folder("A")
    lines = (await told(wire)).split(b"\r\n")
    assert [line for line in lines if b" A" in line or b" B" in line] == [
        b'* LIST (\\NonExistent) "/" A',
        b'* LIST (\\HasNoChildren) "/" A',
        b'* LIST (\\HasNoChildren) "/" B',
    ]


_STATUS = re.compile(
    rb"\* STATUS (\S+) \(MESSAGES (\d+) UIDNEXT (\d+) UIDVALIDITY \d+ UNSEEN (\d+) HIGHESTMODSEQ (\d+)\)"
)
_LIST = re.compile(rb"\* LIST \(([^)]*)\) \"/\" (\S+)(?: \(\"OLDNAME\" \(\"(.*)\"\)\))?")
_NAMES = ["INBOX", "Sent", "A", "B", "A/C"]


async def happen(mailbox: MemoryMailbox, what: str, name: str, other: str) -> None:
    if what == "create":
        await mailbox.create_folder(name)
    elif what == "rename" and not {name, other} & {"INBOX", "Sent"}:
        await mailbox.rename_folder(name, other)
    elif what == "delete" and name != "Sent":
        await mailbox.delete_folder(name)
    else:
        folder_id = (await mailbox.folder(name)).folder_id
        uids = list(mailbox.kept[folder_id].rows)
        if what == "append":
            await mailbox.append(folder_id, b"a:b")
        elif uids:
            await mailbox.store(folder_id, uids[:1], "add", 8 if what == "expunge" else 1)
            if what == "expunge":
                await mailbox.expunge(folder_id)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["append", "flag", "expunge", "create", "rename", "delete"]),
            st.sampled_from(_NAMES),
            st.sampled_from(_NAMES),
            st.booleans(),
        ),
        max_size=20,
    )
)
@settings(max_examples=60, deadline=None)
async def test_what_is_told_adds_up_to_what_is_there(steps: list[tuple[str, str, str, bool]]) -> None:
    """Whatever happens, told at once or many changes together: the client's list and counters are the mailbox's."""
    mailbox = MemoryMailbox()
    wire = await signed_in(Backend(mailbox))
    events = b"MessageNew MessageExpunge FlagChange MailboxName"
    answer = await wire.ask(b"n NOTIFY SET STATUS (PERSONAL (%s))" % events)
    known = {status[0]: tuple(map(int, status[1:])) for status in _STATUS.findall(answer)}
    for what, name, other, hear in (*steps, ("", "INBOX", "", True)):
        try:
            await happen(mailbox, what, name, other)
        except Refused:
            continue
        if not hear:
            continue
        for line in (await told(wire)).split(b"\r\n"):
            if status := _STATUS.match(line):
                known[status[1]] = tuple(int(value) for value in status.groups()[1:])
            elif listed := _LIST.match(line):
                before = known.pop(listed[3] or listed[2], (0, 1, 0, 1))
                if b"\\NonExistent" not in listed[1]:
                    known[listed[2]] = before
    states = {kept.folder.name.encode(): kept.state() for kept in mailbox.kept.values()}
    assert known.keys() == states.keys()
    for name_there, state in states.items():
        assert known[name_there] == (state.messages, state.uidnext, state.unseen, state.highestmodseq)
