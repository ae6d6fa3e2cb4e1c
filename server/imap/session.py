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
from server.base.limits import IMAP_PROGRESS_SECONDS
from server.base.metrics import CONNECTIONS
from server.identity.model import Rights
from server.imap import contexts
from server.imap.budget import Budget
from server.imap.capabilities import Phase, capabilities
from server.imap.grammar import flags, names, write
from server.imap.grammar.sequence import compact
from server.imap.responses import untagged
from server.imap.uploads import Uploads
from server.imap.view import Selected, Updates, Views
from server.mailbox.model import Folder, Row

if TYPE_CHECKING:
    from server.identity.model import Principal
    from server.identity.sasl import Given
    from server.imap.notifications import Notifications
    from server.mailbox.incoming import Incoming
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

    def flush(self) -> None:
        """Send what was written so far, without waiting for the rest of the answer."""

    def deflate(self) -> None:
        """What is written from here on goes under deflate (RFC 4978)."""


class SignIn(Protocol):
    """What `server.identity.accounts.Accounts` offers."""

    def mechanisms(self, shown: Sequence[bytes] = ()) -> tuple[str, ...]: ...

    async def sign_in(self, given: Given, network: str, shown: Sequence[bytes] = ()) -> Principal: ...


class Opens(Protocol):
    """What `server.mailbox.store.Store` offers."""

    async def open(self, owner_id: int) -> Mailbox: ...

    async def find(self, address: str) -> Mailbox: ...


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
        # What the client switched on, by ENABLE (RFC 5161) or, of CONDSTORE, by asking for it (RFC 7162 §3.1).
        self.rev2 = self.utf8 = self.condstore = self.qresync = self.uidonly = False
        self.compressed = False  # RFC 4978; the dialogue follows it when the answer is written
        self.tag = b""  # of the command being run
        self._told_at = services.now()  # when the client last heard of that command
        self.uploads = Uploads(self._incoming)  # messages that come as literals of the next command
        self.wake: Callable[[], None] | None = None  # set by the edge: called when an idling session has news
        self.notifications: Notifications | None = None  # what it is told by itself (RFC 5465)
        self.arrived: list[int] = []  # uids that were counted, and are still to be told as NOTIFY asked
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
        listed = capabilities(self.phase, self.services.max_message_bytes, self.mechanisms)
        return listed.replace(b" UNAUTHENTICATE", b"") if self.compressed else listed

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

    async def _incoming(self) -> Incoming:
        """Raises Refused: NOT_ALLOWED, MAILBOX_FULL."""
        self.require_change()
        await self.mailbox.check_room()
        return self.mailbox.incoming()

    # --- transitions ------------------------------------------------------------------------------------------
    async def sign_in(self, given: Given) -> None:
        """Raises Refused(BAD_CREDENTIALS), TryLater(THROTTLED)."""
        principal = await self.services.accounts.sign_in(given, self.network, self.shown)
        self._mailbox = await self.services.store.open(principal.owner_id)
        self.principal = principal
        self.state = State.AUTHENTICATED
        CONNECTIONS.labels("imap", principal.kind).inc()

    def use_condstore(self) -> None:
        """RFC 7162 §3.1: the first command that asks for it switches it on; what is selected then tells its modseq."""
        if not self.condstore:
            self.condstore = True
            if self.selected is not None:
                self.ok("Highest modification sequence", self.selected.highest)

    def enter(self, selected: Selected) -> None:
        selected.uidonly = self.uidonly
        self.selected = selected
        self.state = State.SELECTED
        self.listen(idle=False)

    def sign_out(self) -> None:
        """Forget everything but TLS (RFC 8437 §3, §4)."""
        self.notify(None)
        self.leave()
        self.rev2 = self.utf8 = self.condstore = self.qresync = self.uidonly = False
        self._mailbox = self.principal = None
        self.state = State.NOT_AUTHENTICATED

    def leave(self) -> None:
        """Unselect. Safe to call twice."""
        if self.selected is not None:
            self._deaf()
            self.arrived.clear()
            self.services.views.close(self.mailbox, self.selected.shared)
            self.selected = None
        if self.state is State.SELECTED:
            self.state = State.AUTHENTICATED

    def close(self) -> None:
        self.notify(None)
        self.leave()
        self.state = State.LOGOUT

    def notify(self, notifications: Notifications | None) -> None:
        """What the session is told by itself from here on."""
        if self.notifications is not None:
            self.notifications.close()
        self.notifications = notifications
        self.listen(idle=False)

    def listen(self, idle: bool) -> None:
        """Be woken by news of what is selected: while idling, and always where NOTIFY asked for it."""
        self._deaf()
        wanted = idle or (self.notifications is not None and self.notifications.selected is not None)
        if wanted and self.selected is not None and self.wake is not None:
            self.selected.shared.listeners.add(self.wake)

    def _deaf(self) -> None:
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

    def begin(self, tag: bytes) -> None:
        self.tag, self._told_at = tag, self.services.now()

    def progress(self, done: int, total: int) -> None:
        """How far the command is (RFC 9585); told every IMAP_PROGRESS_SECONDS. To be called between steps of work."""
        now = self.services.now()
        if (now - self._told_at).total_seconds() >= IMAP_PROGRESS_SECONDS:
            self._told_at = now
            # A "]" would end the code for clients that do not count quotes.
            tag = b"NIL" if b"]" in self.tag else b'"%s"' % self.tag
            self.ok("Still at it", b"INPROGRESS (%s %d %d)" % (tag, done, total))
            self.output.flush()

    async def sync(self, expunge: bool, force: bool = False, flags: bool = True) -> None:
        """Tell what changed in the selected mailbox; see `view.py` for when `expunge` may be true.

        Raises Refused(NO_SUCH_FOLDER) when the selected mailbox was deleted.
        """
        selected = self.selected
        if selected is None:
            return
        await selected.shared.refresh(self.mailbox, force)
        if not self.rev2:
            await selected.claim_recent(self.mailbox)
        contexts.tell_gone(self, selected)
        self._tell(selected, selected.updates(expunge, flags))
        await contexts.tell_changed(self, selected)
        await self.drain()

    def _tell(self, selected: Selected, news: Updates) -> None:
        if news.vanished and (self.qresync or self.uidonly):
            # RFC 7162 §3.2.10.2, RFC 9586 §3.4
            self.line(b"VANISHED " + compact(news.vanished))
        else:
            for number in news.expunged:
                self.line(b"%d EXPUNGE" % number)
        if news.exists is not None:
            self.line(b"%d EXISTS" % news.exists)
            if selected.recent:
                self.line(b"%d RECENT" % selected.recents())
        group = self.notifications.selected if self.notifications is not None else None
        if group is not None and group.fetch:
            self.arrived += news.arrived
        if news.keywords:
            self.write_flags(selected)
        for row in news.changed:
            self.write_row(row, uid=True)

    def write_row(self, row: Row, uid: bool, with_flags: bool = True) -> None:
        """What is known of a message: FLAGS, and UID and MODSEQ where asked for or due (RFC 7162 §3.1, §3.2.4)."""
        items = []
        if (uid or self.qresync) and not self.uidonly:
            items.append(b"UID %d" % row.uid)
        if with_flags:
            items.append(b"FLAGS (%s)" % flags.render(self.sight.shown(row.uid, row.flags), row.keywords))
        if self.condstore:
            items.append(b"MODSEQ (%d)" % row.modseq)
        self.line(b"%s (%s)" % (self.head(row.uid), b" ".join(items)))

    def head(self, uid: int) -> bytes:
        """How a FETCH response begins: with the number, once UIDONLY is on with the uid (RFC 9586 §3.3)."""
        return b"%d UIDFETCH" % uid if self.uidonly else b"%d FETCH" % self.sight.number(uid)

    def write_flags(self, selected: Selected) -> None:
        keywords = "".join(f" {name}" for name in selected.shared.keywords.values()).encode("ascii", "replace")
        self.line(b"FLAGS (%s%s)" % (flags.ALL_SYSTEM, keywords))

    @property
    def unicode(self) -> bool:
        """Whether strings go in UTF-8, names too: the client said that it reads it (RFC 9051 §5.1, RFC 6855 §3)."""
        return self.rev2 or self.utf8

    # --- names ------------------------------------------------------------------------------------------------
    def name(self, raw: bytes) -> str:
        """A mailbox name as the client wrote it. Raises Refused(BAD_FOLDER_NAME)."""
        return names.decode(raw, self.unicode)

    async def folder(self, raw: bytes) -> Folder:
        """Raises Refused: NO_SUCH_FOLDER, BAD_FOLDER_NAME."""
        return await self.mailbox.folder(self.name(raw))

    def encoded_name(self, name: str) -> bytes:
        return names.encode(name, self.unicode)

    def written_name(self, name: str) -> bytes:
        return write.mailbox(name, self.unicode)
