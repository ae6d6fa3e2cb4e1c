"""Invariant: whatever stands behind MAIL, RCPT or BURL, or in a header block, it is understood or refused with an error
of the domain, never anything else; what is understood is bounded and holds no byte that could end a line or a field.

The input is one argument; it is read as each of them.
"""

from __future__ import annotations

from server.base import limits
from server.base.errors import CaduceeError
from server.mail import xtext
from server.smtp import commands, parameters
from server.smtp.replies import Objection
from server.transport import heading
from server.transport.envelope import Notify


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
        _parameters(path.parameters)
    _burl(text)
    _header(data)


def _burl(text: str) -> None:
    try:
        said = commands.burl(text)
    except CaduceeError:
        return
    assert text.encode().startswith(said.url)
    assert b" " not in said.url
    assert said.last == (len(text) != len(said.url))


def _parameters(given: dict[str, str]) -> None:
    """What passes here goes out again to the next operator, and into the fields of a notification."""
    try:
        said = parameters.mail(given, 1_000, holds=True)
    except Objection:
        pass
    else:
        assert 0 <= said.size <= 1_000
        assert len(said.envelope_id) <= 100
        assert xtext.decode(said.envelope_id) is not None
    for utf8 in (False, True):
        try:
            asked = parameters.rcpt(given, utf8=utf8)
        except Objection:
            continue
        assert asked.original.isprintable()
        assert utf8 or asked.original.isascii()
        assert Notify.NEVER not in asked.notify or len(asked.notify) == 1


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
