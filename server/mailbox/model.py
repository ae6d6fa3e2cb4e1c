"""What the store speaks of: owners, folders, rows and their changes. Plain values, no SQL, no keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntFlag, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.mailbox.incoming import Incoming


class OwnerKind(StrEnum):
    """Kinds of MSSanté mailboxes (référentiel: PER, ORG, APP), the practice's shared one and the patient's."""

    PER = "PER"
    ORG = "ORG"
    APP = "APP"
    CAB = "CAB"
    PATIENT = "PATIENT"


class OwnerState(StrEnum):
    """SPARE owners have keys and folders but no person yet (made ahead for edges that cannot wrap a key)."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"
    SPARE = "spare"


class Flag(IntFlag):
    """The system flags of RFC 9051 §2.3.2 as bits of `message.flags`; everything else is a keyword."""

    SEEN = 1
    ANSWERED = 2
    FLAGGED = 4
    DELETED = 8
    DRAFT = 16


@dataclass(frozen=True, slots=True)
class Route:
    """What an edge knows of a recipient: enough to seal to it, nothing that opens."""

    owner_id: int
    kind: OwnerKind
    state: OwnerState
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a mailbox belongs to; stored encrypted under the mailbox's symmetric key."""

    address: str
    name: str
    rpps: str = ""
    finess: str = ""
    ins: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """`name` is the full path with "/" between levels; `special_use` is an RFC 6154 word ("\\Sent") or "\\Inbox"."""

    folder_id: int
    name: str
    uidvalidity: int
    special_use: str | None
    subscribed: bool


@dataclass(frozen=True, slots=True)
class FolderState:
    """Counters of one folder. `bytes` sums the sizes of its messages; `deleted` counts those with \\Deleted.

    Of messages from uid `recent_from` on no session was told (RFC 3501 §2.3.2, \\Recent).
    """

    folder_id: int
    uidnext: int
    highestmodseq: int
    messages: int
    unseen: int
    deleted: int
    bytes: int
    recent_from: int

    @property
    def recent(self) -> int:
        """Messages that no session was told of."""
        return min(self.messages, self.uidnext - self.recent_from)


@dataclass(frozen=True, slots=True)
class Row:
    """One message in one folder. `flags` is a bit mask of `Flag`; `size` counts octets of the RFC 5322 text."""

    uid: int
    content_id: bytes
    flags: int
    keywords: tuple[str, ...]
    internaldate: datetime
    savedate: datetime
    modseq: int
    size: int


@dataclass(frozen=True, slots=True)
class View:
    """A folder, its counters and its rows (sorted by uid), all of one snapshot."""

    folder: Folder
    state: FolderState
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened to a folder after a modseq, in one snapshot.

    `vanished` holds inclusive uid ranges. `complete` is False when the log was trimmed past the asked modseq:
    `vanished` is then every uid below uidnext that no message has (RFC 7162 §3.2.10.1 allows more than the client ever
    knew).
    """

    state: FolderState
    changed: Sequence[Row]
    vanished: list[tuple[int, int]]
    complete: bool


@dataclass(frozen=True, slots=True)
class StoreResult:
    """`rows` as they stand after the command (sorted by uid); `conflicts` are the uids UNCHANGEDSINCE kept out.

    `modseq` is the folder's at the end. All that moved it from `since` on was this command, whose steps may have let
    others between; then `since` is None.
    """

    rows: Sequence[Row]
    conflicts: list[int]
    modseq: int
    since: int | None


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to append: the RFC 5322 bytes, or as it came in; flags, keywords and INTERNALDATE (now when None)."""

    data: bytes | Incoming = field(repr=False)
    flags: int = 0
    keywords: tuple[str, ...] = ()
    internaldate: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewMailbox:
    """A mailbox to create."""

    address: str
    kind: OwnerKind
    name: str
    rpps: str = ""
    finess: str = ""
    ins: str = ""


@dataclass(frozen=True, slots=True)
class Created:
    """A mailbox that was created; `address` as normalised."""

    owner_id: int
    address: str


# The folders of a new mailbox: (name, special use). RFC 6154 names the uses; INBOX is always folder 1 of its owner.
INBOX_ID = 1
LIST_ID = 0  # no folder: in the change feed, the owner's list of folders and what is written of them
NEW_FOLDERS: tuple[tuple[str, str], ...] = (
    ("INBOX", "\\Inbox"),
    ("Sent", "\\Sent"),
    ("Drafts", "\\Drafts"),
    ("Trash", "\\Trash"),
    ("Junk", "\\Junk"),
    ("Archive", "\\Archive"),
)
SEPARATOR = "/"
