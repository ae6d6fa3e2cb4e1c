"""The dialogue of one connection, sans-IO: bytes in by `feed`, answers out by the session's `Output`.

`step` handles the next whole thing received (command, literal to prompt for, SASL answer, DONE) and returns whether
there was one. Every outcome of a command is turned into its tagged line HERE and nowhere else: a domain error by the
table of `responses.py`, a syntax error as BAD, anything unknown as NO [SERVERBUG] with a private log line. After a
fault that leaves it unknown where the next command starts, the dialogue closes.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Awaitable
from enum import Enum, auto
from typing import Any

from server.base.errors import CaduceeError, ProtocolViolation, Reason, Refused
from server.base.limits import (
    IMAP_BAD_COMMANDS,
    IMAP_LINE,
    IMAP_LINE_BEFORE_LOGIN,
    IMAP_LITERAL,
    IMAP_LITERAL_BEFORE_LOGIN,
    IMAP_MESSAGE_IN_MEMORY,
    IMAP_PASSED_OVER,
    LARGE_MESSAGE_BYTES,
)
from server.db.pool import trouble
from server.imap import responses
from server.imap.command import Verb
from server.imap.commands import fetch, nonauth
from server.imap.commands.nonauth import Authenticate, Challenge
from server.imap.commands.table import VERBS
from server.imap.deflate import Inflater
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.reader import Admission, Frame, LineTooLong, LiteralRefused, Piece, Prompt, Reader
from server.imap.responses import Declined, Desynchronised, Done, Illegal
from server.imap.session import Session, State


class Mode(Enum):
    COMMAND = auto()
    SASL = auto()
    IDLE = auto()


class Dialogue:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.mode = Mode.COMMAND
        self.wants_tls = False  # STARTTLS was answered: the edge shakes hands now
        self.failures = 0  # BADs and refused sign-ins since the last good command
        self._reader = Reader(self._admit)
        self._taken = 0  # octets of the worker's budget that the command being received holds
        self._inflater: Inflater | None = None
        self._waiting: tuple[bytes, Verb, Any] = (b"", VERBS["NOOP"], None)  # what SASL or IDLE was asked by

    # --- the edge's side --------------------------------------------------------------------------------------
    def greet(self) -> None:
        self.session.ok("Caducee is ready", b"CAPABILITY " + self.session.capabilities())

    def feed(self, data: bytes) -> None:
        (self._inflater or self._reader).feed(data)

    @property
    def closed(self) -> bool:
        return self.session.state is State.LOGOUT

    @property
    def busy(self) -> bool:
        """Whether the client is in the middle of something that a shutdown should let end."""
        return self._reader.in_command or self.mode is Mode.SASL

    @property
    def buffered(self) -> int:
        return self._reader.buffered + (self._inflater.waiting if self._inflater else 0)

    @property
    def missing(self) -> int:
        """Octets of a literal still to come before anything can be done."""
        return 0 if self._inflater else self._reader.missing

    def tls_started(self) -> None:
        """RFC 9051 §6.2.1: everything learned in clear is forgotten, pipelined bytes too (CVE-2011-0411)."""
        self._reader.clear()
        self.wants_tls = False
        self.failures = 0
        self.session.secure = True

    def say_bye(self, text: str, code: bytes = b"") -> None:
        if not self.closed:
            self.session.write(responses.untagged(b"BYE", text, code))
            self.close()

    def close(self) -> None:
        """Release the view and the memory; safe to call twice."""
        self._give_back()
        self.session.close()

    async def push(self) -> None:
        """Tell what is new to a client that idles or asked for it by NOTIFY."""
        session, asked = self.session, self.session.notifications
        if self.closed or self.mode is Mode.SASL:
            return
        if self.mode is Mode.IDLE:
            await self._sync(expunge=True, force=False)
        elif asked is not None and asked.selected is not None:
            await self._sync(asked.immediate, force=False, flags="FLAGCHANGE" in asked.selected.events)
        if asked is not None and not self.closed:
            await self._guarded(asked.tell())
        await session.drain()

    async def step(self) -> bool:
        if self.closed or self.wants_tls:
            return False
        if self.session.over:
            self.say_bye("This sign-in has ended; connect and sign in again", b"EXPIRED")
            return False
        stranger = self.session.state is State.NOT_AUTHENTICATED
        self._reader.longest_line = IMAP_LINE_BEFORE_LOGIN if stranger else IMAP_LINE
        self._reader.passes_over = 0 if stranger else IMAP_PASSED_OVER
        if self.mode is not Mode.COMMAND:
            line = self._reader.next_line()
            if line is None:
                return self._inflate()
            await (self._too_long(line) if isinstance(line, LineTooLong) else self._answer(line))
            return True
        event = self._reader.next_frame()
        match event:
            case None:
                return self._inflate()
            case Prompt():
                self.session.write(b"+ Go ahead\r\n")
            case Frame():
                await self._command(event)
            case Piece():
                await self.session.uploads.add(event)
            case LiteralRefused():
                self._refuse_literal(event)
            case LineTooLong():
                await self._too_long(event)
        return True

    def _inflate(self) -> bool:
        """Give the reader more of a compressed stream; whether there was more."""
        if self._inflater is None:
            return False
        try:
            piece = self._inflater.read(self._reader.wanted)
        except zlib.error:
            self.say_bye("The compressed stream is damaged")
            return False
        self._reader.feed(piece)
        return bool(piece)

    def _follow_compression(self) -> None:
        """RFC 4978 §3: from the end of the command, and from the end of its answer on."""
        if self.session.compressed and self._inflater is None:
            self._inflater = Inflater()
            self._inflater.feed(self._reader.take_rest())
            self.session.output.deflate()

    # --- receiving --------------------------------------------------------------------------------------------
    def _admit(self, text: bytes, taken: int, size: int, nonsync: bool) -> Admission:
        """Before a literal is read: is it allowed here, now, in this size?"""
        try:
            _, verb = self._head(Cursor(Frame(text)))
        except (BadSyntax, Illegal):
            return Admission.SENSELESS
        # RFC 7888: LITERAL- before sign-in (a stranger's literals are shorter than it allows), LITERAL+ after it.
        if self.session.state is State.NOT_AUTHENTICATED:
            return Admission.ACCEPT if taken + size <= IMAP_LITERAL_BEFORE_LOGIN else Admission.TOO_BIG
        largest = self.session.services.max_message_bytes if verb.big else IMAP_LITERAL
        if size > largest or taken + size > largest + IMAP_LITERAL:
            return Admission.TOO_BIG
        # RFC 4469: a TEXT is joined to what stands before it, and cannot go into the mailbox by itself.
        passes = verb.big and size > IMAP_MESSAGE_IN_MEMORY and not text.upper().endswith((b"(TEXT ", b" TEXT "))
        memory = LARGE_MESSAGE_BYTES if passes else size
        if not self.session.services.budget.take(memory):
            return Admission.NOT_NOW
        self._taken += memory
        return Admission.HAND_ON if passes else Admission.ACCEPT

    def _head(self, cursor: Cursor) -> tuple[bytes, Verb]:
        """tag SP command-name → (tag, verb). Raises BadSyntax (unknown), Illegal (not in this state)."""
        tag = cursor.tag()
        cursor.sp()
        name = cursor.word("a command")
        if name == "UID":
            cursor.sp()
            name = "UID " + cursor.word("a command")
        verb = VERBS.get(name)
        if verb is None:
            raise BadSyntax("Unknown command")
        if self.session.state not in verb.states:
            raise Illegal("Not now: " + _WHEN[self.session.state])
        if self.session.uidonly and name != "EXPUNGE" and "UID " + name in VERBS:
            # RFC 9586 §3.1
            raise Illegal("After UIDONLY only its UID form is understood", b"UIDREQUIRED")
        return tag, verb

    async def _command(self, frame: Frame) -> None:
        cursor = Cursor(frame)
        try:
            if frame.fault:
                raise BadSyntax(frame.fault)
            tag, verb = self._head(cursor)
            command = verb.parse(cursor)
            cursor.end()
        except (BadSyntax, Illegal) as error:
            self._give_back()
            self._bad(_tag_of(frame.text), error)
            return
        del frame, cursor
        if isinstance(command, Authenticate) and nonauth.needs_answer(self.session, command):
            self.session.write(b"+ \r\n")
            self._wait(Mode.SASL, tag, verb, command)
            return
        if verb is VERBS["IDLE"]:
            self._wait(Mode.IDLE, tag, verb, command)
            self.session.listen(idle=True)
            self.session.write(b"+ idling\r\n")
            await self._sync(expunge=True, force=True)
            return
        try:
            await self._run(tag, verb, command)
        finally:
            self._give_back()

    def _wait(self, mode: Mode, tag: bytes, verb: Verb, command: Any) -> None:
        self.mode = mode
        self._waiting = (tag, verb, command)

    async def _answer(self, line: bytes) -> None:
        """The client's SASL response, or the end of IDLE."""
        tag, verb, command = self._waiting
        mode, self.mode = self.mode, Mode.COMMAND
        if mode is Mode.IDLE:
            if line.upper() != b"DONE":
                self.session.listen(idle=False)
                self._bad(tag, BadSyntax("Expected DONE"))
                return
        else:
            try:
                command = nonauth.answered(command, line)
            except BadSyntax as error:
                self._bad(tag, error)
                return
        await self._run(tag, verb, command)

    # --- running ----------------------------------------------------------------------------------------------
    async def _run(self, tag: bytes, verb: Verb, command: Any) -> None:
        session = self.session
        session.begin(tag)
        try:
            if verb.changes:
                session.require_change()
            done = await verb.run(session, command)
        except Challenge as challenge:
            session.write(b"+ %s\r\n" % challenge.encoded)
            self._wait(Mode.SASL, tag, verb, challenge.command)
            return
        except (BadSyntax, Illegal) as error:
            self._bad(tag, error)
            return
        except Desynchronised:
            raise
        except Exception as error:
            answer = self._declined(tag, verb, error)
        else:
            answer = self._accepted(tag, verb, done)
            if session.notifications is not None and verb.name in _OF_THE_LIST:
                named = (getattr(command, field) for field in ("mailbox", "new") if hasattr(command, field))
                session.notifications.own_change(*map(session.name, named))
        if not self.closed:
            late = await self._sync(verb.expunge, verb.refresh)
            if late is not None and verb.refresh:
                answer = responses.no(tag, late)
        session.write(answer)
        self._follow_compression()
        await session.drain()

    def _accepted(self, tag: bytes, verb: Verb, done: Done) -> bytes:
        if self.session.state is not State.NOT_AUTHENTICATED:
            self.failures = 0
        self.wants_tls = verb.name == "STARTTLS"
        return responses.status(tag, b"OK", done.text, done.code)

    def _declined(self, tag: bytes, verb: Verb, error: Exception) -> bytes:
        if isinstance(error, Declined):
            return responses.status(tag, b"NO", error.text, error.code)
        known = error if isinstance(error, CaduceeError) else trouble(error)
        if known is None:
            # The cause is private: the client learns that it is ours, and that it may try again.
            self.session.services.log.error("imap_command_failed", verb=verb.name, error=error)
            known = ProtocolViolation(Reason.INTERNAL, "Something went wrong on our side")
        if known.reason in (Reason.BAD_CREDENTIALS, Reason.THROTTLED):
            self._fail()
        return responses.no(tag, known)

    async def _sync(self, expunge: bool, force: bool, flags: bool = True) -> CaduceeError | None:
        """Tell the news; the error that kept us from asking for them, if any."""
        error = await self._guarded(self.session.sync(expunge, force, flags))
        if error is None and self.session.arrived:
            error = await self._guarded(fetch.fetch_arrived(self.session))
        return error

    async def _guarded(self, telling: Awaitable[None]) -> CaduceeError | None:
        try:
            await telling
        except Refused as refusal:
            if refusal.reason is not Reason.NO_SUCH_FOLDER:
                return refusal
            # RFC 2180 §3.3: of the ways to say that the selected mailbox was deleted, the one all clients understand.
            self.say_bye("The selected mailbox was deleted")
        except Desynchronised:
            raise
        except Exception as error:
            known = error if isinstance(error, CaduceeError) else trouble(error)
            if known is None:
                self.session.services.log.error("imap_sync_failed", error=error)
                known = ProtocolViolation(Reason.INTERNAL, "Something went wrong on our side")
            return known
        return None

    # --- faults -----------------------------------------------------------------------------------------------
    def _bad(self, tag: bytes, error: BadSyntax | Illegal) -> None:
        code = error.code if isinstance(error, Illegal) else b""
        self.session.write(responses.status(tag, b"BAD", str(error), code))
        self._fail()

    def _fail(self) -> None:
        """Count a fault; a client in error learns nothing more after so many."""
        self.failures += 1
        if self.failures >= IMAP_BAD_COMMANDS:
            self.say_bye("Too many errors")

    def _refuse_literal(self, event: LiteralRefused) -> None:
        self._give_back()
        tag = _tag_of(event.text)
        if event.admission is Admission.SENSELESS:
            try:
                self._head(Cursor(Frame(event.text)))
                self._bad(tag, BadSyntax("Malformed command"))
            except (BadSyntax, Illegal) as error:
                self._bad(tag, error)
        elif event.admission is Admission.TOO_BIG:
            self.session.write(responses.status(tag, b"NO", "The literal is larger than allowed", b"TOOBIG"))
        else:
            self.session.write(responses.status(tag, b"NO", "Try again in a moment", b"UNAVAILABLE"))
        if event.fatal:
            # More octets come than we pass over; taking them for commands would be worse (RFC 7888 §4).
            self.say_bye("That literal was not allowed")

    async def _too_long(self, event: LineTooLong) -> None:
        self.session.write(responses.status(_tag_of(event.text), b"BAD", "The line is too long"))
        self.say_bye("The line is too long")

    def _give_back(self) -> None:
        self.session.services.budget.give(self._taken)
        self._taken = 0
        self.session.uploads.clear()


# Commands that change the list of mailboxes, or what is written of one.
_OF_THE_LIST = frozenset({"CREATE", "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE", "SETMETADATA"})
_WHEN = {
    State.NOT_AUTHENTICATED: "sign in first",
    State.AUTHENTICATED: "only before sign-in, or with a mailbox selected",
    State.SELECTED: "only before sign-in",
    State.LOGOUT: "the session has ended",
}


def _tag_of(text: bytes) -> bytes:
    """The tag of a command that is wrong otherwise; "*" when even that cannot be read (RFC 9051 §7.1.3)."""
    with contextlib.suppress(BadSyntax):
        cursor = Cursor(Frame(text))
        tag = cursor.tag()
        cursor.sp()
        return tag
    return b"*"
