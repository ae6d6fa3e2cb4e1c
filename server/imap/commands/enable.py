"""ENABLE (RFC 5161; RFC 9051 §6.3.1): what a client says that it understands, and what changes with it.

Nothing enabled is switched off again but by UNAUTHENTICATE.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.imap.grammar.cursor import Cursor
from server.imap.responses import Done
from server.imap.session import Session


@dataclass(frozen=True, slots=True)
class Enable:
    names: tuple[str, ...]


def parse_enable(cursor: Cursor) -> Enable:
    """enable = "ENABLE" 1*(SP capability)"""
    cursor.sp()
    wanted = [cursor.word("a capability")]
    while cursor.take(b" "):
        wanted.append(cursor.word("a capability"))
    return Enable(tuple(dict.fromkeys(wanted)))


def _condstore(session: Session) -> bool:
    fresh = not session.condstore
    session.use_condstore()
    return fresh


def _qresync(session: Session) -> bool:
    # RFC 7162 §3.2.3: it brings CONDSTORE with it.
    session.use_condstore()
    fresh, session.qresync = not session.qresync, True
    return fresh


def _rev2(session: Session) -> bool:
    fresh, session.rev2 = not session.rev2, True
    return fresh


def _utf8(session: Session) -> bool:
    fresh, session.utf8 = not session.utf8, True
    return fresh


def _uidonly(session: Session) -> bool:
    fresh, session.uidonly = not session.uidonly, True
    if session.selected is not None:
        session.selected.uidonly = True
    return fresh


# Each switches on and says whether it was off.
_SWITCHES = {
    "CONDSTORE": _condstore,
    "QRESYNC": _qresync,
    "IMAP4REV2": _rev2,
    "UTF8=ACCEPT": _utf8,
    "UIDONLY": _uidonly,
}
_WRITTEN = {"IMAP4REV2": "IMAP4rev2"}


async def enable(session: Session, command: Enable) -> Done:
    # RFC 5161 §3.2: what was newly enabled; names that are unknown are passed over.
    fresh = [name for name in command.names if name in _SWITCHES and _SWITCHES[name](session)]
    session.line(" ".join(("ENABLED", *(_WRITTEN.get(name, name) for name in fresh))).encode())
    return Done("ENABLE completed")
