"""Commands on many messages are answered from the columns of the view, and tell what row by row would tell."""

from __future__ import annotations

from typing import Any

from tests.imap_doubles import Backend, Wire, signed_in

COUNT = 150


async def opened(count: int = COUNT) -> tuple[Backend, Wire]:
    backend = Backend()
    for number in range(count):
        await backend.mailbox.append(1, b"a: b\r\n\r\n", flags=number % 32, keywords=("mot",) if number == 7 else ())
    wire = await signed_in(backend)
    await wire.ask(b"s SELECT INBOX")
    return backend, wire


def fetches(answer: bytes) -> list[bytes]:
    return [line for line in answer.splitlines() if b" FETCH (" in line]


async def test_fetch_tells_each_message_as_a_fetch_of_one_does() -> None:
    _, wire = await opened(40)
    told = fetches(await wire.ask(b"a FETCH 1:* (FLAGS UID)"))
    alone = [fetches(await wire.ask(b"a FETCH %d (FLAGS UID INTERNALDATE)" % number))[0] for number in range(1, 41)]
    assert told == [line[: line.index(b" INTERNALDATE")] + b")" for line in alone]
    some = fetches(await wire.ask(b"a UID FETCH 8,33:34 (UID FLAGS)"))
    assert some[0] == b"* 8 FETCH (UID 8 FLAGS (\\Seen \\Answered \\Flagged mot))"
    assert some[1:] == [b"* 33 FETCH (UID 33 FLAGS ())", b"* 34 FETCH (UID 34 FLAGS (\\Seen))"]


async def test_who_stores_is_answered_and_others_are_told() -> None:
    backend, one = await opened()
    other = await signed_in(backend)
    await other.ask(b"s SELECT INBOX")
    answer = fetches(await one.ask(b"a STORE 1:* +FLAGS (\\Deleted)"))
    assert len(answer) == COUNT
    assert all(b"\\Deleted" in line for line in answer)
    assert answer[7] == b"* 8 FETCH (FLAGS (\\Seen \\Answered \\Flagged \\Deleted mot))"
    assert fetches(await one.ask(b"a NOOP")) == []
    assert len(fetches(await other.ask(b"a NOOP"))) == sum(not number & 8 for number in range(COUNT))
    assert fetches(await other.ask(b"a NOOP")) == []


async def test_silence_is_kept_where_the_client_can_tell_the_result() -> None:
    _, wire = await opened()
    assert fetches(await wire.ask(b"a UID STORE 1:* -FLAGS.SILENT (\\Seen)")) == []
    assert fetches(await wire.ask(b"a NOOP")) == []
    assert all(b"\\Seen" not in line for line in fetches(await wire.ask(b"a FETCH 1:* (FLAGS)")))


async def test_what_another_did_meanwhile_is_told() -> None:
    backend, wire = await opened()
    stored: Any = backend.mailbox.store

    async def late(*given: Any) -> Any:
        await stored(1, [3], "add", 0, ("entre",))
        return await stored(*given)

    backend.mailbox.store = late  # type: ignore[method-assign]
    told = fetches(await wire.ask(b"a STORE 1:* +FLAGS.SILENT (\\Flagged)"))
    assert any(line.startswith(b"* 3 FETCH") and b"entre" in line for line in told)
