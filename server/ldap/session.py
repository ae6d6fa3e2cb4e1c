"""One LDAP connection, sans-IO: bytes in, actions out; no socket, no clock.

Invariants: nothing is ever written to the directory; nobody is ever signed in other than anonymously; a byte received
before the StartTLS answer is never read after it (command injection).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from server.base.errors import ProtocolViolation, Reason
from server.ldap.grammar import Request, decode, encode, frame
from server.ldap.oid import NOTICE_OF_DISCONNECTION, START_TLS
from server.ldap.root_dse import Entry, matches, naming_context, root_dse, select

# What each request is answered with; None where RFC 4511 knows no answer (§4.3, §4.11).
_ANSWERS: dict[str, str | None] = {
    "bindRequest": "bindResponse",
    "unbindRequest": None,
    "searchRequest": "searchResDone",
    "modifyRequest": "modifyResponse",
    "addRequest": "addResponse",
    "delRequest": "delResponse",
    "modDNRequest": "modDNResponse",
    "compareRequest": "compareResponse",
    "abandonRequest": None,
    "extendedReq": "extendedResp",
}


@dataclass(frozen=True, slots=True)
class Send:
    data: bytes


@dataclass(frozen=True, slots=True)
class StartTls:
    """Send nothing more in clear: shake hands now."""


@dataclass(frozen=True, slots=True)
class Close:
    pass


Action = Send | StartTls | Close


class Session:
    """`feed` bytes, do the actions in order. After `StartTls` call `secured` once the handshake is done."""

    def __init__(self, domain: str, start_tls: bool, secure: bool) -> None:
        self._buffer = bytearray()
        self._domain = domain
        self._start_tls = start_tls
        self._secure = secure

    def feed(self, data: bytes) -> Iterator[Action]:
        """Take what came; yields what to do. On malformed bytes: a Notice of Disconnection, then Close."""
        self._buffer += data
        try:
            while (size := frame(self._buffer)) is not None:
                message = bytes(self._buffer[:size])
                del self._buffer[:size]
                for action in self._answer(decode(message)):
                    yield action
                    if not isinstance(action, Send):
                        return
        except ProtocolViolation as violation:
            yield Send(_notice("protocolError", violation.sentence))
            yield Close()

    def secured(self) -> None:
        """The handshake is done."""
        self._secure = True

    def goodbye(self) -> bytes:
        """What to send before we close on our own account (RFC 4511 §4.4.1)."""
        return _notice("unavailable", "the server is shutting down")

    def _answer(self, request: Request) -> Iterator[Action]:
        if request.operation not in _ANSWERS:
            raise ProtocolViolation(Reason.MALFORMED, "that is no request of a client")
        response = _ANSWERS[request.operation]
        if response is None:
            if request.operation == "unbindRequest":
                yield Close()
            return
        # RFC 4511 §4.1.11: we know no control, so a critical one means that nothing is done.
        if any(control.critical for control in request.controls):
            yield _send(request, response, _result("unavailableCriticalExtension", "no control is known here"))
        elif request.operation == "bindRequest":
            yield _send(request, response, self._bind(request.value))
        elif request.operation == "searchRequest":
            yield from self._search(request)
        elif request.operation == "extendedReq":
            yield from self._extended(request)
        else:
            yield _send(request, response, _result("unwillingToPerform", "this directory is read-only"))

    def _bind(self, bind: dict[str, Any]) -> dict[str, Any]:
        if bind["version"] != 3:
            return _result("protocolError", "only LDAP version 3 is spoken here")
        method, proof = bind["authentication"]
        if method != "simple":
            return _result("authMethodNotSupported", "only the anonymous bind is known here")
        if not bind["name"] and not proof:
            return _result("success")
        if not proof:  # RFC 4513 §5.1.2: the unauthenticated bind is refused
            return _result("unwillingToPerform", "a name without a password proves nothing")
        if not self._secure:
            return _result("confidentialityRequired", "never send a password in clear")
        return _result("invalidCredentials")

    def _search(self, request: Request) -> Iterator[Action]:
        search = request.value
        if search["baseObject"] or search["scope"] != "baseObject":
            yield _send(request, "searchResDone", self._elsewhere(search["baseObject"]))
            return
        entry: Entry = root_dse(self._domain, self._start_tls and not self._secure)
        if matches(entry, search["filter"]):
            wanted = [name.decode("utf-8", "replace") for name in search["attributes"]]
            attributes = [
                {"type": name.encode(), "vals": [] if search["typesOnly"] else [value.encode() for value in values]}
                for name, values in select(entry, wanted).items()
            ]
            yield _send(request, "searchResEntry", {"objectName": b"", "attributes": attributes})
        yield _send(request, "searchResDone", _result("success"))

    def _elsewhere(self, base: bytes) -> dict[str, Any]:
        name = base.decode("utf-8", "replace").lower().replace(" ", "")
        suffix = naming_context(self._domain)
        if not name or name == suffix or name.endswith("," + suffix):
            return _result("unwillingToPerform", "only the root DSE can be read here")
        return _result("noSuchObject")

    def _extended(self, request: Request) -> Iterator[Action]:
        if request.value["requestName"] != START_TLS.encode():
            # RFC 4511 §4.12: an unknown name is a protocolError.
            yield _send(request, "extendedResp", _result("protocolError", "unknown extended operation"))
        elif self._secure:
            yield _send(request, "extendedResp", _result("operationsError", "TLS is already on"))
        elif not self._start_tls:
            yield _send(request, "extendedResp", _result("unavailable", "no certificate is configured"))
        elif self._buffer:
            # RFC 4511 §4.14.1: no request between StartTLS and the handshake; it might be an attacker's.
            yield _send(request, "extendedResp", _result("operationsError", "requests came along with StartTLS"))
            yield Close()
        else:
            answer = _result("success") | {"responseName": START_TLS.encode()}
            yield _send(request, "extendedResp", answer)
            yield StartTls()


def _result(code: str, sentence: str = "") -> dict[str, Any]:
    return {"resultCode": code, "matchedDN": b"", "diagnosticMessage": sentence.encode()}


def _send(request: Request, operation: str, value: dict[str, Any]) -> Send:
    return Send(encode(request.message_id, operation, value))


def _notice(code: str, sentence: str) -> bytes:
    # RFC 4511 §4.4: an unsolicited notification has message id 0.
    return encode(0, "extendedResp", _result(code, sentence) | {"responseName": NOTICE_OF_DISCONNECTION.encode()})
