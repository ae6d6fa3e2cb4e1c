"""One LDAP connection, sans-IO: bytes in, actions out; no socket, no clock, no directory.

Invariants: nothing is ever written to the directory; a byte received before the StartTLS answer is never read after it
(command injection); no more than LDAP_OPERATIONS requests wait for their answers, the next one is told "busy".

What needs the world (`Ask`: bind, search, compare, "who am I") is done by whoever feeds this, in the order it came, and
`done` when it is answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.base.errors import ProtocolViolation, Reason
from server.base.limits import LDAP_OPERATIONS
from server.ldap import answers, oid
from server.ldap.answers import SUCCESS, Answer, Code, Result
from server.ldap.grammar import Request, cancelled, decode, frame

# What each request is answered with; None where RFC 4511 knows no answer (§4.3, §4.11).
_ANSWERS: dict[str, Answer | None] = {
    "bindRequest": Answer.BIND,
    "unbindRequest": None,
    "searchRequest": Answer.SEARCH,
    "modifyRequest": Answer.MODIFY,
    "addRequest": Answer.ADD,
    "delRequest": Answer.DELETE,
    "modDNRequest": Answer.MODIFY_DN,
    "compareRequest": Answer.COMPARE,
    "abandonRequest": None,
    "extendedReq": Answer.EXTENDED,
}
_READ_ONLY = Result(Code.UNWILLING_TO_PERFORM, "this directory is read-only")


@dataclass(frozen=True, slots=True)
class Send:
    data: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """Answer this, after what was asked before."""

    request: Request


@dataclass(frozen=True, slots=True)
class StartTls:
    """Send nothing more in clear: shake hands now."""


@dataclass(frozen=True, slots=True)
class Close:
    pass


Action = Send | Ask | StartTls | Close


class Session:
    """`feed` bytes, do the actions in order. After `StartTls` call `secured` once the handshake is done."""

    def __init__(self, *, secure: bool) -> None:
        self.secure = secure
        self._buffer = bytearray()
        self._waiting: dict[int, Request] = {}
        self._unwanted: dict[int, bool] = {}  # abandoned; True: cancelled, which is answered

    def feed(self, data: bytes) -> Iterator[Action]:
        """Take what came; yields what to do. On malformed bytes: a Notice of Disconnection, then Close."""
        self._buffer += data
        try:
            while (size := frame(self._buffer)) is not None:
                message = bytes(self._buffer[:size])
                del self._buffer[:size]
                for action in self._taken(decode(message)):
                    yield action
                    if isinstance(action, StartTls | Close):
                        return
        except ProtocolViolation as violation:
            yield Send(answers.notice(Result(Code.PROTOCOL_ERROR, violation.sentence)))
            yield Close()

    def secured(self) -> None:
        """The handshake is done."""
        self.secure = True

    def wanted(self, request: Request) -> bool:
        """Whether its client still waits for it."""
        return request.message_id not in self._unwanted

    def done(self, request: Request) -> bytes:
        """It is answered, or no longer wanted; returns what is still to be sent."""
        del self._waiting[request.message_id]
        if not self._unwanted.pop(request.message_id, False):
            return b""
        return answers.result(request.message_id, answer_to(request), Result(Code.CANCELED))

    def goodbye(self) -> bytes:
        """What to send before we close on our own account (RFC 4511 §4.4.1)."""
        return answers.notice(Result(Code.UNAVAILABLE, "the server is shutting down"))

    def _taken(self, request: Request) -> Iterator[Action]:
        if request.operation not in _ANSWERS:
            raise ProtocolViolation(Reason.MALFORMED, "that is no request of a client")
        if request.operation == "unbindRequest":
            yield Close()
        elif request.operation == "abandonRequest":
            if request.value in self._waiting:
                self._unwanted.setdefault(request.value, False)
        elif request.message_id in self._waiting:
            # RFC 4511 §4.1.1.1: no two requests of one number at a time.
            raise ProtocolViolation(Reason.MALFORMED, "the message id is in use")
        elif not _controls_known(request):
            yield _end(request, Result(Code.UNAVAILABLE_CRITICAL_EXTENSION, "a critical control is not known here"))
        elif request.operation == "extendedReq":
            yield from self._extended(request)
        elif request.operation in ("bindRequest", "searchRequest", "compareRequest"):
            yield self._ask(request)
        else:
            yield _end(request, _READ_ONLY)

    def _ask(self, request: Request) -> Action:
        if len(self._waiting) >= LDAP_OPERATIONS:
            return _end(request, Result(Code.BUSY, f"{LDAP_OPERATIONS} requests of this connection wait already"))
        self._waiting[request.message_id] = request
        return Ask(request)

    def _extended(self, request: Request) -> Iterator[Action]:
        name = request.value["requestName"].decode("ascii", "replace")
        if name == oid.WHO_AM_I:
            yield self._ask(request)
        elif name == oid.CANCEL:
            yield _end(request, self._cancel(request))
        elif name != oid.START_TLS:
            # RFC 4511 §4.12: an unknown name is a protocolError.
            yield _end(request, Result(Code.PROTOCOL_ERROR, "unknown extended operation"))
        elif self.secure:
            yield _end(request, Result(Code.OPERATIONS_ERROR, "TLS is already on"))
        elif self._waiting:
            # RFC 4511 §4.14.1: what was asked before must be answered before.
            yield _end(request, Result(Code.OPERATIONS_ERROR, "requests still wait for their answers"))
        elif self._buffer:
            # RFC 4511 §4.14.1: no request between StartTLS and the handshake; it might be an attacker's.
            yield _end(request, Result(Code.OPERATIONS_ERROR, "requests came along with StartTLS"))
            yield Close()
        else:
            yield Send(answers.extended(request.message_id, SUCCESS, oid.START_TLS))
            yield StartTls()

    def _cancel(self, request: Request) -> Result:
        """RFC 3909 §2: the operation that is cancelled is told so too."""
        waiting = self._waiting.get(cancelled(request.value.get("requestValue")))
        if waiting is None or waiting.message_id in self._unwanted:
            return Result(Code.NO_SUCH_OPERATION)
        if waiting.operation == "bindRequest":
            return Result(Code.CANNOT_CANCEL)
        self._unwanted[waiting.message_id] = True
        return SUCCESS


def answer_to(request: Request) -> Answer:
    """What ends the answer to a request that has one."""
    answer = _ANSWERS[request.operation]
    assert answer is not None  # noqa: S101 -- unbind and abandon go no further than `_taken`
    return answer


def _controls_known(request: Request) -> bool:
    """RFC 4511 §4.1.11: with a critical control that is not known, or does not fit, nothing is done."""
    known = {oid.MANAGE_DSA_IT}
    if request.operation == "searchRequest":
        known.add(oid.PAGED_RESULTS)
    return all(control.oid in known for control in request.controls if control.critical)


def _end(request: Request, ended: Result) -> Send:
    return Send(answers.result(request.message_id, answer_to(request), ended))
