"""Invariant: whatever stands behind MAIL, RCPT or AUTH, or in a header block, it is understood or refused with an error
of the domain, never anything else; what is understood is bounded and holds no byte that could end a line or a field.

The input is one argument; it is read as each of the four.
"""

from __future__ import annotations

from server.base import limits
from server.base.errors import CaduceeError
from server.smtp import commands, sasl
from server.transport import heading


def fuzz(data: bytes) -> None:
    text = data.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"").decode("utf-8", "surrogateescape")
    for keyword in ("FROM:", "TO:"):
        try:
            path = commands.parse(text, keyword)
        except CaduceeError:
            continue
        assert text[: len(keyword)].upper() == keyword
        assert len(path.address.encode()) <= limits.ADDRESS
        assert "\n" not in path.address
        for name, value in path.parameters.items():
            assert name == name.upper()
            assert value.isprintable() or not value.isascii()
            assert " " not in value
    _sign_in(data)
    _header(data)


def _sign_in(data: bytes) -> None:
    try:
        message = sasl.decode(data)
        assert data == b"=" or sasl.encode(message).encode() == data
        given = sasl.plain(message)
    except CaduceeError:
        return
    assert given.address
    assert given.password
    assert "\0" not in given.address + given.password


def _header(data: bytes) -> None:
    try:
        head = heading.read(data)
    except CaduceeError:
        return
    for address in head.authors:
        assert "@" in address
    for text in (*head.authors, head.reply_to, head.message_id, head.answers):
        assert "\r\n" not in text
    assert head.writer in ("", *head.authors)
