"""Messages too large to wait in memory: literals that go into the mailbox while they come, before their command runs.

What goes wrong on the way is told when the command asks for the message; what comes until then is dropped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from server.imap.grammar.reader import Passed, Piece
from server.mailbox.incoming import Incoming


@dataclass(slots=True)
class _Upload:
    incoming: Incoming | None = None
    error: Exception | None = None


class Uploads:
    """Those of the command being received."""

    def __init__(self, begin: Callable[[], Awaitable[Incoming]]) -> None:
        """`begin` raises where no message may be brought, so that none is stored in vain."""
        self._begin = begin
        self._uploads: list[_Upload] = []

    async def add(self, piece: Piece) -> None:
        if piece.number == len(self._uploads):
            self._uploads.append(_Upload())
        upload = self._uploads[piece.number]
        if upload.error is None:
            try:
                upload.incoming = upload.incoming or await self._begin()
                await upload.incoming.add(piece.data)
            except Exception as error:
                upload.error = error

    def of(self, passed: Passed) -> Incoming:
        """The message that a literal was. Raises what kept it from being taken."""
        upload = self._uploads[passed.number]
        if upload.incoming is None or upload.error is not None:
            raise upload.error or RuntimeError("nothing of this message has come")
        return upload.incoming

    def clear(self) -> None:
        self._uploads.clear()
