"""What FETCH may open, write to the trail and survive."""

from __future__ import annotations

import pytest

from server.base.errors import Reason
from server.imap import responses
from server.imap.budget import Budget
from tests.imap_doubles import Backend, MemoryMailbox, Wire, signed_in

TEXT = b"Subject: un\r\n\r\nbonjour\r\n"


async def reading(items: bytes) -> tuple[MemoryMailbox, bytes]:
    backend = Backend()
    for _ in range(3):
        await backend.mailbox.append(1, TEXT)
    wire = await signed_in(backend)
    await wire.ask(b"s EXAMINE INBOX")
    backend.mailbox.calls.clear()
    return backend.mailbox, await wire.ask(b"a FETCH 1:* " + items)


@pytest.mark.parametrize(
    ("items", "calls", "reads"),
    [
        (b"(UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ)", set(), 0),
        (b"(BODYSTRUCTURE)", {"summaries"}, 0),
        (b"(ENVELOPE)", {"summaries"}, 1),
        (b"(BODY.PEEK[HEADER])", {"summaries"}, 1),
        (b"(BODY.PEEK[])", {"body"}, 1),
        (b"(BODY.PEEK[TEXT])", {"summaries", "body"}, 1),
    ],
)
async def test_no_more_is_opened_than_is_asked(items: bytes, calls: set[str], reads: int) -> None:
    mailbox, answer = await reading(items)
    assert b"a OK" in answer
    assert set(mailbox.calls) == calls
    assert mailbox.reads == [("IMAP FETCH", 3)] * reads


async def test_a_damaged_message_keeps_nobody_from_the_others() -> None:
    backend = Backend()
    for _ in range(3):
        await backend.mailbox.append(1, TEXT)
    backend.mailbox.broken = {list(backend.mailbox.contents)[1]}
    wire = await signed_in(backend)
    await wire.ask(b"s EXAMINE INBOX")
    for items in (b"BODY.PEEK[]", b"BODY.PEEK[TEXT]", b"ENVELOPE"):
        answer = await wire.ask(b"a FETCH 1:3 " + items)
        assert answer.count(b" FETCH (") == 2
        assert answer.endswith(b"a NO [CORRUPTION] Some of the messages cannot be opened\r\n")


async def test_a_fault_of_ours_is_told_without_its_cause() -> None:
    backend = Backend()
    wire = await signed_in(backend)

    async def fail(*_: object) -> None:
        raise RuntimeError("at 10.1.2.3: 280019900100182")

    backend.mailbox.folders = fail  # type: ignore[method-assign]
    assert await wire.ask(b'a LIST "" *') == b"a NO [SERVERBUG] Something went wrong on our side\r\n"
    ((event, facts),) = backend.log.lines
    assert event == "imap_command_failed"
    assert facts["verb"] == "LIST"
    assert await wire.ask(b"b NOOP") == b"b OK NOOP completed\r\n"


async def test_literals_wait_when_the_memory_of_the_worker_is_taken() -> None:
    backend = Backend(budget=50_000)
    wire = await signed_in(backend)
    other = await signed_in(backend)
    assert await wire.ask(b"a APPEND INBOX {40000}") == b"+ Go ahead\r\n"
    assert (await other.ask(b"b APPEND INBOX {40000}")).startswith(b"b NO [UNAVAILABLE]")
    await wire.send(b"x" * 40_000 + b"\r\n")
    assert b"a OK [APPENDUID" in wire.take()
    assert await other.ask(b"c APPEND INBOX {40000}") == b"+ Go ahead\r\n"
    other.dialogue.close()
    assert backend.services.budget.free == 50_000


async def test_before_sign_in_little_is_kept() -> None:
    wire = Wire(Backend())
    wire.take()
    await wire.send(b"a LOGIN " + b"(" * 100_000)
    assert wire.take().endswith(b"* BYE The line is too long\r\n")
    assert wire.dialogue.closed


def test_every_reason_has_its_code() -> None:
    assert set(responses.CODES) == set(Reason)


def test_what_is_said_stays_one_line() -> None:
    assert responses.status(b"a", b"NO", "x]\r\ny é", b"CANNOT") == b"a NO [CANNOT] x???y ?\r\n"


def test_a_budget_grants_all_or_nothing() -> None:
    budget = Budget(10)
    assert budget.take(8)
    assert not budget.take(3)
    budget.give(8)
    assert budget.take(10)
