"""One IMAP session, sans-IO: who is signed in, what is selected, what the client was told.

It writes to an `Output` and asks `Services`; it knows no socket, no clock and no TLS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

from server.base.errors import Reason, Refused
from server.base.metrics import CONNECTIONS
from server.identity.model import Rights
from server.imap import fetch_lines
from server.imap.budget import Budget
from server.imap.capabilities import Phase, capabilities
from server.imap.grammar import flags, names, write
from server.imap.responses import untagged
from server.imap.view import Selected, Updates, Views
from server.mailbox.model import Folder

if TYPE_CHECKING:
    from server.identity.model import Principal
    from server.identity.sasl import Given
    from server.mailbox.store import Mailbox


class State(Enum):
    """RFC 9051 §3."""

    NOT_AUTHENTICATED = auto()
    AUTHENTICATED = auto()
    SELECTED = auto()
    LOGOUT = auto()


class Output(Protocol):
    """Where answers go. `drain` returns when the client has taken enough of them."""

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


class SignIn(Protocol):
    """What `server.identity.accounts.Accounts` offers."""

    def mechanisms(self, shown: Sequence[bytes] = ()) -> tuple[str, ...]: ...

    async def sign_in(self, given: Given, network: str, shown: Sequence[bytes] = ()) -> Principal: ...


class Opens(Protocol):
    """What `server.mailbox.store.Store` offers."""

    async def open(self, owner_id: int) -> Mailbox: ...


@dataclass(frozen=True, slots=True)
class Services:
    """What all sessions of a worker share."""

    accounts: SignIn
    store: Opens
    views: Views
    budget: Budget
    now: Callable[[], datetime]
    log: Any
    max_message_bytes: int


class Session:
    def __init__(self, services: Services, output: Output, network: str, secure: bool) -> None:
        """`network` is the client's address for the throttle; `secure` whether the connection is under TLS."""
        self.services = services
        self.output = output
        self.network = network
        self.secure = secure
        self.shown: tuple[bytes, ...] = ()  # the client's certificate with its path (DER), verified by TLS; by the edge
        self.state = State.NOT_AUTHENTICATED
        self.principal: Principal | None = None
        self.selected: Selected | None = None
        self.condstore = False
        self.tag = b""  # of the command being run
        self.wake: Callable[[], None] | None = None  # set by the edge: called when an idling session has news
        self._mailbox: Mailbox | None = None

    # --- what it may do ---------------------------------------------------------------------------------------
    @property
    def phase(self) -> Phase:
        if self.state is State.NOT_AUTHENTICATED:
            return Phase.SIGN_IN if self.secure else Phase.CLEAR
        return Phase.SIGNED_IN

    @property
    def mechanisms(self) -> tuple[str, ...]:
        return self.services.accounts.mechanisms(self.shown)

    def capabilities(self) -> bytes:
        return capabilities(self.phase, self.services.max_message_bytes, self.mechanisms)

    @property
    def over(self) -> bool:
        """Whether the sign-in was for a time that has passed."""
        until = self.principal.until if self.principal is not None else None
        return until is not None and self.services.now() >= until

    @property
    def may_change(self) -> bool:
        """Whether this sign-in may change the mailbox: the holder may, a delegate when that was granted."""
        return self.principal is not None and Rights.MANAGE in self.principal.rights

    def require_change(self) -> None:
        """Raises Refused(NOT_ALLOWED)."""
        if not self.may_change:
            raise Refused(Reason.NOT_ALLOWED, "This mailbox is shared with you for reading only")

    @property
    def mailbox(self) -> Mailbox:
        """The signed-in owner's. Raises Refused before sign-in."""
        if self._mailbox is None:
            raise Refused(Reason.AUTHENTICATION_REQUIRED, "Sign in first")
        return self._mailbox

    @property
    def sight(self) -> Selected:
        """What is selected. Raises Refused when nothing is."""
        if self.selected is None:
            raise Refused(Reason.NO_SUCH_FOLDER, "No mailbox is selected")
        return self.selected

    def writable(self) -> Selected:
        if self.sight.read_only:
            raise Refused(Reason.NOT_ALLOWED, "The mailbox is open for reading only")
        return self.sight

    # --- transitions ------------------------------------------------------------------------------------------
    async def sign_in(self, given: Given) -> None:
        """Raises Refused(BAD_CREDENTIALS), TryLater(THROTTLED)."""
        principal = await self.services.accounts.sign_in(given, self.network, self.shown)
        self._mailbox = await self.services.store.open(principal.owner_id)
        self.principal = principal
        self.state = State.AUTHENTICATED
        CONNECTIONS.labels("imap", principal.kind).inc()

    def enter(self, selected: Selected) -> None:
        self.selected = selected
        self.state = State.SELECTED

    def leave(self) -> None:
        """Unselect. Safe to call twice."""
        if self.selected is not None:
            self.stop_idling()
            self.services.views.close(self.mailbox, self.selected.shared)
            self.selected = None
        if self.state is State.SELECTED:
            self.state = State.AUTHENTICATED

    def close(self) -> None:
        self.leave()
        self.state = State.LOGOUT

    def start_idling(self) -> None:
        if self.selected is not None and self.wake is not None:
            self.selected.shared.listeners.add(self.wake)

    def stop_idling(self) -> None:
        if self.selected is not None and self.wake is not None:
            self.selected.shared.listeners.discard(self.wake)

    # --- writing ----------------------------------------------------------------------------------------------
    def write(self, data: bytes) -> None:
        self.output.write(data)

    def line(self, text: bytes) -> None:
        self.output.write(b"* " + text + b"\r\n")

    def ok(self, text: str, code: bytes) -> None:
        self.output.write(untagged(b"OK", text, code))

    async def drain(self) -> None:
        await self.output.drain()

    async def sync(self, expunge: bool, force: bool = False) -> None:
        """Tell what changed in the selected mailbox; see `view.py` for when `expunge` may be true.

        Raises Refused(NO_SUCH_FOLDER) when the selected mailbox was deleted.
        """
        selected = self.selected
        if selected is None:
            return
        await selected.shared.refresh(self.mailbox, force)
        self._tell(selected, selected.updates(expunge))
        await self.drain()

    def _tell(self, selected: Selected, news: Updates) -> None:
        for number in news.expunged:
            self.line(b"%d EXPUNGE" % number)
        if news.exists is not None:
            self.line(b"%d EXISTS" % news.exists)
        if news.keywords:
            self.write_flags(selected)
        for number, row in news.changed:
            self.line(fetch_lines.flags_line(number, row, uid=True, modseq=self.condstore))

    def write_flags(self, selected: Selected) -> None:
        keywords = "".join(f" {name}" for name in selected.shared.keywords.values()).encode("ascii", "replace")
        self.line(b"FLAGS (%s%s)" % (flags.ALL_SYSTEM, keywords))

    # --- names ------------------------------------------------------------------------------------------------
    def name(self, raw: bytes) -> str:
        """A mailbox name as the client wrote it. Raises Refused(BAD_FOLDER_NAME)."""
        return names.decode(raw)

    async def folder(self, raw: bytes) -> Folder:
        """Raises Refused: NO_SUCH_FOLDER, BAD_FOLDER_NAME."""
        return await self.mailbox.folder(self.name(raw))

    @staticmethod
    def written_name(name: str) -> bytes:
        return write.mailbox(name)
