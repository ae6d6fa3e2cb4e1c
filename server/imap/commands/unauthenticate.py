"""UNAUTHENTICATE (RFC 8437): back to before sign-in on the same connection; of what was there only TLS stays."""

from __future__ import annotations

from server.imap.command import Bare
from server.imap.responses import Done, Illegal
from server.imap.session import Session


async def unauthenticate(session: Session, command: Bare) -> Done:
    if session.compressed:
        # RFC 8437 §3 lets a server take it back by its capabilities: where a stream under deflate ends is anybody's
        # guess, and a wrong one would read a password as a command.
        raise Illegal("Not offered under COMPRESS")
    # RFC 8437 §3: a selected mailbox is left without EXPUNGE.
    session.sign_out()
    return Done("Signed out", b"CAPABILITY " + session.capabilities())
