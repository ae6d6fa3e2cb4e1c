"""The content of one message as chunks of BDAT bring it (RFC 3030). Its size and the worker's memory are the session's.

A chunk is only counted, so nothing in it can pretend to be an end; but what is stored here leaves by DATA elsewhere, so
the rules of the lines hold as they do for DATA, except in what BODY=BINARYMIME declares to be no lines: and there they
still hold for the header.
"""

from __future__ import annotations

from server.base.errors import ProtocolViolation, Reason

_CRLF = b"\r\n"


class Content:
    """`add` octets, then ask for the `end`."""

    def __init__(self) -> None:
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._data)

    def add(self, data: bytes) -> None:
        self._data += data

    def clear(self) -> None:
        """Forget it: the message will not be taken."""
        self._data.clear()

    def end(self, *, binary: bool) -> bytes:
        """The whole content. Raises ProtocolViolation BARE_LINE_ENDING."""
        data = bytes(self._data)
        self._data.clear()
        header = data.find(_CRLF + _CRLF) if binary else -1
        lines = data if header < 0 else data[:header]
        pairs = lines.count(_CRLF)
        # RFC 5321 §2.3.8, as in the Reader.
        if lines.count(b"\n") != pairs or lines.count(b"\r") != pairs:
            raise ProtocolViolation(Reason.BARE_LINE_ENDING, "bare CR or LF in the message; lines end with CR LF")
        return data
