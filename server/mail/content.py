"""What stands in a part: its octets without transfer encoding, and the text of those (RFC 2045 §6)."""

from __future__ import annotations

import base64
import html
import quopri
import re
from typing import TYPE_CHECKING

from server.mail import headers

if TYPE_CHECKING:
    from server.mail.structure import Part

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
# RFC 2045 §6.8: "=" ends the data; what follows is not decoded, since readers differ on it.
_PADDED = re.compile(rb"[^=]*+")
# RFC 2045 §6.7 (3): white space at the end of a line was added on the way.
_ADDED = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n|\Z)")
_BLOCK_ENDS = re.compile(r"<(?:br|/p|/div|/tr|/li|/h[1-6])\b[^>]*+>", re.IGNORECASE)
_UNSHOWN = re.compile(r"<(?:(script|style|head|title)\b|!--)", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*+>?")
_SPACES = re.compile(r"[ \t\xa0]+")


def octets(body: bytes, encoding: str) -> bytes:
    """A body without its transfer encoding, never longer than it. Damaged data gives what can be read of it."""
    if encoding == "base64":
        kept = _NOT_BASE64.sub(b"", (_PADDED.match(body) or [b""])[0])
        if len(kept) % 4 == 1:
            kept = kept[:-1]  # six bits alone are no octet
        return base64.b64decode(kept + b"=" * (-len(kept) % 4))
    if encoding == "quoted-printable":
        return quopri.decodestring(_ADDED.sub(b"", body))
    return body


class Base64:
    """`octets` of base64 that passes: `update` gives what is ready, `finish` the rest."""

    def __init__(self) -> None:
        self._kept = b""
        self._padded = False

    def update(self, body: bytes) -> bytes:
        if self._padded:
            return b""
        data, padding, _ = body.partition(b"=")
        self._padded = bool(padding)
        kept = self._kept + _NOT_BASE64.sub(b"", data)
        whole = len(kept) - len(kept) % 4
        self._kept = kept[whole:]
        return base64.b64decode(kept[:whole])

    def finish(self) -> bytes:
        return octets(self._kept, "base64")


class QuotedPrintable:
    """`octets` of quoted-printable that passes: `update` gives what is ready, `finish` the rest."""

    def __init__(self) -> None:
        self._kept = b""

    def update(self, body: bytes) -> bytes:
        kept = self._kept + body
        # What "=" stands for ends with its line.
        cut = kept.rfind(b"\n") + 1 if b"=" in kept else len(kept.rstrip(b" \t\r"))
        self._kept = kept[cut:]
        return octets(kept[:cut], "quoted-printable")

    def finish(self) -> bytes:
        return octets(self._kept, "quoted-printable")


DECODERS: dict[str, type[Base64 | QuotedPrintable]] = {"base64": Base64, "quoted-printable": QuotedPrintable}


def decode(part: Part, data: bytes, *, whole: bool = True) -> bytes:
    """The octets of a part. `data` is the whole message, or with `whole=False` the body of the part alone."""
    return octets(data[part.body_start : part.body_end] if whole else data, part.encoding)


def text(data: bytes, charset: str) -> str:
    """Decoded octets of a text part in its charset, line ends as LF. What does not fit shows as U+FFFD."""
    return headers.text(data, charset).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def plain(markup: str) -> str:
    """The words of an HTML text, without markup: for a preview or a search, never as HTML."""
    markup = _BLOCK_ENDS.sub("\n", _shown(markup))
    return _SPACES.sub(" ", html.unescape(_TAG.sub("", markup))).strip()


def _shown(markup: str) -> str:
    """Markup without what a browser does not show. An element that does not end hides the rest, as there."""
    kept: list[str] = []
    at = 0
    while (opening := _UNSHOWN.search(markup, at)) is not None:
        kept.append(markup[at : opening.start()])
        closing = re.compile(f"</{opening[1]}\\s*+>" if opening[1] else "-->", re.IGNORECASE).search(
            markup, opening.end()
        )
        if closing is None:
            break
        at = closing.end()
    else:
        kept.append(markup[at:])
    return " ".join(kept)


def preview(data: bytes, charset: str, subtype: str, limit: int) -> str:
    """The beginning of a decoded text on one line, at most `limit` characters (RFC 8970 §3.1)."""
    words = text(data, charset)
    if subtype == "html":
        words = plain(words)
    return " ".join(headers.printable(" ".join(words.split())).split())[:limit].rstrip()
