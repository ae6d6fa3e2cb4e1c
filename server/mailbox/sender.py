"""Who a message says wrote it, beside who signed it: what a reader believes of the header and no signature covers.

Asked of a signature that holds. Its certificate names every address of From already (`crypto.smime.verify`).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache

from crypto.errors import CryptoError
from crypto.smime.certificate import comparable
from crypto.smime.digested import Digested
from crypto.smime.identity import Registration, identified
from crypto.smime.signed_data import enclosed_content
from crypto.smime.verdict import Doubt, Status, SubReason, Verdict
from server.base.limits import MIME_HEADER_BYTES
from server.mail import addresses, headers
from server.mail.addresses import Mailbox
from server.mail.protected import NOTHING, changed, protected
from server.mail.signed import Signed
from server.mail.structure import Message, Octets
from server.mail.summary import sent_at

CACHED_NAMES = 1_024  # correspondents write often; an entry is about 300 bytes
SAME_TIME = timedelta(days=1)  # between the Date field and the signature: a draft that waited over night
_READ = frozenset({"sender", "reply-to", "date"})
_ADDRESS = re.compile(r"[^\s<>()\[\]\"',;:]+@[^\s<>()\[\]\"',;:]+")
_WORD = re.compile(r"[^\W\d_]{3,}")


def beside_header(
    verdict: Verdict,
    signed: Signed,
    message: Message,
    data: Octets,
    authors: list[Mailbox],
    registration: Registration | None,
) -> Verdict:
    """A passing verdict after a look at the header of `message` (From names `authors`) and at the directory."""
    block = data[: message.root.body_start]
    values: dict[str, list[str]] = {}
    for field in message.headers:
        if field.name in _READ:
            values.setdefault(field.name, []).append(headers.raw(block, field))
    doubts = (*verdict.doubts, *_doubts(verdict, values, authors))
    inside = protected(_head(signed)) if signed.at_top else NOTHING
    if wrong := changed(inside, block, message.headers):
        kept = tuple(name for name in inside.fields if name not in wrong)
        reason = SubReason.HEADER_CHANGED
        return replace(verdict, status=Status.INDETERMINATE, reason=reason, headers=kept, doubts=doubts)
    if inside.fields or doubts != verdict.doubts:
        verdict = replace(verdict, headers=tuple(inside.fields), doubts=doubts)
    return identified(verdict, registration)


def _head(signed: Signed) -> bytes:
    """The first octets of what is signed."""
    content = signed.content
    if isinstance(content, Digested):
        return content.head
    if content is None:
        try:
            content = enclosed_content(signed.cms)
        except CryptoError:
            return b""
    return content[:MIME_HEADER_BYTES]


def _doubts(verdict: Verdict, values: dict[str, list[str]], authors: list[Mailbox]) -> list[Doubt]:
    found = []
    names = {comparable(one.address) for one in authors}
    for field, doubt in (("sender", Doubt.SENDER_DIFFERS), ("reply-to", Doubt.REPLY_ELSEWHERE)):
        if not {comparable(one.address) for value in values.get(field, ()) for one in addresses.parse(value)} <= names:
            found.append(doubt)
    shown = " ".join(one.name for one in authors)
    if not _addresses_in(shown) <= names:
        found.append(Doubt.NAME_MISLEADS)
    elif verdict.signer is not None and verdict.signer.rpps and _are_strangers(shown, verdict.signer.name):
        found.append(Doubt.NAME_DIFFERS)
    date = sent_at(values.get("date", [""])[0])
    if date is not None and verdict.signing_time is not None and abs(date - verdict.signing_time) > SAME_TIME:
        found.append(Doubt.DATE_DIFFERS)
    return found


@lru_cache(maxsize=CACHED_NAMES)
def _addresses_in(name: str) -> frozenset[str]:
    """What looks like an address in a name, in whatever characters it was written."""
    plain = unicodedata.normalize("NFKC", name)
    return frozenset(comparable(one.rstrip(".")) for one in _ADDRESS.findall(plain))


@lru_cache(maxsize=CACHED_NAMES)
def _are_strangers(shown: str, certified: str) -> bool:
    """Whether two names of persons have no word in common."""
    one, other = _words(shown), _words(certified)
    return bool(one and other) and one.isdisjoint(other)


def _words(name: str) -> set[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return set(_WORD.findall(plain.casefold()))
