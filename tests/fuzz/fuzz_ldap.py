"""Invariant: whatever a client sends, an LDAP session answers with whole messages of RFC 4511, asks, or closes; it
never raises. Bytes that come one at a time do the same as those that come at once."""

from __future__ import annotations

from server.ldap.grammar import check, frame
from server.ldap.session import Action, Ask, Close, Send, Session, StartTls


def fuzz(data: bytes) -> None:
    at_once = run([data])
    for action in at_once:
        if isinstance(action, Send):
            assert frame(action.data) == len(action.data)
            check(action.data)
    if len(data) <= 2_048:
        singly = run([data[i : i + 1] for i in range(len(data))])
        # What comes along with StartTLS is the one thing that chunking may decide (RFC 4511 §4.14.1).
        if not any(b"1.3.6.1.4.1.1466.20037" in action.data for action in at_once if isinstance(action, Send)):
            assert singly == at_once


def run(chunks: list[bytes]) -> list[Action]:
    session = Session(secure=False)
    actions: list[Action] = []
    for chunk in chunks:
        for action in session.feed(chunk):
            actions.append(action)
            if isinstance(action, StartTls | Close):
                return actions
            if isinstance(action, Ask) and len(actions) % 3 == 0:
                session.done(action.request)
    return actions
