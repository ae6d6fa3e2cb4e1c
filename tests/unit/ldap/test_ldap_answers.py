"""Our writer of BER says what asn1tools reads back, and writes what asn1tools writes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.ldap import answers
from server.ldap.answers import SUCCESS, Answer, Code, Result
from server.ldap.grammar import check, frame
from tests.ldap_messages import decode, encode

VALUES = st.dictionaries(
    st.sampled_from(["cn", "mail", "postalAddress"]), st.lists(st.text(max_size=300), max_size=3, unique=True)
)


@given(message_id=st.integers(1, 2**31 - 1), name=st.text(max_size=200), attributes=VALUES)
def test_an_entry_is_the_same_octets(message_id: int, name: str, attributes: dict[str, list[str]]) -> None:
    ours = answers.entry(message_id, name, attributes, types_only=False)
    fields = [{"type": kind.encode(), "vals": [v.encode() for v in values]} for kind, values in attributes.items()]
    entry = decode(ours)
    assert entry["protocolOp"] == ("searchResEntry", {"objectName": name.encode(), "attributes": fields})
    assert ours == encode(message_id, "searchResEntry", {"objectName": name.encode(), "attributes": fields})
    assert frame(ours) == len(ours)
    check(ours)


def test_octets_pass_and_types_alone_have_no_values() -> None:
    attributes = {"userCertificate;binary": [b"\x30\x00\xff"]}
    (held,) = decode(answers.entry(1, "x", attributes, types_only=False))["protocolOp"][1]["attributes"]
    assert held == {"type": b"userCertificate;binary", "vals": [b"\x30\x00\xff"]}
    (held,) = decode(answers.entry(1, "x", attributes, types_only=True))["protocolOp"][1]["attributes"]
    assert held["vals"] == []


@given(sentence=st.text(max_size=300))
def test_a_result_reads_back(sentence: str) -> None:
    ended = Result(Code.NO_SUCH_OBJECT, sentence, "dc=fr")
    message = decode(answers.result(5, Answer.SEARCH, ended, controls=answers.control("1.2.3", b"value")))
    kind, fields = message["protocolOp"]
    assert (kind, fields["resultCode"], fields["matchedDN"]) == ("searchResDone", "noSuchObject", b"dc=fr")
    assert fields["diagnosticMessage"] == sentence.encode()
    assert message["controls"] == [{"controlType": b"1.2.3", "criticality": False, "controlValue": b"value"}]


def test_every_answer_has_its_tag() -> None:
    kinds = ["bindResponse", "searchResDone", "modifyResponse", "addResponse", "delResponse", "modDNResponse"]
    kinds += ["compareResponse", "extendedResp"]
    tags = [one for one in Answer if one is not Answer.ENTRY]
    assert [decode(answers.result(1, tag, SUCCESS))["protocolOp"][0] for tag in tags] == kinds


def test_a_notice_of_disconnection_has_no_number() -> None:
    message = decode(answers.notice(Result(Code.UNAVAILABLE, "x")))
    assert message["messageID"] == 0
    assert message["protocolOp"][1]["responseName"] == b"1.3.6.1.4.1.1466.20036"
