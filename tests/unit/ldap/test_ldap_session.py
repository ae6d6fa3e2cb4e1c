"""One LDAP connection as bytes: what is answered at once, what is asked of the world, without sockets."""

from __future__ import annotations

from typing import Any

import pytest

from server.base.limits import LDAP_DEPTH, LDAP_ELEMENTS, LDAP_MESSAGE_BYTES, LDAP_OPERATIONS
from server.ldap.session import Action, Ask, Close, Send, Session, StartTls
from tests.ldap_messages import cancel, decode, encode, extended, search

START_TLS = extended(7, "1.3.6.1.4.1.1466.20037")
WHO_AM_I = "1.3.6.1.4.1.4203.1.11.3"


def ask(data: bytes, secure: bool = False) -> list[Action]:
    return list(Session(secure=secure).feed(data))


def answers(actions: list[Action]) -> list[tuple[str, Any]]:
    return [decode(action.data)["protocolOp"] for action in actions if isinstance(action, Send)]


def code(data: bytes, secure: bool = False) -> str:
    (answer,) = answers(ask(data, secure))
    return str(answer[1]["resultCode"])


@pytest.mark.parametrize("operation", ["bind", "search", "compare", "who am I"])
def test_what_needs_the_world_is_asked_in_order(operation: str) -> None:
    messages = {
        "bind": encode(3, "bindRequest", {"version": 3, "name": b"", "authentication": ("simple", b"")}),
        "search": search(3),
        "compare": encode(3, "compareRequest", {"entry": b"", "ava": {"attributeDesc": b"cn", "assertionValue": b"x"}}),
        "who am I": extended(3, WHO_AM_I),
    }
    actions = ask(search(2) + messages[operation])
    assert [action.request.message_id for action in actions if isinstance(action, Ask)] == [2, 3]


def test_nothing_can_be_written() -> None:
    assert code(encode(2, "delRequest", b"cn=x")) == "unwillingToPerform"
    assert code(encode(2, "addRequest", {"entry": b"cn=x", "attributes": []})) == "unwillingToPerform"
    assert code(encode(2, "modifyRequest", {"object": b"", "changes": []})) == "unwillingToPerform"
    rename = {"entry": b"cn=x", "newrdn": b"cn=y", "deleteoldrdn": True}
    assert code(encode(2, "modDNRequest", rename)) == "unwillingToPerform"


def test_critical_controls_stop_a_request_and_others_do_not() -> None:
    assert code(search(9, ("1.2.3", True, None))) == "unavailableCriticalExtension"
    assert code(search(9, ("1.2.840.113556.1.4.473", True, b"x"))) == "unavailableCriticalExtension"  # sorting
    for control in (("1.2.3", False, None), ("2.16.840.1.113730.3.4.2", True, None)):
        assert isinstance(ask(search(9, control))[0], Ask)
    # Paging is known, and is nothing to a comparison.
    compare = {"entry": b"", "ava": {"attributeDesc": b"cn", "assertionValue": b"x"}}
    paged = encode(2, "compareRequest", compare, ("1.2.840.113556.1.4.319", True, b"x"))
    assert code(paged) == "unavailableCriticalExtension"


def test_start_tls_once_and_alone() -> None:
    assert isinstance(ask(START_TLS)[-1], StartTls)
    # A request slipped in with StartTLS, in clear, must never be answered under TLS.
    slipped = ask(START_TLS + search(8))
    assert not any(isinstance(action, StartTls | Ask) for action in slipped)
    assert isinstance(slipped[-1], Close)
    assert code(START_TLS, secure=True) == "operationsError"
    assert code(extended(7, "1.2.3")) == "protocolError"
    waiting = ask(search(2) + START_TLS)
    assert answers(waiting)[0][1]["resultCode"] == "operationsError"
    assert not any(isinstance(action, StartTls) for action in waiting)


