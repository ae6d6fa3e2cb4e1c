"""Any bytes as a message that may lead to another.

Invariant: `is_pointer` answers; `read` gives a pointer whose sizes and secrets have their lengths, or refuses; what it
gives is written and read back the same, under any header, and the message that is written is a pointer.
"""

from __future__ import annotations

from server.base.errors import ProtocolViolation
from server.transport.pointer import is_pointer, padded_size, read

HEADER = b"From: <a@b.example>\r\nContent-Type: text/plain;\r\n charset=utf-8\r\nSubject: x\r\n\r\n"


def fuzz(data: bytes) -> None:
    is_pointer(data)
    try:
        pointer = read(data)
    except ProtocolViolation:
        return
    assert 0 <= pointer.size <= pointer.padded == padded_size(pointer.size)
    assert [len(one) for one in (pointer.held_id, pointer.key, pointer.salt, pointer.digest)] == [16, 32, 32, 32]
    message = pointer.to_message(HEADER)
    assert is_pointer(message)
    assert b"charset" not in message
    again = read(message)
    assert again.path == pointer.path
    assert (again.domain, again.key, again.salt, again.size) == (
        pointer.domain,
        pointer.key,
        pointer.salt,
        pointer.size,
    )
