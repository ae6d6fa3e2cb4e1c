"""IMAP URLs (RFC 5092) that name a message or a part of one: in CATENATE, URLFETCH and GENURLAUTH.

    imapurl  = ["imap://" [enc-user [";AUTH=" enc-auth-type] "@"] host] ["/" enc-mailbox [";UIDVALIDITY=" nz-number]]
               "/;UID=" nz-number ["/;SECTION=" enc-section] ["/;PARTIAL=" number ["." nz-number]]
    iurlauth = [";EXPIRE=" date-time] ";URLAUTH=" access ":" mechanism ":" token      (RFC 4467 §3)

A relative one lies in the mailbox of who asks, and without a mailbox in what is selected (RFC 4469 §3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from server.base.errors import Refused
from server.imap.grammar import names
from server.imap.grammar.cursor import NUMBER32, BadSyntax, Cursor
from server.imap.grammar.fetch import Section, section
from server.imap.grammar.reader import NUMBER64, Frame

URL_BYTES = 2_000  # a name of a folder, every octet of it percent-encoded, and what stands around it
_URL = re.compile(
    rb"(?:imap://(?:(?P<user>[^/;?#@]{1,254})(?:;AUTH=[^/;?#@]*)?@)?(?P<host>[^/;?#@]+)(?=/))?"
    rb"(?:/?(?P<mailbox>[^;?#]*?)(?:;UIDVALIDITY=(?P<validity>[0-9]{1,10}))?)"
    rb"/?;UID=(?P<uid>[0-9]{1,10})"
    rb"(?:/?;SECTION=(?P<section>[^;/?#]+))?"
    rb"(?:/?;PARTIAL=(?P<first>[0-9]{1,19})(?:\.(?P<count>[0-9]{1,19}))?)?"
    rb"(?P<rump>(?:;EXPIRE=(?P<expire>[0-9T:.Z+-]+))?;URLAUTH=(?P<access>[^:/;?#]+))?"
    rb"(?::(?P<mechanism>[A-Za-z0-9.-]+):(?P<token>[0-9A-Fa-f]+))?",
    re.IGNORECASE,
)
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Url:
    """`host` is empty in a relative URL, `mailbox` where none is named. `access`, with its mechanism and token, is who
    may use it (RFC 4467); `rump` what the token is made of: all of the URL before them."""

    user: str
    host: str
    mailbox: str
    uidvalidity: int | None
    uid: int
    section: Section
    partial: tuple[int, int] | None
    expire: datetime | None
    access: str
    mechanism: str
    token: str
    rump: bytes


def parse(raw: bytes) -> Url:
    """Raises BadSyntax when it names no message."""
    found = _URL.fullmatch(raw) if len(raw) <= URL_BYTES else None
    if found is None or (found["token"] and not found["access"]):
        raise BadSyntax("Not the URL of a message")
    mailbox = _decoded(found["mailbox"] or b"").rstrip(b"/")
    uid, validity = int(found["uid"]), int(found["validity"]) if found["validity"] else None
    if not 0 < uid <= NUMBER32 or validity == 0:
        raise BadSyntax("Bad number in the URL")
    try:
        name = names.decode(mailbox, utf8=True)
        user = _decoded(found["user"] or b"").decode()
        access = _decoded(found["access"] or b"").decode()
        expire = _moment(found["expire"]) if found["expire"] else None
    except (Refused, ValueError):
        raise BadSyntax("A part of the URL is not well encoded") from None
    return Url(
        user.lower(),
        (found["host"] or b"").decode("ascii", "replace").lower(),
        name,
        validity,
        uid,
        _section(_decoded(found["section"] or b"")),
        _partial(found["first"], found["count"]),
        expire,
        access,
        (found["mechanism"] or b"").decode("ascii").upper(),
        (found["token"] or b"").decode("ascii").lower(),
        raw[: found.end("rump")] if found["rump"] else b"",
    )


def _decoded(raw: bytes) -> bytes:
    if b"%" in _PERCENT.sub(b"", raw):
        raise BadSyntax("Bad percent-encoding in the URL")
    return _PERCENT.sub(lambda found: bytes.fromhex(found[1].decode()), raw)


def _section(spec: bytes) -> Section:
    cursor = Cursor(Frame(b"[%s]" % spec))
    found = section(cursor)
    cursor.end()
    return found


def _partial(first: bytes | None, count: bytes | None) -> tuple[int, int] | None:
    if first is None:
        return None
    # RFC 5092 §6: without a count it reaches to the end.
    start, octets = int(first), int(count) if count else NUMBER64
    if start > NUMBER64 or not 0 < octets <= NUMBER64:
        raise BadSyntax("Bad number in the URL")
    return start, octets


def _moment(text: bytes) -> datetime:
    # date-time of RFC 3339, as RFC 5092 §6.1 takes it.
    moment = datetime.fromisoformat(text.decode("ascii").upper())
    if moment.tzinfo is None:
        raise ValueError
    return moment.astimezone(UTC)