def test_only_so_many_wait_and_then_it_is_busy() -> None:
    session = Session(secure=True)
    actions = list(session.feed(b"".join(search(number) for number in range(1, LDAP_OPERATIONS + 2))))
    asked = [action.request for action in actions if isinstance(action, Ask)]
    assert len(asked) == LDAP_OPERATIONS
    assert answers(actions)[0][1]["resultCode"] == "busy"
    assert session.done(asked[0]) == b""
    assert isinstance(next(session.feed(search(LDAP_OPERATIONS + 1))), Ask)


def test_what_is_abandoned_is_not_answered_and_what_is_cancelled_is_told_so() -> None:
    session = Session(secure=True)
    first, second = (action.request for action in session.feed(search(2) + search(3)) if isinstance(action, Ask))
    assert list(session.feed(encode(4, "abandonRequest", 2) + encode(5, "abandonRequest", 77))) == []
    assert not session.wanted(first)
    assert session.done(first) == b""
    (told,) = answers(list(session.feed(cancel(6, 3))))
    assert told[1]["resultCode"] == "success"
    assert not session.wanted(second)
    ended = session.done(second)
    assert ended[-9:] == bytes.fromhex("65070a017604000400")  # SearchResultDone, canceled (118)
    (told,) = (action for action in session.feed(cancel(6, 3)) if isinstance(action, Send))
    assert b"\x0a\x01\x77" in told.data  # noSuchOperation (119)


def test_bytes_one_by_one_are_the_same() -> None:
    data = encode(1, "delRequest", b"cn=x") + search(2) + encode(3, "unbindRequest", None)
    session = Session(secure=False)
    singly = [action for i in range(len(data)) for action in session.feed(data[i : i + 1])]
    assert singly == ask(data)
    assert isinstance(singly[-1], Close)


def nested(depth: int) -> bytes:
    """A search whose filter holds so many negations."""
    inner = bytes([0x87, 0x01, 0x61])
    for _ in range(depth):
        inner = b"\xa2\x84" + len(inner).to_bytes(4, "big") + inner
    fields = bytes.fromhex("04000a01020a0100020100020100010100") + inner + b"\x30\x00"
    operation = b"\x63\x84" + len(fields).to_bytes(4, "big") + fields
    message = b"\x02\x01\x02" + operation
    return b"\x30\x84" + len(message).to_bytes(4, "big") + message


def test_a_filter_may_be_as_deep_as_clients_write_them() -> None:
    assert isinstance(ask(nested(10))[0], Ask)


@pytest.mark.parametrize(
    "data",
    [
        b"\x31\x00",  # no SEQUENCE
        b"GET / HTTP/1.1\r\n",
        b"\x30\x80\x02\x01\x01\x42\x00\x00\x00",  # indefinite length
        b"\x30\x85\x01\x00\x00\x00\x00",  # a length of five octets
        b"\x30\x84" + (LDAP_MESSAGE_BYTES + 1).to_bytes(4, "big"),  # refused before it is read
        b"\x30\x06\x02\x01\x01\x42\x05\x00",  # an element longer than its parent
        b"\x30\x05\x02\x01\x00\x42\x00",  # message id 0
        encode(1, "searchResDone", {"resultCode": "success", "matchedDN": b"", "diagnosticMessage": b""}),
        nested(LDAP_DEPTH),
        nested(10_000),
        b"\x30\x82" + (2 * LDAP_ELEMENTS).to_bytes(2, "big") + b"\x05\x00" * LDAP_ELEMENTS,
        search(2) + search(2),  # one number twice
        extended(2, "1.3.6.1.1.8"),  # Cancel without a value
        extended(2, "1.3.6.1.1.8", b"\x30\x03\x04\x01x"),
    ],
)
def test_malformed_is_told_so_and_closed(data: bytes) -> None:
    actions = ask(data)
    ((kind, answer),) = answers(actions)
    assert kind == "extendedResp"
    assert answer["resultCode"] == "protocolError"
    assert answer["responseName"] == b"1.3.6.1.4.1.1466.20036"
    assert isinstance(actions[-1], Close)
