"""Invariant: whatever another server's bytes and however they are cut, its replies are the same or the same violation;
nothing but MALFORMED is raised; a reply has three digits and as many lines as were sent; what is held stays within the
limits; the text that is kept is short printable ASCII without an address or a number as long as an INS; a status is of
the reply's class; and what a reply offers as extensions is a mapping of words.

The first byte chooses how the bytes are cut.
"""

from __future__ import annotations

import re

from server.base.errors import ProtocolViolation, Reason
from server.sender.dialogue import answer, extensions
from server.sender.replies import LINE, LINES, TEXT, Replies, Reply


def read(data: bytes, step: int) -> tuple[list[Reply], bool]:
    """The replies, and whether a violation ended them."""
    replies, found = Replies(), []
    for start in range(0, len(data), step):
        try:
            replies.feed(data[start : start + step])
            while (reply := replies.next()) is not None:
                found.append(reply)
        except ProtocolViolation as violation:
            if violation.reason is not Reason.MALFORMED:
                raise
            return found, True
    return found, False


def fuzz(data: bytes) -> None:
    step, data = (data[0] if data else 0) % 17 + 1, data[1:]
    found, violated = read(data, max(1, len(data)))
    assert read(data, step) == (found, violated)
    assert sum(len(reply.lines) for reply in found) <= data.count(b"\n")
    for reply in found:
        check(reply)


def check(reply: Reply) -> None:
    assert 200 <= reply.code < 600
    assert 1 <= len(reply.lines) <= LINES
    assert all(len(line) < LINE for line in reply.lines)
    assert reply.positive + reply.permanent <= 1
    assert len(reply.text) <= TEXT + 2 * TEXT  # an ellipsis becomes three dots
    assert re.fullmatch(r"[\x20-\x7e]*", reply.text)
    assert not re.search(r"[0-9]{12}", reply.text)
    assert not re.search(r"\w@\w", reply.text)
    assert re.fullmatch(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", reply.status)
    outcome = answer(reply, {})
    assert outcome.delivered is (reply.status[0] == "2") is reply.positive
    assert outcome.permanent is (reply.status[0] == "5")
    assert all(keyword == keyword.upper() for keyword in extensions(reply))
