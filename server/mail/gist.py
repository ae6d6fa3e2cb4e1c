"""The gist of a message: what searching, sorting and threading ask of its header, computed once, a line of text each.

A field that can be searched is the folded value of each of its occurrences, each behind MARK; so "is it there" is
"does the line hold MARK". MARK and UNTOLD are blanks to `fold`: no folded text and nothing searched for holds them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from email.utils import parsedate_tz
from typing import NamedTuple

from server.mail import addresses, headers
from server.mail.addresses import Entry
from server.mail.folding import casemap, fold
from server.mail.subject import base_subject
from server.mail.summary import sent_at

MARK = "\x1f"
UNTOLD = "\x1e"  # all lines of a gist that is too long to be kept: it has to be read from the message
_KEPT = 8_192  # characters of a gist that is kept beside others; a letter's has 500
_KEY = 1_000  # characters of a sort key; RFC 5322 §2.1.1 gives a line 998
_ADDRESSES = frozenset({"from", "to", "cc", "bcc"})
_DATE = 200  # characters of a date with its comment; more is no date
_REFERENCES = 100  # the last ones: the parent stands last
# The bound keeps it linear: quotes may hold "<", so that many beginnings could each read to the end.
_ID = re.compile(r"<\s*+((?:\"(?:[^\"\\]|\\.){0,200}+\"|[^<>@\s\"])++)@([^<>\s]++)\s*+>")
_DOT_ATOM = re.compile(r'"([^"\\\s<>@]++)"')


class Gist(NamedTuple):
    """One line each. `day`, `moment`: the Date field as written (ISO), and in UTC (seconds since 1970), "" for none.
    `by_…` and `shown_…` are sort keys (i;unicode-casemap). `base`: "R" for a reply or forward, "-" else, and the sort
    key of the base subject. `ids`: the message's own identifier ("-" for none) and those it refers to, by spaces.
    """

    from_: str
    to: str
    cc: str
    bcc: str
    subject: str
    message_id: str
    day: str
    moment: str
    by_from: str
    by_to: str
    by_cc: str
    shown_from: str
    shown_to: str
    base: str
    ids: str


# Which header fields are searched in which line.
SEARCHED = {
    "from": "from_",
    "to": "to",
    "cc": "cc",
    "bcc": "bcc",
    "subject": "subject",
    "message-id": "message_id",
}


def gist(header: bytes) -> Gist:
    """The gist of a whole top header."""
    found: dict[str, list[str]] = {}
    for field in headers.read(header).fields:
        found.setdefault(field.name, []).append(headers.raw(header, field))
    first = {name: values[0] for name, values in found.items()}
    people = {name: _first_address(first.get(name, "")) for name in ("from", "to", "cc")}
    by = {name: _sort_key(headers.printable(headers.utf8(entry.local or ""))) for name, entry in people.items()}
    sent = sent_at(first.get("date", ""))
    base, answers = base_subject(headers.decode(first.get("subject", "")))
    return Gist(
        **{line: _line(name, found.get(name, ())) for name, line in SEARCHED.items()},
        day=sent_on(first.get("date", "")),
        moment="" if sent is None else str(int(sent.timestamp())),
        by_from=by["from"],
        by_to=by["to"],
        by_cc=by["cc"],
        shown_from=_sort_key(_shown(people["from"])),
        shown_to=_sort_key(_shown(people["to"])),
        base=("R" if answers else "-") + _sort_key(base),
        ids=" ".join(_ids(first)),
    )


def kept(header: bytes) -> Gist:
    """The gist as it is kept beside those of other messages."""
    whole = gist(header)
    return whole if sum(map(len, whole)) <= _KEPT else Gist(*[UNTOLD] * len(whole))


def _line(name: str, values: Sequence[str]) -> str:
    line = searched(values)
    if name not in _ADDRESSES:
        return line
    # RFC 9051 §6.4.4: FROM and its like search the envelope's field, where an address has no comments inside.
    commented = [entry for value in values if "(" in value for entry in addresses.entries(value) if entry.domain]
    return line + "".join(MARK + fold(headers.printable(headers.utf8(f"{e.local}@{e.domain}"))) for e in commented)


def searched(values: Sequence[str]) -> str:
    """All values of a field as one line to search in."""
    return "".join(MARK + fold(headers.decode(value)) for value in values)


def sent_on(value: str) -> str:
    """The day of a Date field as it was written, without regard to its zone (RFC 9051 §6.4.4, SENTON); "" for none."""
    if not value or len(value) > _DATE:
        return ""
    try:
        moment = parsedate_tz(value)
        return date(*moment[:3]).isoformat() if moment is not None else ""
    except (ValueError, TypeError, IndexError, OverflowError):
        # The library does not promise to take any text; a date that is none matches nothing.
        return ""


def _sort_key(text: str) -> str:
    return casemap(text[:_KEY])


def _first_address(value: str) -> Entry:
    return next((entry for entry in addresses.entries(value)), Entry(None, None, None))


def _shown(entry: Entry) -> str:
    """RFC 5957 §3: the name, else mailbox@host, else the mailbox."""
    name = headers.decode(entry.name or "")
    if name:
        return name
    local, domain = headers.utf8(entry.local or ""), headers.utf8(entry.domain or "")
    return headers.printable(f"{local}@{domain}" if local and domain else local)


def _ids(first: dict[str, str]) -> list[str]:
    """RFC 5256, THREAD: the message's own identifier, then its references, the parent last."""
    own = identifiers(first.get("message-id", ""))[:1] or ["-"]
    # Without a valid identifier in References, the first of In-Reply-To is the only one.
    references = identifiers(first.get("references", "")) or identifiers(first.get("in-reply-to", ""))[:1]
    return own + references[-_REFERENCES:]


def identifiers(value: str) -> list[str]:
    """The message identifiers of a field, without needless quotes, which would make two of one (RFC 5256)."""
    return [
        headers.utf8(f"{_DOT_ATOM.sub(lambda found: found[1], left)}@{right}").replace(" ", "_")
        for left, right in _ID.findall(value)
        if (left + right).isprintable()
    ]
