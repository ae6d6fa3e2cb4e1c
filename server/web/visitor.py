"""Who visits: the session behind the cookie, and the checks that every form of a signed-in person passes.

Who acts for another is asked for at each request: a delegation that has ended or was revoked opens nothing more.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from fastapi import Depends
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import Response

from server.base import clock
from server.base.errors import ProtocolViolation, Reason, Refused
from server.base.limits import RECENT_SECONDS, WEB_RECIPIENTS
from server.http.guard import same_origin
from server.identity import acting
from server.identity.model import Delegate, Principal, Rights
from server.identity.sessions.model import Opened, Session
from server.mailbox.model import Identity, OwnerKind
from server.mailbox.store import Mailbox
from server.record.access import Act, Decision, Party, decide
from server.web.services import Services, services

# RFC 6265bis §4.1.3.2: a __Host- cookie is Secure, has Path=/ and no Domain, so no neighbour host can plant one.
SESSION_COOKIE = "__Host-session"
FORM_COOKIE = "__Host-formulaire"
FORM_FIELD = "jeton"
_FORM_FIELDS = WEB_RECIPIENTS + 20  # our largest form has six beside its recipients


@dataclass(frozen=True)
class Visitor:
    """A signed-in person, and the mailbox that is open: theirs, or another's for which `delegate` acts."""

    session: Session
    token: str = field(repr=False)
    mailbox: Mailbox = field(repr=False)
    identity: Identity = field(repr=False)
    form_token: str = field(repr=False)
    delegate: Delegate | None = None

    @property
    def principal(self) -> Principal:
        """The visitor in the words of policy and the trail."""
        how, delegate = self.session.how.value, self.delegate
        return Principal(self.mailbox.owner_id, self.identity.address, self.mailbox.kind, how, delegate)

    @property
    def party(self) -> Party:
        """The visitor in the words of access decisions."""
        return Party(self.mailbox.owner_id, self.mailbox.kind, self.principal.rights)

    def may(self, act: Act) -> Decision:
        """The access decision on what the visitor has here: the mailbox and the record that the session opened."""
        return decide(self.party, act, self.party)

    @property
    def is_patient(self) -> bool:
        return self.mailbox.kind is OwnerKind.PATIENT


class NotSignedIn(Exception):
    """There is no session, or it has ended; `had_one` tells whether the browser came with one."""

    def __init__(self, had_one: bool) -> None:
        super().__init__("not signed in")
        self.had_one = had_one


class NotTheirs(Exception):
    """The mailbox that was open is no longer the person's to open; their own one is open in its place."""


def recently(visitor: Visitor) -> bool:
    """Whether the person has proved just now who they are, as acts ask for that they must not do by mistake.

    Else the page sends them to /connexion/encore?suite=<its own path>, from where they come back.
    """
    return clock.now() - visitor.session.proved_at <= timedelta(seconds=RECENT_SECONDS)


async def signed_in(request: Request) -> Visitor:
    """Dependency of each page that shows anything of anybody. Raises NotSignedIn, NotTheirs."""
    room = services(request)
    token = request.cookies.get(SESSION_COOKIE, "")
    session = await room.sessions.find(token) if token else None
    if session is None:
        raise NotSignedIn(had_one=bool(token))
    try:
        rights = await acting.rights_now(room.pool, room.edge, session)
        mailbox = await room.store.open(session.owner_id) if rights else None
        delegate = await _delegate(room, session, rights)
    except Refused:
        mailbox = delegate = None  # closed or suspended since
    if mailbox is None and session.owner_id == session.person_id:
        await room.sessions.end(token)
        raise NotSignedIn(had_one=True)
    if mailbox is None:
        await room.sessions.switch(token, session, session.person_id, None)
        raise NotTheirs
    visitor = Visitor(session, token, mailbox, await mailbox.identity(), room.sessions.form_token(token), delegate)
    request.state.visitor = visitor
    return visitor


async def _delegate(room: Services, session: Session, rights: Rights) -> Delegate | None:
    if session.delegate_id is None or not rights:
        return None
    own = await (await room.store.open(session.delegate_id)).identity()
    return Delegate(session.delegate_id, own.address, rights)


class NotRecent(Exception):
    """The visitor asks for a sensitive act, and proved who they are too long ago."""


async def recently_proven(visitor: Visitor = Depends(signed_in)) -> Visitor:
    """Dependency of each sensitive act. Raises NotSignedIn, NotRecent."""
    if not recently(visitor):
        raise NotRecent
    return visitor


def browser_of(request: Request) -> str:
    """The random cookie that stands in for a session before there is one, "" for none."""
    return request.cookies.get(FORM_COOKIE, "")


def form_page(request: Request, template: str, *, status: int = 200, browser: str = "", **values: Any) -> Response:
    """A page with a form for who is not signed in. The browser keeps its cookie, or gets `browser`, or a new one."""
    room = services(request)
    # Before there is a session, a random cookie of this browser stands in for it: no other site knows its form token.
    cookie = browser or browser_of(request) or new_browser()
    values["form_token"] = room.sessions.form_token(cookie)
    response = room.renderer.page(request, template, status=status, room="", **values)
    response.set_cookie(FORM_COOKIE, cookie, path="/", secure=True, httponly=True, samesite="strict")
    return response


def new_browser() -> str:
    """A name for a browser that has none yet."""
    return secrets.token_urlsafe(32)


async def form_of(request: Request, token: str) -> ImmutableMultiDict[str, str]:
    """The fields of a posted form of ours (several may have one name); `token` is the cookie value it was made for.

    Raises Refused(NOT_ALLOWED) when another site's page sent it, ProtocolViolation when it is no form.
    """
    same_origin(request)
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise ProtocolViolation(Reason.MALFORMED, "This is no form.")
    async with request.form(max_files=0, max_fields=_FORM_FIELDS) as form:
        fields = ImmutableMultiDict([(name, value) for name, value in form.multi_items() if isinstance(value, str)])
    if not token or not services(request).sessions.form_token_is_right(token, fields.get(FORM_FIELD, "")):
        raise Refused(Reason.NOT_ALLOWED, "This form is not of this session.")
    return fields


def keep_session(response: Response, opened: Opened) -> None:
    """Give the browser its session. Lax, not Strict: a link in a notification, and a provider's redirect, must work."""
    response.set_cookie(SESSION_COOKIE, opened.token, path="/", secure=True, httponly=True, samesite="lax")


def forget_session(response: Response) -> None:
    """Take the session back and all that the browser may have kept of it."""
    response.delete_cookie(SESSION_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
