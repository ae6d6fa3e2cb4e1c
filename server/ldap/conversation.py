"""What one client asks of the world: who they are, what is in the directory. Yields octets to send; no socket.

Rules:
- A password is taken under TLS alone, and only this client's own mailbox is signed in to.
- Who has not signed in reads the root DSE and the schema; the directory where `directory.anonymous` says so.
- An answer is whole or its result code says that it is not; a page goes on where its cookie says, for the same question
  of the same connection.
- What was given out is counted (`base.harvest`); who has had too much is told for how long to wait.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from directory.ldap import names
from directory.ldap.entries import EVERY_KIND, Entry, Selection
from directory.ldap.filters import equals, fits, mentioned, text
from directory.ldap.schema import types
from directory.ldap.search import NoSuchEntry, Scope, TooBroad
from server.base import clock
from server.base.errors import CaduceeError, ProtocolViolation, Reason, Refused, TryLater
from server.base.limits import LDAP_PAGINGS, LDAP_SEARCH_SECONDS, LDAP_SIGN_INS, LDAP_SIZE, LDAP_STEP
from server.base.metrics import SIGN_INS
from server.identity import sasl
from server.identity.model import Principal
from server.identity.throttle import network_of
from server.ldap import answers, oid
from server.ldap.answers import SUCCESS, Answer, Code, Result
from server.ldap.cursor import Cursor
from server.ldap.grammar import Page, Request, page
from server.ldap.root_dse import root_dse
from server.ldap.service import Service
from server.mailbox.model import OwnerKind

_SCOPES = {"baseObject": Scope.BASE, "singleLevel": Scope.ONE, "wholeSubtree": Scope.SUB}
_SIGN_IN_FIRST = Result(Code.INSUFFICIENT_ACCESS_RIGHTS, "sign in first: your address and an app password, under TLS")
_NO_SUCH_PAGE = Result(Code.UNWILLING_TO_PERFORM, "this cookie is of no search that goes on here")


@dataclass(slots=True)
class _Paging:
    """A search between two pages: what was asked, what is still to be given."""

    question: Any
    cursor: Cursor
    given: int = 0


class Conversation:
    """One connection, from the first request to the last."""

    def __init__(self, service: Service, ip: str) -> None:
        self.service = service
        self.who: Principal | None = None
        self._ip = ip
        self._network = network_of(ip)
        self._failures = 0
        self._pagings: OrderedDict[bytes, _Paging] = OrderedDict()

    @property
    def hopeless(self) -> bool:
        """Whether so many sign-ins failed that the connection is to be ended."""
        return self._failures >= LDAP_SIGN_INS

    async def answer(self, request: Request, *, secure: bool) -> AsyncIterator[bytes]:
        """The answer, in pieces, each sent before the next is made."""
        if request.operation == "bindRequest":
            yield answers.result(request.message_id, Answer.BIND, await self._bind(request.value, secure=secure))
        elif request.operation == "compareRequest":
            yield answers.result(request.message_id, Answer.COMPARE, await self._compare(request.value))
        elif request.operation == "extendedReq":  # RFC 4532
            name = f"u:{self.who.address}" if self.who else ""
            yield answers.extended(request.message_id, SUCCESS, value=name.encode())
        else:
            async for piece in self._search(request, secure=secure):
                yield piece

    async def _bind(self, bind: dict[str, Any], *, secure: bool) -> Result:
        # RFC 4513 §4: whatever comes of it, who was signed in no longer is.
        self.who = None
        self._pagings.clear()
        if bind["version"] != 3:
            return Result(Code.PROTOCOL_ERROR, "only LDAP version 3 is spoken here")
        method, proof = bind["authentication"]
        if method is None:  # RFC 4511 §4.2: a choice that may be added
            return Result(Code.AUTH_METHOD_NOT_SUPPORTED, "simple, and SASL PLAIN")
        if method == "simple" and not proof:
            if not bind["name"]:
                return SUCCESS  # anonymous
            # RFC 4513 §5.1.2: the unauthenticated bind is refused.
            return Result(Code.UNWILLING_TO_PERFORM, "a name without a password proves nothing")
        if not secure:
            return Result(Code.CONFIDENTIALITY_REQUIRED, "never send a password in clear")
        try:
            given = _simple(bind["name"], proof) if method == "simple" else _sasl(proof)
            self.who = await self.service.accounts.sign_in(given, self._ip)
        except CaduceeError as error:
            return self._not_signed_in(error)
        SIGN_INS.labels("ldap", "ok").inc()
        return SUCCESS

    def _not_signed_in(self, error: CaduceeError) -> Result:
        SIGN_INS.labels("ldap", error.reason).inc()
        if error.reason is Reason.NOT_ALLOWED:
            return Result(Code.AUTH_METHOD_NOT_SUPPORTED, error.sentence)
        if isinstance(error, TryLater) and error.reason is not Reason.THROTTLED:
            return Result(Code.UNAVAILABLE, error.sentence)
        self._failures += 1
        if isinstance(error, TryLater):
            return Result(Code.BUSY, error.sentence)
        return Result(Code.INVALID_CREDENTIALS)

    @property
    def _client(self) -> str:
        return self.who.address if self.who else self._network

    def _may_read(self) -> Result | None:
        """Why this client reads nothing of the directory now."""
        if self.who is None and not self.service.anonymous:
            return _SIGN_IN_FIRST
        if self.who is not None and self.who.kind == OwnerKind.PATIENT:
            return Result(Code.INSUFFICIENT_ACCESS_RIGHTS, "the directory is for professionals")
        wait = self.service.harvest.wait(self._client, clock.monotonic())
        if wait:
            return Result(Code.BUSY, f"too many entries were read from here; ask again in {int(wait) + 1} s")
        return None

    async def _compare(self, asked: dict[str, Any]) -> Result:
        if refused := self._may_read():
            return refused
        known = types(text(asked["ava"]["attributeDesc"]))
        try:
            name = asked["entry"].decode()
            assertion = asked["ava"]["assertionValue"].decode()
            entry = await self.service.reader(EVERY_KIND).read(name, LDAP_SEARCH_SECONDS)
        except UnicodeDecodeError:
            return Result(Code.INVALID_DN_SYNTAX)
        except (names.InvalidName, NoSuchEntry, TryLater) as error:
            return _failed(error)
        self.service.harvest.took(self._client, 1, clock.monotonic())
        if not known:
            return Result(Code.UNDEFINED_ATTRIBUTE_TYPE)
        held = {one: entry.attributes[one.name] for one in known if one.name in entry.attributes}
        if not held:
            return Result(Code.NO_SUCH_ATTRIBUTE)
        results = [equals(one, [v for v in values if isinstance(v, str)], assertion) for one, values in held.items()]
        if True in results:
            return Result(Code.COMPARE_TRUE)
        return Result(Code.COMPARE_FALSE if False in results else Code.INAPPROPRIATE_MATCHING)

    async def _search(self, request: Request, *, secure: bool) -> AsyncIterator[bytes]:
        search = request.value
        asked_page = next((one.value for one in request.controls if one.oid == oid.PAGED_RESULTS), None)
        try:
            paged = page(asked_page) if asked_page is not None else None
            wanted = [text(name) for name in search["attributes"]]
            if not search["baseObject"] and search["scope"] == "baseObject" and not wanted:
                # With no attribute named we tell what the root DSE is there to tell, as other directories do.
                wanted = ["*", "+"]
            selection = Selection(wanted)
            paging = await self._begun(search, paged, selection, secure=secure)
        except ProtocolViolation as error:
            yield _end(request, Result(Code.PROTOCOL_ERROR, error.sentence))
            return
        except UnicodeDecodeError:
            yield _end(request, Result(Code.INVALID_DN_SYNTAX))
            return
        except (names.InvalidName, NoSuchEntry, TooBroad, TryLater, Refused) as error:
            yield _end(request, _failed(error))
            return
        if isinstance(paging, Result):
            yield _end(request, paging)
            return
        # RFC 4511 §4.5.1.4: the client's limit, and never more than ours. RFC 2696 §2: a limit holds for all pages.
        room = min(search["sizeLimit"] - paging.given if search["sizeLimit"] else LDAP_SIZE, LDAP_SIZE)
        size = min(paged.size, room) if paged else room
        try:
            async for entries in self._given(paging, size):
                yield b"".join(
                    answers.entry(request.message_id, entry.name, selection.of(entry), types_only=search["typesOnly"])
                    for entry in entries
                )
            more = await paging.cursor.peek() is not None
        except TryLater as error:
            yield _end(request, _failed(error))
            return
        if more and not (paged and size < room):
            yield _end(request, Result(Code.SIZE_LIMIT_EXCEEDED))
        elif more:
            yield _end(request, SUCCESS, self._put_by(paging))
        else:
            yield _end(request, paging.cursor.ended, _page_control(b"") if paged else b"")

    async def _begun(
        self, search: dict[str, Any], paged: Page | None, selection: Selection, *, secure: bool
    ) -> _Paging | Result:
        question = (search["baseObject"], search["scope"], search["typesOnly"], search["filter"], search["attributes"])
        base, scope = search["baseObject"].decode(), _SCOPES.get(search["scope"])
        if scope is None:  # RFC 4511 §4.5.1.2: one may be added that we do not know
            return Result(Code.PROTOCOL_ERROR, "unknown scope")
        if paged is not None and paged.cookie:
            if refused := self._may_read():
                return refused
            paging = self._pagings.pop(paged.cookie, None)
            if paging is None or paging.question != question:
                return _NO_SUCH_PAGE
            if paged.size == 0:  # RFC 2696 §2: no more of it is wanted
                return SUCCESS
            paging.cursor.limit(search["timeLimit"])
            return paging
        if not base and scope is Scope.BASE:
            root = root_dse(self.service.search.tree.suffix, secure=secure)
            return _Paging(question, Cursor.of([root] if fits(root, search["filter"]) else []))
        fixed = names.parse(base) == names.parse(self.service.search.tree.subschema.name)
        if not fixed and (refused := self._may_read()):
            return refused
        reader = self.service.reader(selection.kinds | mentioned(search["filter"]))
        cursor = await Cursor.found(reader, base, scope, search["filter"], search["timeLimit"])
        return _Paging(question, cursor)

    async def _given(self, paging: _Paging, size: int) -> AsyncIterator[list[Entry]]:
        """The entries of one page, some at a time, counted as given out."""
        left = size
        while left > 0:
            entries = await paging.cursor.take(min(left, LDAP_STEP))
            if not entries:
                return
            left -= len(entries)
            paging.given += len(entries)
            self.service.harvest.took(self._client, len(entries), clock.monotonic())
            yield entries

    def _put_by(self, paging: _Paging) -> bytes:
        """Keep it for the next page; the control to send."""
        cookie = secrets.token_bytes(8)
        self._pagings[cookie] = paging
        if len(self._pagings) > LDAP_PAGINGS:
            self._pagings.popitem(last=False)
        return _page_control(cookie)


def _simple(name: bytes, password: bytes) -> sasl.AppPassword:
    """An address, as it is or as `mail` or `uid` of a name, with its app password."""
    try:
        given, proof = name.decode(), password.decode()
    except UnicodeDecodeError:
        raise Refused(Reason.BAD_CREDENTIALS, "no UTF-8") from None
    if "=" in given:
        try:
            part = names.read(given)[0]
        except names.InvalidName:
            part = []
        given = next((value for kind, value in part if kind in ("mail", "uid") and "@" in value), given)
    return sasl.AppPassword("", given, proof)


def _sasl(credentials: dict[str, Any]) -> sasl.AppPassword:
    """PLAIN (RFC 4616) of one's own mailbox."""
    if credentials["mechanism"].upper() != sasl.PLAIN.encode():
        raise Refused(Reason.NOT_ALLOWED, "SASL mechanisms here: PLAIN")
    given = sasl.plain(credentials.get("credentials", b""))
    # RFC 4513 §5.2.1.8: an authzid is "u:" and a name here; it may be the client's own.
    if given.mailbox.removeprefix("u:").lower() not in ("", given.address.lower()):
        raise Refused(Reason.BAD_CREDENTIALS, "an address of somebody else")
    return sasl.AppPassword("", given.address, given.password)


def _failed(error: Exception) -> Result:
    match error:
        case NoSuchEntry(nearest=nearest):
            return Result(Code.NO_SUCH_OBJECT, matched=nearest)
        case TooBroad():
            return Result(Code.ADMIN_LIMIT_EXCEEDED, str(error))
        case names.InvalidName():
            return Result(Code.INVALID_DN_SYNTAX)
        case TryLater(reason=Reason.BUSY):
            return Result(Code.TIME_LIMIT_EXCEEDED, error.sentence)
    return Result(Code.UNAVAILABLE, "the directory does not answer")


def _end(request: Request, ended: Result, controls: bytes = b"") -> bytes:
    return answers.result(request.message_id, Answer.SEARCH, ended, controls=controls)


def _page_control(cookie: bytes) -> bytes:
    value = answers.sequence((answers.number(0), answers.octets(cookie)))
    return answers.control(oid.PAGED_RESULTS, value)
