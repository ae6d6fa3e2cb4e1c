"""Names as clients write them (RFC 4514 §4 has the examples)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory.ldap import names
from directory.ldap.entries import keys_of, uid_of


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("", []),
        ("UID=jsmith,DC=example,DC=net", [[("uid", "jsmith")], [("dc", "example")], [("dc", "net")]]),
        ("OU=Sales+CN=J.  Smith,DC=net", [[("ou", "Sales"), ("cn", "J.  Smith")], [("dc", "net")]]),
        (r"CN=James \"Jim\" Smith\, III", [[("cn", 'James "Jim" Smith, III')]]),
        (r"CN=Before\0dAfter", [[("cn", "Before\rAfter")]]),
        (r"CN=Lu\C4\8Di\C4\87", [[("cn", "Lučić")]]),
        ('O="Isode, Ltd" ; c = GB ', [[("o", "Isode, Ltd")], [("c", "GB")]]),
        (r"cn=\ a\ ", [[("cn", " a ")]]),
        ("2.5.4.3=x,OID.2.5.4.11=y", [[("cn", "x")], [("ou", "y")]]),
        ("cn=", [[("cn", "")]]),
    ],
)
def test_read(written: str, parts: list[list[tuple[str, str]]]) -> None:
    assert names.read(written) == parts


@pytest.mark.parametrize("written", ["x", "=", ",", "cn=a,", "cn=a,,cn=b", "cn=#04024869", "cn=a+", 'cn="a', r"cn=\ff"])
def test_no_name(written: str) -> None:
    with pytest.raises(names.InvalidName):
        names.read(written)


@given(st.text(max_size=100))
def test_any_value_stands_in_a_name(value: str) -> None:
    assert names.read(f"uid={names.escaped(value)},dc=fr") == [[("uid", value)], [("dc", "fr")]]


def test_names_are_equal_whatever_their_case() -> None:
    assert names.parse("OU = Personnes , DC=Exemple") == names.parse("ou=personnes,dc=exemple")
    assert names.parse("a=1+b=2") == names.parse("B=2+A=1")
    assert names.parse("a=1,b=2") != names.parse("b=2,a=1")


def test_keys_and_the_value_that_names_them() -> None:
    person, structure = ("889990000013", "10", "@cabinet@msg.exemple.fr"), ("", "", "R10")
    assert person in keys_of(uid_of(person), person=True)
    assert structure in keys_of("r10", person=False)
    assert keys_of("889990000013:10", person=True) == []
