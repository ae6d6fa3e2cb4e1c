"""NOTIFY (RFC 5465) at its edges: too many mailboxes, what cannot be opened, and nothing left behind."""

from __future__ import annotations

import pytest

from server.imap import notifications
from tests.imap_doubles import Backend, Wire, signed_in

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
