"""Every command in every state: where it is not legal it is BAD and does nothing, whatever stands behind it."""

from __future__ import annotations

import re

import pytest

from server.base.errors import Reason, TryLater
from server.base.limits import IMAP_BAD_COMMANDS, IMAP_LINE_BEFORE_LOGIN
from server.identity.model import Principal
from server.imap.commands.table import VERBS
from server.imap.session import State
from tests.imap_doubles import Backend, MemoryAccounts, Wire, signed_in


async def arrive(backend: Backend, state: State) -> Wire:
    if state is State.NOT_AUTHENTICATED:
        wire = Wire(backend)
        wire.take()
        return wire
    wire = await signed_in(backend)
    if state is State.SELECTED:
        await wire.ask(b"s SELECT INBOX")
    return wire


@pytest.mark.parametrize("state", [State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED])
async def test_every_command_in_every_state(state: State) -> None:
    for name, verb in VERBS.items():
        backend = Backend()
        wire = await arrive(backend, state)
        backend.mailbox.calls.clear()
        told = await wire.ask(b"tag " + name.encode())
        refused = b"BAD Not now" in told
        assert refused == (state not in verb.states), name
        if refused:
            assert told.startswith(b"tag BAD Not now: "), name
            assert wire.session.state is state, name
            assert backend.mailbox.calls == [], name
            # Its literal is not even waited for.
            assert await wire.ask(b"tag " + name.encode() + b" {5}") == told, name


async def test_ten_thousand_unknown_commands_are_answered_a_few_times() -> None:
    for wire in (Wire(Backend()), await signed_in(Backend())):
        wire.take()
        await wire.send(b"a X y\r\n" * 10_000)
        told = wire.take()
        assert told.count(b"a BAD") == IMAP_BAD_COMMANDS
        assert told.endswith(b"* BYE Too many errors\r\n")
        assert wire.dialogue.closed


async def test_good_commands_between_do_not_help_a_stranger() -> None:
    wire = Wire(Backend())
    wire.take()
    await wire.send(b"a X\r\nb NOOP\r\n" * 10_000)
    told = wire.take()
    assert told.count(b"a BAD") == IMAP_BAD_COMMANDS
    assert wire.dialogue.closed


async def test_guesses_end_the_connection_and_tell_nothing() -> None:
    wire = Wire(Backend())
    wire.take()
    await wire.send(b"a LOGIN nobody@msg.exemple.fr x\r\na LOGIN dr@msg.exemple.fr x\r\n" * 100)
    answers = set(re.findall(rb"(?m)^a .*$", wire.take()))
    assert answers == {b"a NO [AUTHENTICATIONFAILED] Unknown address or wrong password\r"}
    assert wire.dialogue.closed


async def test_a_stranger_s_line_is_short() -> None:
    wire = Wire(Backend())
    wire.take()
    await wire.send(b"a ID (" + b'"x" NIL ' * (IMAP_LINE_BEFORE_LOGIN // 8))
    assert wire.take().endswith(b"* BYE The line is too long\r\n")
    known = await signed_in(Backend())
    assert (await known.ask(b"a NOOP " + b"x" * IMAP_LINE_BEFORE_LOGIN)).startswith(b"a BAD")


async def test_who_is_throttled_hears_the_same_whoever_they_say_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(self: MemoryAccounts, given: object, network: str, shown: object = ()) -> Principal:
        raise TryLater(Reason.THROTTLED, "Too many failed sign-ins from this network.")

    monkeypatch.setattr(MemoryAccounts, "sign_in", refuse)
    wire = Wire(Backend())
    wire.take()
    await wire.send(b"a LOGIN nobody@msg.exemple.fr x\r\na LOGIN dr@msg.exemple.fr x\r\n" * 100)
    answers = re.findall(rb"(?m)^a .*$", wire.take())
    assert set(answers) == {b"a NO [UNAVAILABLE] Too many failed sign-ins from this network.\r"}
    assert len(answers) == IMAP_BAD_COMMANDS
    assert wire.dialogue.closed
