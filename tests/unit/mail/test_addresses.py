"""Addresses: lists, paths, and the one form that is looked up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.base.errors import ProtocolViolation, Reason
from server.base.limits import MIME_ADDRESSES
from server.mail.addresses import Entry, Mailbox, entries, normalise, parse, parse_path, valid
from server.mail.envelope import envelope

# RFC 5322 Appendix A and what real senders write.
LISTS = [
    ("John Doe <jdoe@machine.example>", [("John Doe", "jdoe", "machine.example")]),
    ('"Joe Q. Public" <john.q.public@example.com>', [("Joe Q. Public", "john.q.public", "example.com")]),
    (
        "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
        [("Mary Smith", "mary", "x.test"), ("", "jdoe", "example.org"), ("Who?", "one", "y.test")],
    ),
    (
        '<boss@nil.test>, "Giant; \\"Big\\" Box" <sysservices@example.net>',
        [("", "boss", "nil.test"), ('Giant; "Big" Box', "sysservices", "example.net")],
    ),
    (
        "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
        [("Ed Jones", "c", "a.test"), ("", "joe", "where.test"), ("John", "jdoe", "one.test")],
    ),
    ("Undisclosed recipients:;", []),
    (
        "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
        [("Pete", "pete", "silly.test")],
    ),
    ("jdoe@test   . example (John (Jr) Doe)", [("John (Jr) Doe", "jdoe", "test.example")]),
    ("Mary Smith <@node.test,@x.test:mary@example.net>", [("Mary Smith", "mary", "example.net")]),
    ("=?utf-8?q?H=C3=A9l=C3=A8ne?= =?utf-8?b?IMOJ?= <h@x.test>", [("Hélène É", "h", "x.test")]),
    ('"=?utf-8?q?H=C3=A9?=" <h@x.test>', [("Hé", "h", "x.test")]),
    ('"a@b" <c@d.test>', [("a@b", "c", "d.test")]),
    ("a@b.test <c@d.test>", [("a@b.test", "c", "d.test")]),
    ('"quoted local"@x.test', [("", "quoted local", "x.test")]),
    ("Jérôme <j@x.test>".encode().decode("latin-1"), [("Jérôme", "j", "x.test")]),
    ("a@[192.0.2.1]", [("", "a", "[192.0.2.1]")]),
    (",, a@b.test ,,", [("", "a", "b.test")]),
    ("nobody", []),
]


@pytest.mark.parametrize(("value", "expected"), LISTS)
def test_lists(value: str, expected: list[tuple[str, str, str]]) -> None:
    assert parse(value) == [Mailbox(*one) for one in expected]


def test_groups_as_envelope_tells_them() -> None:
    # RFC 9051 §7.5.2
    assert entries("Team: a@b.test, c@d.test;, e@f.test") == [
        Entry(None, "Team", None),
        Entry(None, "a", "b.test"),
        Entry(None, "c", "d.test"),
        Entry(None, None, None),
        Entry(None, "e", "f.test"),
    ]
    assert entries("Open: a@b.test")[-1] == Entry(None, None, None)


def test_a_source_route_stands_apart() -> None:
    # addr-adl of RFC 9051 §7.5.2, obs-route of RFC 5322 §4.4
    assert entries("N <@x.test,@y.test:a@b.test>, c@d.test") == [
        Entry("N", "a", "b.test", "@x.test,@y.test"),
        Entry(None, "c", "d.test"),
    ]
    assert b'("N" "@x.test,@y.test" "a" "b.test")' in envelope(b"From: N <@x.test,@y.test:a@b.test>\r\n\r\n")


def test_lists_are_bounded() -> None:
    assert len(entries("a@b.test," * (3 * MIME_ADDRESSES))) == MIME_ADDRESSES
    assert parse("(" * 100_000) == []
    assert parse('"' * 100_000) == []
    assert len(parse("<" * 100_000)) <= 1


GOOD = [
    "a@b",
    "jean.martin@medecin.mssante.fr",
    "o'neil+tag@x-y.example",
    '"jean martin"@x.example',
    '"a\\"b"@x.example',
    '"@"@x.example',
    "a@[192.0.2.1]",
    "a@[IPv6:2001:db8::1]",
    "hélène@x.example",
    "a@santé.example",
    "a@xn--sant-epa.example",
    "a" * 64 + "@x.example",
]
BAD = [
    "a",
    "@x.example",
    "a@",
    "a@@x.example",
    ".a@x.example",
    "a.@x.example",
    "a..b@x.example",
    "a b@x.example",
    "a@x..example",
    "a@-x.example",
    "a@x_y.example",
    "a@x.example.",
    "a@[300.0.2.1]",
    "a@[IPv6:zz]",
    "a@[IPv6:fe80::1%eth0]",
    "a" * 65 + "@x.example",
    "a@" + "x" * 64 + ".example",
    "a@" + ".".join(["x" * 60] * 5),
    "a\r\nRCPT TO:<b@x.example",
    "a\0@x.example",
    "a@x.example\n",
    '"a@x.example',
    "a@b@x.example",
]


@pytest.mark.parametrize("address", GOOD)
def test_valid(address: str) -> None:
    assert valid(address)
    path = parse_path(f"<{address}>")
    assert path is not None
    assert parse_path(path.address) == path


@pytest.mark.parametrize("address", BAD)
def test_not_valid(address: str) -> None:
    assert not valid(address)
    with pytest.raises(ProtocolViolation) as refusal:
        parse_path(address)
    assert refusal.value.reason is Reason.BAD_ADDRESS
    assert len(address) < 4 or address not in refusal.value.sentence


def test_null_path() -> None:
    assert parse_path("<>") is None
    assert parse_path("") is None
    assert not valid("")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Jean.Martin@Medecin.Example", "jean.martin@medecin.example"),
        ("a@santé.example", "a@XN--SANT-EPA.example"),
        ("a@SANTÉ.example", "a@santé.example"),
        ("a@sante\u0301.example", "a@sant\u00e9.example"),
        ("he\u0301@x.example", "h\u00e9@x.example"),
        ("H\u00c9@x.example", "h\u00e9@x.example"),
        ('"jean.martin"@x.example', "jean.martin@x.example"),
        ('"jean\\.martin"@x.example', "jean.martin@x.example"),
        (" a@x.example ", "a@x.example"),
        ("a@x\u3002example", "a@x.example"),
    ],
)
def test_two_spellings_of_one_mailbox(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


def test_other_mailboxes_stay_others() -> None:
    # IDNA 2008 keeps ß, which IDNA 2003 made ss: two names that two people may hold.
    assert normalise("a@straße.example") != normalise("a@strasse.example")
    assert normalise('"jean martin"@x.example') != normalise("jeanmartin@x.example")


@given(st.text(max_size=60) | st.from_regex(r"[\w.\"\\ ]{1,10}@[\w.-]{1,20}", fullmatch=True))
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_a_mailbox_of_what_was_given() -> None:
    assert Mailbox.of("X", "<a@b.example>") == Mailbox("X", "a", "b.example")
    with pytest.raises(ProtocolViolation):
        Mailbox.of("X", "")
