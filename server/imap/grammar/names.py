"""Mailbox names: modified UTF-7 on the wire of rev1 (RFC 3501 §5.1.3), UTF-8 where enabled; list patterns.

Inside the server a name is a Unicode string with "/" between levels. INBOX is one name in any case (RFC 9051 §5.1).
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata

from server.base.errors import Reason, Refused
from server.base.limits import FOLDER_NAME_BYTES

DELIMITER = "/"
_PRINTABLE = frozenset(range(0x20, 0x7F))
_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")
_BEYOND = re.compile(r"[^\x20-\x7e]+|&")


def decode(raw: bytes, utf8: bool = False) -> str:
    """The name a client wrote. Raises Refused(BAD_FOLDER_NAME) when it is none."""
    try:
        text = raw.decode("utf-8") if utf8 else _from_utf7(raw)
    except (UnicodeError, binascii.Error, ValueError):
        raise Refused(Reason.BAD_FOLDER_NAME, "The mailbox name is not well encoded") from None
    # RFC 9051 §5.1: names are Net-Unicode (RFC 5198): NFC, no control characters.
    text = unicodedata.normalize("NFC", text)
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text):
        raise Refused(Reason.BAD_FOLDER_NAME, "A mailbox name cannot hold control characters")
    head, slash, rest = text.partition(DELIMITER)
    return "INBOX" + slash + rest if head.upper() == "INBOX" else text


def creatable(name: str) -> str:
    """`name` when a folder may be called so. Raises Refused(BAD_FOLDER_NAME)."""
    levels = name.split(DELIMITER)
    if not all(level.strip() for level in levels) or len(name.encode()) > FOLDER_NAME_BYTES:
        raise Refused(Reason.BAD_FOLDER_NAME, "A level of the mailbox name is empty, or the name is too long")
    if any(character in name for character in "%*"):
        raise Refused(Reason.BAD_FOLDER_NAME, "A mailbox name cannot hold % or *")
    return name


def encode(name: str, utf8: bool = False) -> bytes:
    """The name as it goes on the wire, before quoting."""
    return name.encode("utf-8") if utf8 else _to_utf7(name)


def _from_utf7(raw: bytes) -> str:
    text = raw.decode("ascii")
    out: list[str] = []
    at = 0
    while (shift := text.find("&", at)) >= 0:
        out.append(text[at:shift])
        found = _SHIFTED.match(text, shift)
        if found is None:
            raise ValueError
        out.append(_unshift(found[1]))
        at = found.end()
    out.append(text[at:])
    decoded = "".join(out)
    # RFC 3501 §5.1.3: printable US-ASCII stands for itself and shifts are not wasted, so each name has ONE form.
    if _to_utf7(decoded) != raw:
        raise ValueError
    return decoded


def _unshift(encoded: str) -> str:
    if not encoded:
        return "&"
    padded = encoded.replace(",", "/") + "=" * (-len(encoded) % 4)
    return base64.b64decode(padded, validate=True).decode("utf-16-be")


def _to_utf7(name: str) -> bytes:
    return _BEYOND.sub(_shift, name).encode("ascii")


def _shift(found: re.Match[str]) -> str:
    if found[0] == "&":
        return "&-"
    encoded = base64.b64encode(found[0].encode("utf-16-be")).decode("ascii")
    return "&" + encoded.rstrip("=").replace("/", ",") + "-"


class Pattern:
    """A LIST pattern: "*" any characters, "%" any but the delimiter (RFC 9051 §6.3.9).

    All positions of the pattern are followed at once, as bits of one integer: the cost is the length of the name,
    whatever the client wrote (no backtracking: CVE-2021-40110).
    """

    def __init__(self, pattern: str) -> None:
        head, slash, rest = pattern.partition(DELIMITER)
        if head.upper() == "INBOX":
            pattern = "INBOX" + slash + rest
        pattern = re.sub(r"[*%]+", lambda run: "*" if "*" in run[0] else "%", pattern)
        self._shortest = len(pattern) - pattern.count("*") - pattern.count("%")
        self._accepts: dict[str, int] = {}
        self._stars = self._percents = 0
        size = 0
        for character in pattern:
            if character == "*":
                self._stars |= 1 << size
            elif character == "%":
                self._percents |= 1 << size
            else:
                self._accepts[character] = self._accepts.get(character, 0) | 1 << size
            size += 1
        self._final = 1 << size

    def matches(self, name: str) -> bool:
        if len(name) < self._shortest:
            return False
        wild = self._stars | self._percents
        alive = self._skip(1, wild)
        for character in name:
            stay = self._stars if character == DELIMITER else wild
            alive = self._skip((alive & stay) | ((alive & self._accepts.get(character, 0)) << 1), wild)
            if not alive:
                return False
        return bool(alive & self._final)

    @staticmethod
    def _skip(alive: int, wild: int) -> int:
        """Let each position on a wildcard also stand behind it (it may match nothing); no two stand side by side."""
        return alive | (alive & wild) << 1
