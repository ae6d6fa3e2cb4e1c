"""What a row of the command table is, and the typed commands that are only their name, or name only a mailbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from server.imap.grammar.cursor import Cursor
from server.imap.responses import Done
from server.imap.session import Session, State

ANY = frozenset(State) - {State.LOGOUT}
NOT_AUTHENTICATED = frozenset({State.NOT_AUTHENTICATED})
SIGNED_IN = frozenset({State.AUTHENTICATED, State.SELECTED})
SELECTED = frozenset({State.SELECTED})


@dataclass(frozen=True, slots=True)
class Bare:
    """A command that is only its name."""


def bare(cursor: Cursor) -> Bare:
    return Bare()


@dataclass(frozen=True, slots=True)
class Named:
    """A command on one mailbox."""

    mailbox: bytes


def named(cursor: Cursor) -> Named:
    cursor.sp()
    return Named(cursor.astring("a mailbox name"))


@dataclass(frozen=True, slots=True)
class Verb:
    """One command: where it is legal, how its arguments read (from the space on), what it does.

    `expunge`: whether EXPUNGE may be told before its tagged answer (`view.py`, rule 2). `refresh`: whether it asks the
    store for news even when nothing announced any. `big`: whether its literal may be a whole message.
    `changes`: whether it changes more than what is selected, so that a delegate must be allowed to.
    """

    name: str
    states: frozenset[State]
    parse: Callable[[Cursor], Any]
    run: Callable[[Session, Any], Awaitable[Done]]
    expunge: bool = True
    refresh: bool = False
    big: bool = False
    changes: bool = False
