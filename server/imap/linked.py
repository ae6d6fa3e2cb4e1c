"""What an IMAP URL names: octets of a message in a mailbox of this server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from server.base.errors import Refused
from server.imap.grammar import url as urls
from server.imap.grammar.cursor import BadSyntax
from server.imap.grammar.url import Url
from server.imap.responses import Declined
from server.imap.section import Content, Octets

if TYPE_CHECKING:
    from server.imap.session import Session
    from server.mailbox.model import Row
    from server.mailbox.reading import Reading
    from server.mailbox.store import Mailbox

_UNSPEAKABLE = re.compile(rb"[^\x20-\x5c\x5e-\x7e]")


async def linked(session: Session, raw: bytes) -> Octets:
    """The octets that a URL of CATENATE names, in the mailbox of who asks. Raises Declined(BADURL)."""
    try:
        url = urls.parse(raw)
        if not is_own(session, url) or url.access:
            raise Declined(b"", "The URL leads elsewhere")
        if url.mailbox:
            folder = await session.mailbox.folder(url.mailbox)
        elif session.selected is not None:
            folder = session.selected.folder
        else:
            raise Declined(b"", "The URL names no mailbox, and none is selected")
        if url.uidvalidity not in (None, folder.uidvalidity):
            raise Declined(b"", "The URL is of a mailbox that is no longer there")
        rows = await session.mailbox.rows(folder.folder_id, [url.uid])
        return await octets(session.mailbox, rows, url)
    except (BadSyntax, Declined, Refused) as error:
        # RFC 4469 §4
        raise Declined(b"BADURL " + _UNSPEAKABLE.sub(b"?", raw), str(error)) from None


async def octets(mailbox: Mailbox, rows: list[Row], url: Url, reading: Reading | None = None) -> Octets:
    """What the URL names of the message found (one row or none). Raises Declined, Refused."""
    summaries = await mailbox.summaries([row.content_id for row in rows], reading) if rows else {}
    for row in rows:
        if (summary := summaries.get(row.content_id)) is not None:
            found = await Content(mailbox, row, summary, reading).section(url.section, url.partial)
            if found is not None:
                return found
    raise Declined(b"", "There is no such message, or no such part of it")


def is_own(session: Session, url: Url) -> bool:
    """Whether the URL lies in the mailbox that the session is signed in to."""
    return session.principal is not None and is_here(session, url) and url.user in ("", session.principal.address)


def is_here(session: Session, url: Url) -> bool:
    """Whether the URL's host is this server: the domain of who asks, or a name below it."""
    domain = session.principal.address.rpartition("@")[2] if session.principal is not None else ""
    host = url.host.partition(":")[0]
    return host in ("", domain) or host.endswith("." + domain)
