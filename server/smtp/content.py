"""The content of one message on its way in, from DATA or from chunks of BDAT: `add` octets in order, then `end`.

Up to 1 MiB it waits in memory for its end. Past it policy is asked at once, by the header, and what comes is handed on
while it comes, so that memory does not follow the size.

The Reader has judged the lines of DATA. A chunk is only counted, so nothing in it can pretend to be an end; but what is
stored here leaves by DATA elsewhere, so the rules of the lines hold as they do for DATA, except in what BODY=BINARYMIME
declares to be no lines: and there they still hold for the header.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from server.base.errors import Reason, TryLater
from server.base.limits import LARGE_MESSAGE_BYTES, MIME_HEADER_BYTES
from server.mailbox.content import LARGE_BODY
from server.smtp.reader import PART
from server.smtp.service import Service
from server.transport.accept import Accepted
from server.transport.envelope import Envelope, Recipient
from server.transport.large import LargeMessage
from server.transport.lines import Lines
from server.transport.policy import Content as Found
from server.transport.policy import Speaker

_CRLF = b"\r\n"
_STEP = 2 * MIME_HEADER_BYTES  # the first holds every header that policy lets in


class Content:
    """One message on its way from its session to policy and accept."""

    def __init__(
        self,
        service: Service,
        trace_id: str,
        who: Speaker,
        reverse_path: str,
        recipients: tuple[Recipient, ...],
        envelope: Callable[[Found], Envelope],
        hold: Callable[[int], bool],
        *,
        chunked: bool = False,
        binary: bool = False,
    ) -> None:
        """`envelope` makes the envelope of what policy found; `hold` counts octets of memory, False when they do not
        fit; `chunked`: nobody has judged the lines."""
        self._policy, self._acceptor = service.policy, service.acceptor
        self._follows = service.follows
        self.trace_id = trace_id
        self._asked = who, reverse_path, recipients
        self._envelope = envelope
        self._hold = hold
        self._lines = Lines() if chunked and not binary else None
        self._binary = binary
        self._data: bytes | bytearray = b""  # not handed on yet
        self._large: LargeMessage | None = None
        self.octets = 0

    @property
    def is_large(self) -> bool:
        """Whether it is handed on while it comes: what is added stays no longer in memory."""
        return self._large is not None

    async def add(self, data: bytes) -> None:
        """Raises what policy and accept raise, and TryLater(BUSY) past the memory; then no more is to be added."""
        self.octets += len(data)
        if self._lines is not None:
            self._lines.add(data)
        if not self._data:
            self._data = data
        else:
            if isinstance(self._data, bytes):
                self._data = bytearray(self._data)
            self._data += data
        if len(self._data) > (LARGE_BODY if self._large is None else PART):
            await self._hand_on()

    async def end(self) -> Accepted:
        """Hand the message over: returns after COMMIT. Raises what policy and accept raise, ProtocolViolation."""
        if self._lines is not None:
            self._lines.check()
        if self._large is None:
            data = bytes(self._data)
            return await self._acceptor.accept(self._followed(await self._judged(data), data), data)
        if self._data:
            await self._hand_on()
        return await self._acceptor.end(self._large)

    def _followed(self, envelope: Envelope, data: bytes) -> Envelope:
        """A pointer is not for the mailboxes: it waits in the queue until its message was fetched for them."""
        who, reverse_path, _ = self._asked
        held = self._policy.leads_to(who, reverse_path, data) if self._follows else None
        if held is None:
            return envelope
        return replace(envelope, recipients=tuple(replace(one, route=held) for one in envelope.recipients), turn=None)

    async def _hand_on(self) -> None:
        data, self._data = bytes(self._data), b""
        if self._large is None:
            if not self._hold(LARGE_MESSAGE_BYTES):
                raise TryLater(Reason.BUSY, "Too much mail in flight.")
            self._large = await self._acceptor.begin(await self._judged(data))
        self._policy.size(*self._asked, self.octets)
        # In steps, so that the first, which is the largest, is not copied as a whole by all that look at it.
        for start in range(0, len(data), _STEP):
            await self._acceptor.add(self._large, data[start : start + _STEP])

    async def _judged(self, data: bytes) -> Envelope:
        """The envelope, where policy lets the message with this beginning in."""
        if self._binary:
            header = Lines()
            header.add(data[: data.find(_CRLF + _CRLF)] if _CRLF + _CRLF in data else data)
            header.check()
        return self._envelope(await self._policy.content(*self._asked, data))
