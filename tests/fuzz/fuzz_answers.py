"""Invariant: whatever lines another IMAP server answers a migration with, reading them raises nothing; a message that
is told has a uid, no more keywords than a message may have, and of its body only octets that were sent; a folder's
title here is a name that a folder may have, or nothing but too long for one.

The lines are cut at LF; one behind a line that announces a literal is taken for it, as the client gives them.
"""

from __future__ import annotations

from server.base.errors import Refused
from server.base.limits import FOLDER_NAME_BYTES, KEYWORDS_PER_MESSAGE
from server.cli.migrate import answers
from server.cli.migrate.places import title, use
from server.mailbox.names import DEPTH, normalise


def fuzz(data: bytes) -> None:
    lines = data.split(b"\n")
    prefix, others = answers.namespaces(lines)
    assert all(others)
    for folder in answers.listed(lines):
        name = title(folder, prefix)
        use(folder)
        try:
            normalise(name)
        except Refused:
            assert len(name.encode()) > FOLDER_NAME_BYTES or name.count("/") >= DEPTH
    for uid, message in answers.fetched(lines).items():
        assert 0 < uid == message.uid
        assert 0 <= message.flags < 32
        assert len(message.keywords) <= KEYWORDS_PER_MESSAGE
        assert len(message.body or b"") <= len(data)
    assert answers.numbers(lines) == sorted(set(answers.numbers(lines)))
    answers.opened(lines)
