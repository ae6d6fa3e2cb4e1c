"""NOTIFY (RFC 5465): what the session wants to be told by itself from here on, instead of what it wanted before."""

from __future__ import annotations

from server.imap.grammar.notify import EVENTS, Notify
from server.imap.notifications import Notifications
from server.imap.responses import Declined, Done
from server.imap.session import Session


async def notify(session: Session, command: Notify) -> Done:
    if command.unknown:
        # RFC 5465 §3.1: nothing changes, and the client learns what it may ask for.
        raise Declined(b"BADEVENT (%s)" % b" ".join(EVENTS.values()), "Some of the events are not told here")
    fresh = Notifications(session, command.groups) if command.groups else None
    if fresh is not None:
        try:
            await fresh.start(command.status)
        except BaseException:
            fresh.close()
            raise
    session.notify(fresh)
    return Done("It will be told")
