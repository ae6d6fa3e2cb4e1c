"""GENURLAUTH, RESETKEY, URLFETCH (RFC 4467): a URL by which somebody else may read one message, or a part of it.

The token is an HMAC of the URL before it, under a key of the folder. A URL may be made for one person ("user+address")
or for whoever signs in here ("authuser"); to nobody at all ("anonymous") content is never opened. One for the holder's
own submission ("submit+address", for BURL) leaves a copy for it, since it cannot read (mailbox/beside/handed.py). Only
who signs in as the mailbox itself makes one: a delegate does not share on. What is wrong with a URL is never told:
URLFETCH answers NIL.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from server.base.errors import Reason, Refused
from server.base.limits import HANDED_SECONDS
from server.identity.model import Principal
from server.imap.grammar import url as urls
from server.imap.grammar import write
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.url import Url
from server.imap.linked import is_here, is_own, octets
from server.imap.responses import Declined, Desynchronised, Done
from server.imap.section import Octets
from server.imap.session import Session
from server.mailbox.model import Folder

_URLS = 50  # of one command
_INTERNAL = "INTERNAL"
_FORM = "01"  # of the token: HMAC-SHA256


@dataclass(frozen=True, slots=True)
class Generate:
    urls: tuple[tuple[Url, str], ...]  # with the mechanism


@dataclass(frozen=True, slots=True)
class Reset:
    mailbox: bytes | None


@dataclass(frozen=True, slots=True)
class Fetch:
    urls: tuple[bytes, ...]


def parse_generate(cursor: Cursor) -> Generate:
    """genurlauth = "GENURLAUTH" 1*(SP url-rump SP mechanism)"""
    asked: list[tuple[Url, str]] = []
    while not asked or cursor.peek(b" "):
        cursor.sp()
        url = urls.parse(cursor.astring("a URL"))
        if not url.rump or url.token:
            raise BadSyntax("Expected a URL that ends with who may use it")
        cursor.sp()
        asked.append((url, cursor.word("a mechanism")))
        if len(asked) > _URLS:
            raise BadSyntax("Too many URLs")
    return Generate(tuple(asked))


def parse_reset(cursor: Cursor) -> Reset:
    """resetkey = "RESETKEY" [SP mailbox *(SP mechanism)]"""
    if not cursor.take(b" "):
        return Reset(None)
    mailbox = cursor.astring("a mailbox name")
    while cursor.take(b" "):
        if cursor.word("a mechanism") != _INTERNAL:
            raise BadSyntax("Unknown mechanism")
    return Reset(mailbox)


def parse_fetch(cursor: Cursor) -> Fetch:
    """urlfetch = "URLFETCH" 1*(SP url-full)"""
    asked: list[bytes] = []
    while not asked or cursor.peek(b" "):
        cursor.sp()
        asked.append(cursor.astring("a URL"))
        if len(asked) > _URLS:
            raise BadSyntax("Too many URLs")
    return Fetch(tuple(asked))


async def generate(session: Session, command: Generate) -> Done:
    principal = session.principal
    if principal is None or principal.delegate is not None:
        raise Refused(Reason.NOT_ALLOWED, "Only who signs in as the mailbox itself opens it to others")
    made: list[bytes] = []
    for url, mechanism in command.urls:
        if mechanism != _INTERNAL:
            raise Declined(b"CANNOT", "The only mechanism is INTERNAL")
        if not (is_own(session, url) and url.user):
            raise Declined(b"CANNOT", "The URL is not of this mailbox")
        submits = url.access.lower() == f"submit+{principal.address}"
        if not (submits or _may_be_given(url.access)):
            raise Declined(b"CANNOT", "A URL is for user+address, for authuser, or for your own submission")
        folder = await session.mailbox.folder(url.mailbox)
        key = await session.mailbox.url_key(folder.folder_id, make=True)
        made.append(url.rump + f":{_INTERNAL}:{_token(key or b'', url)}".encode())
        if submits:
            await _hand_over(session, principal, folder, url, made[-1])
    session.line(b"GENURLAUTH " + b" ".join(write.quoted(one) for one in made))
    return Done("GENURLAUTH completed")


async def _hand_over(session: Session, principal: Principal, folder: Folder, url: Url, whole: bytes) -> None:
    """Raises Declined(CANNOT): there is nothing that the URL names, or its day has passed."""
    mailbox, now = session.mailbox, session.services.now()
    until = now + timedelta(seconds=HANDED_SECONDS)
    if url.uidvalidity not in (None, folder.uidvalidity) or (url.expire is not None and url.expire <= now):
        raise Declined(b"CANNOT", "The URL leads nowhere any more")
    rows = await mailbox.rows(folder.folder_id, [url.uid])
    reading = mailbox.reading(principal.actor, [row.content_id for row in rows], "BURL")
    try:
        found = await octets(mailbox, rows, url, reading)
    except Declined as declined:
        raise Declined(b"CANNOT", declined.text) from None
    await mailbox.hand_over(folder.folder_id, whole, found.size, found.pieces, min(until, url.expire or until))


async def reset(session: Session, command: Reset) -> Done:
    folder_id = None if command.mailbox is None else (await session.folder(command.mailbox)).folder_id
    await session.mailbox.drop_url_keys(folder_id)
    return Done("RESETKEY completed", b"URLMECH INTERNAL")


async def fetch(session: Session, command: Fetch) -> Done:
    for raw in command.urls:
        found = await _found(session, raw)
        session.write(b"* URLFETCH " + write.string(raw) + b" ")
        if found is None:
            session.write(b"NIL\r\n")
            continue
        session.write(b"{%d}\r\n" % found.size)
        try:
            async for piece in found.pieces:
                session.write(write.without_nul(piece))
                await session.drain()
        except Refused as refusal:
            session.services.log.error("imap_answer_broken", error=refusal)
            raise Desynchronised from refusal
        session.write(b"\r\n")
    return Done("URLFETCH completed")


async def _found(session: Session, raw: bytes) -> Octets | None:
    """What the URL opens to this session, told in the trail of the mailbox that it is of; None for nothing."""
    principal = session.principal
    try:
        url = urls.parse(raw)
        if principal is None or not _opens_to(url, principal, session.services.now()) or not is_here(session, url):
            return None
        mailbox = await session.services.store.find(url.user)
        folder = await mailbox.folder(url.mailbox)
        key = await mailbox.url_key(folder.folder_id)
        right = hmac.compare_digest(_token(key or b"", url), url.token)
        if key is None or not right or url.uidvalidity not in (None, folder.uidvalidity):
            return None
        rows = await mailbox.rows(folder.folder_id, [url.uid])
        reading = mailbox.reading(principal.actor, [row.content_id for row in rows], "IMAP URLFETCH")
        return await octets(mailbox, rows, url, reading)
    except (BadSyntax, Declined, Refused):
        return None


def _may_be_given(access: str) -> bool:
    return access.lower() == "authuser" or (access.lower().startswith("user+") and len(access) > len("user+"))


def _opens_to(url: Url, principal: Principal, now: datetime) -> bool:
    if url.mechanism != _INTERNAL or (url.expire is not None and url.expire <= now) or not _may_be_given(url.access):
        return False
    return url.access.lower() in ("authuser", f"user+{principal.actor}".lower())


def _token(key: bytes, url: Url) -> str:
    return _FORM + hmac.digest(key, url.rump, "sha256").hex()
