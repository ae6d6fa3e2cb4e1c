"""One LDAP connection as bytes: what is asked and what is answered, without sockets."""

from __future__ import annotations

from typing import Any

import pytest

from server.base.limits import LDAP_DEPTH, LDAP_ELEMENTS, LDAP_MESSAGE_BYTES
from server.ldap.grammar import _SPECIFICATION, encode
from server.ldap.session import Action, Close, Send, Session, StartTls

ROOT_SEARCH = {
    "baseObject": b"",
    "scope": "baseObject",
    "derefAliases": "neverDerefAliases",
    "sizeLimit": 0,
    "timeLimit": 0,
    "typesOnly": False,
    "filter": ("present", b"objectClass"),
    "attributes": [],
}
START_TLS = encode(7, "extendedReq", {"requestName": b"1.3.6.1.4.1.1466.20037"})


def ask(data: bytes, secure: bool = False) -> list[Action]:
    return list(Session("msg.exemple.fr", start_tls=True, secure=secure).feed(data))


def answers(actions: list[Action]) -> list[tuple[str, Any]]:
    return [
        _SPECIFICATION.decode("LDAPMessage", action.data)["protocolOp"]
        for action in actions
        if isinstance(action, Send)
    ]


def code(operation: str, value: Any, secure: bool = False) -> str:
    (answer,) = answers(ask(encode(2, operation, value), secure))
    return str(answer[1]["resultCode"])


def search(**changes: Any) -> list[tuple[str, Any]]:
    return answers(ask(encode(2, "searchRequest", ROOT_SEARCH | changes)))


def attributes(**changes: Any) -> dict[str, list[str]]:
    kind, entry = search(**changes)[0]
    assert kind == "searchResEntry"
    return {item["type"].decode(): [value.decode() for value in item["vals"]] for item in entry["attributes"]}


def test_root_dse_tells_what_this_is() -> None:
    told = attributes()
    assert told["supportedLDAPVersion"] == ["3"]
    assert told["namingContexts"] == ["dc=msg,dc=exemple,dc=fr"]
    assert told["supportedExtension"] == ["1.3.6.1.4.1.1466.20037"]
    assert told["vendorName"] == ["Caducée"]


def test_attributes_are_those_asked_for() -> None:
    assert set(attributes(attributes=[b"*"])) == {"objectClass"}
    assert "objectClass" not in attributes(attributes=[b"+"])
    assert set(attributes(attributes=[b"VENDORNAME"])) == {"vendorName"}
    assert attributes(attributes=[b"1.1"]) == {}
    assert attributes(typesOnly=True)["vendorName"] == []


def test_filters_are_three_valued() -> None:
    def found(search_filter: tuple[str, Any]) -> bool:
        return search(filter=search_filter)[0][0] == "searchResEntry"

    top = ("equalityMatch", {"attributeDesc": b"objectclass", "assertionValue": b"TOP"})
    unknown = ("equalityMatch", {"attributeDesc": b"cn", "assertionValue": b"x"})
    assert found(top)
    assert found(("or", [unknown, top]))
    assert found(("not", ("present", b"cn")))
    assert not found(("and", [top, unknown]))
    assert not found(("not", unknown))  # not Undefined is Undefined (RFC 4511 §4.5.1.7)


def test_start_tls_is_not_announced_under_tls() -> None:
    session = Session("msg.exemple.fr", start_tls=True, secure=True)
    ((_, entry), _) = answers(list(session.feed(encode(2, "searchRequest", ROOT_SEARCH))))
    assert b"supportedExtension" not in {item["type"] for item in entry["attributes"]}


@pytest.mark.parametrize(
    ("value", "secure", "expected"),
    [
        ({"version": 3, "name": b"", "authentication": ("simple", b"")}, False, "success"),
        ({"version": 2, "name": b"", "authentication": ("simple", b"")}, False, "protocolError"),
        ({"version": 3, "name": b"cn=a", "authentication": ("simple", b"")}, True, "unwillingToPerform"),
        ({"version": 3, "name": b"cn=a", "authentication": ("simple", b"x")}, False, "confidentialityRequired"),
        ({"version": 3, "name": b"cn=a", "authentication": ("simple", b"x")}, True, "invalidCredentials"),
        (
            {"version": 3, "name": b"", "authentication": ("sasl", {"mechanism": b"PLAIN"})},
            True,
            "authMethodNotSupported",
        ),
    ],
)
def test_only_the_anonymous_bind_succeeds(value: dict[str, Any], secure: bool, expected: str) -> None:
    assert code("bindRequest", value, secure) == expected


def test_nothing_can_be_written() -> None:
    assert code("delRequest", b"cn=x") == "unwillingToPerform"
    assert code("addRequest", {"entry": b"cn=x", "attributes": []}) == "unwillingToPerform"
    assert code("modifyRequest", {"object": b"", "changes": []}) == "unwillingToPerform"


def test_elsewhere_is_elsewhere() -> None:
    assert search(baseObject=b"cn=x,DC=msg, dc=exemple,dc=fr")[0][1]["resultCode"] == "unwillingToPerform"
    assert search(baseObject=b"dc=autre")[0][1]["resultCode"] == "noSuchObject"
    assert search(scope="wholeSubtree")[0][1]["resultCode"] == "unwillingToPerform"


def test_critical_control_stops_the_request() -> None:
    controls = [{"controlType": b"1.2.3", "criticality": True}]
    message = {"messageID": 9, "protocolOp": ("searchRequest", ROOT_SEARCH), "controls": controls}
    ((_, answer),) = answers(ask(bytes(_SPECIFICATION.encode("LDAPMessage", message))))
    assert answer["resultCode"] == "unavailableCriticalExtension"


def test_start_tls_once_and_alone() -> None:
    assert isinstance(ask(START_TLS)[-1], StartTls)
    # A request slipped in with StartTLS, in clear, must never be answered under TLS.
    slipped = ask(START_TLS + encode(8, "searchRequest", ROOT_SEARCH))
    assert not any(isinstance(action, StartTls) for action in slipped)
    assert isinstance(slipped[-1], Close)
    assert code("extendedReq", {"requestName": b"1.3.6.1.4.1.1466.20037"}, secure=True) == "operationsError"
    assert code("extendedReq", {"requestName": b"1.2.3"}) == "protocolError"


def test_bytes_one_by_one_are_the_same() -> None:
    data = encode(1, "searchRequest", ROOT_SEARCH) + encode(2, "unbindRequest", None)
    session = Session("msg.exemple.fr", start_tls=True, secure=False)
    singly = [action for i in range(len(data)) for action in session.feed(data[i : i + 1])]
    assert singly == ask(data)
    assert isinstance(singly[-1], Close)


def nested(depth: int) -> bytes:
    inner = bytes([0x87, 0x01, 0x61])
    for _ in range(depth):
        length = len(inner)
        inner = bytes([0xA2, 0x82]) + length.to_bytes(2, "big") + inner
    return inner


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
        b"\x30\x82" + (len(nested(LDAP_DEPTH))).to_bytes(2, "big") + nested(LDAP_DEPTH),
        b"\x30\x82" + (2 * LDAP_ELEMENTS).to_bytes(2, "big") + b"\x05\x00" * LDAP_ELEMENTS,
    ],
)
def test_malformed_is_told_so_and_closed(data: bytes) -> None:
    actions = ask(data)
    ((kind, answer),) = answers(actions)
    assert kind == "extendedResp"
    assert answer["resultCode"] == "protocolError"
    assert answer["responseName"] == b"1.3.6.1.4.1.1466.20036"
    assert isinstance(actions[-1], Close)
