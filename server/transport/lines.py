"""Whether lines end as they must, in a message that passes."""

from __future__ import annotations

from server.base.errors import ProtocolViolation, Reason

_CRLF = b"\r\n"


class Lines:
    """Whether CR and LF stand together only (RFC 5321 §2.3.8), in all that is added."""

    def __init__(self) -> None:
        self._cr = self._lf = self._pairs = 0
        self._last = b""

    def add(self, data: bytes) -> None:
        self._cr += data.count(b"\r")
        self._lf += data.count(b"\n")
        self._pairs += data.count(_CRLF) + (self._last == b"\r" and data.startswith(b"\n"))
        self._last = data[-1:] or self._last

    def check(self) -> None:
        """Raises ProtocolViolation BARE_LINE_ENDING."""
        if not self._cr == self._lf == self._pairs:
            raise ProtocolViolation(Reason.BARE_LINE_ENDING, "bare CR or LF in the message; lines end with CR LF")
