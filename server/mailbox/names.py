"""The one rule of folder names: Net-Unicode (RFC 5198), "/" between levels, INBOX in any case is INBOX."""

from __future__ import annotations

import unicodedata

from server.base.errors import Reason, Refused
from server.base.limits import FOLDER_NAME_BYTES
from server.mailbox.model import SEPARATOR

INBOX = "INBOX"
DEPTH = 16  # levels of folders; people use three
# RFC 6154 §2 and RFC 8457, without \All and \Flagged, which would show messages of other folders; \Inbox is ours, for
# the one that is always there.
SPECIAL_USES = frozenset({"\\Sent", "\\Drafts", "\\Trash", "\\Junk", "\\Archive", "\\Important"})


def normalise(name: str) -> str:
    """The name as it is stored and compared. Raises Refused(BAD_FOLDER_NAME)."""
    text = unicodedata.normalize("NFC", name)
    levels = text.split(SEPARATOR)
    if levels[0].upper() == INBOX:
        levels[0] = INBOX
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Refused(Reason.BAD_FOLDER_NAME, "This folder name is not proper text.") from None
    # RFC 9051 §5.1: "%" and "*" are the wildcards of LIST.
    if not all(levels) or len(levels) > DEPTH or size > FOLDER_NAME_BYTES or any(c in "%*" for c in text):
        raise Refused(Reason.BAD_FOLDER_NAME, "This folder name is empty, too long or has % or * in it.")
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp", "Cn") for c in text):
        raise Refused(Reason.BAD_FOLDER_NAME, "This folder name has control characters in it.")
    return SEPARATOR.join(levels)


def parents(name: str) -> list[str]:
    """The folders above, outermost first."""
    levels = name.split(SEPARATOR)
    return [SEPARATOR.join(levels[:n]) for n in range(1, len(levels))]
