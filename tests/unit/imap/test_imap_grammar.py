from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.base.errors import Refused
from server.base.limits import IMAP_LITERALS, IMAP_SEARCH_KEYS, IMAP_SEARCH_OCTETS, IMAP_SORT_CRITERIA
from server.imap.commands.table import VERBS
from server.imap.grammar import dates, fetch, flags, names, search, sort, write
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.reader import Frame
from server.imap.grammar.sequence import compact, sequence_set


def read(text: bytes, rule: Callable[[Cursor], Any], *literals: bytes) -> Any:
    cursor = Cursor(Frame(text, literals))
    value = rule(cursor)
    cursor.end()
    return value


def test_tokens() -> None:
    assert read(b"INBOX", Cursor.astring) == b"INBOX"
    assert read(b"a]b", Cursor.astring) == b"a]b"
    assert read(rb'"a \"b\" \\c"', Cursor.astring) == rb'a "b" \c'
    assert read(b"\0", Cursor.astring, b"two\r\nlines") == b"two\r\nlines"
    assert read('"été"'.encode(), Cursor.astring) == "été".encode()
    assert read(b"nil", Cursor.nstring) is None
    assert read(b"*%x", Cursor.list_mailbox) == b"*%x"


@pytest.mark.parametrize("text", [b"", b"(", b"a b", b'"a', b'"a\\b"', b'"\xff"', b"\x7f", b"{5}", b"a\xc3\xa9"])
def test_what_is_no_astring(text: bytes) -> None:
    with pytest.raises(BadSyntax):
        read(text, Cursor.astring)


@pytest.mark.parametrize(
    ("text", "largest", "expected"),
    [
        (b"1", 9, [(1, 1)]),
        (b"2:4,1", 9, [(1, 4)]),
        (b"*", 9, [(9, 9)]),
        (b"5:*", 3, [(3, 5)]),  # RFC 9051 §9: "*" may be the lower bound
        (b"*:2,7", 4, [(2, 4), (7, 7)]),
        (b"4294967295", 1, [(4294967295, 4294967295)]),
    ],
)
def test_sequence_sets(text: bytes, largest: int, expected: list[tuple[int, int]]) -> None:
    assert read(text, sequence_set).resolve(largest) == expected


@pytest.mark.parametrize("text", [b"0", b"1,", b",1", b"1:", b":1", b"1::2", b"4294967296", b"1:2:3", b"a", b"$1"])
def test_bad_sequence_sets(text: bytes) -> None:
    with pytest.raises(BadSyntax):
        read(text, sequence_set)


@given(st.sets(st.integers(1, 400)))
def test_compact_is_read_back_as_the_same_numbers(numbers: set[int]) -> None:
    written = compact(sorted(numbers))
    if not numbers:
        assert written == b""
        return
    ranges = read(written, sequence_set).resolve(0)
    assert {n for low, high in ranges for n in range(low, high + 1)} == numbers


def test_flags() -> None:
    assert read(b"(\\seen \\DELETED $Forwarded $forwarded)", flags.flag_list) == flags.FlagSet(9, ("$Forwarded",))
    assert read(b"()", flags.flag_list) == flags.FlagSet()
    assert read(b"\\Answered Work", flags.store_flags) == flags.FlagSet(2, ("Work",))
    assert flags.render(1 | 8, ("Work",)) == b"\\Seen \\Deleted Work"
    for text in (b"(\\Unknown)", b"(a", b"(a  b)", b"(" + b"k " * 70 + b"k)", b"(" + b"k" * 70 + b")"):
        with pytest.raises(BadSyntax):
            read(text, flags.flag_list if text != b"(" + b"k " * 70 + b"k)" else _many_keywords)


def _many_keywords(cursor: Cursor) -> flags.FlagSet:
    return flags.flag_list(Cursor(Frame(b"(" + b" ".join(b"k%d" % n for n in range(70)) + b")")))


def test_dates() -> None:
    assert read(b"1-Feb-1994", dates.search_date) == date(1994, 2, 1)
    assert read(b'"17-jul-1996"', dates.search_date) == date(1996, 7, 17)
    moment = datetime(1996, 7, 17, 9, 44, 25, tzinfo=UTC)
    assert read(b'"17-Jul-1996 02:44:25 -0700"', dates.date_time) == moment
    assert dates.render(moment) == b'"17-Jul-1996 09:44:25 +0000"'
    for text in (b"31-Feb-1994", b"1-Foo-1994", b'1-Feb-1994"', b"1 Feb 1994"):
        with pytest.raises(BadSyntax):
            read(text, dates.search_date)
    for text in (b'"32-Jul-1996 02:44:25 -0700"', b'"17-Jul-1996 25:44:25 -0700"', b'"17-Jul-0000 02:44:25 +0000"'):
        with pytest.raises(BadSyntax):
            read(text, dates.date_time)


@given(
    st.datetimes(min_value=datetime(1, 1, 2), timezones=st.just(UTC)).map(lambda moment: moment.replace(microsecond=0))
)
def test_a_written_date_time_reads_as_itself(moment: datetime) -> None:
    assert read(dates.render(moment), dates.date_time) == moment


def test_fetch_items() -> None:
    assert [one.name for one in read(b"ALL", fetch.fetch_items).attributes] == [
        "FLAGS",
        "INTERNALDATE",
        "RFC822.SIZE",
        "ENVELOPE",
    ]
    items = read(b'(UID body.peek[1.02.HEADER.FIELDS ("To" Cc)]<5.10> BODY[] BODY RFC822.TEXT)', fetch.fetch_items)
    assert items.attributes == (
        fetch.Attribute("UID"),
        fetch.Attribute("BODY", fetch.Section("1.2", "HEADER.FIELDS", (b"To", b"Cc")), True, (5, 10)),
        fetch.Attribute("BODY", fetch.Section(), False),
        fetch.Attribute("BODY"),
        fetch.Attribute("RFC822.TEXT", fetch.Section(text="TEXT"), False),
    )
    assert read(b"FLAGS (CHANGEDSINCE 12)", fetch.fetch_items).changed_since == 12
    assert read(b"BODY[3.MIME]", fetch.fetch_items).attributes[0].section == fetch.Section("3", "MIME")


@pytest.mark.parametrize(
    "text",
    [
        b"()",
        b"(ALL)",
        b"BODY[MIME]",
        b"BODY[0]",
        b"BODY[1.]",
        b"BODY[HEADER.FIELDS ()]",
        b"BODY[]<0.0>",
        b"BODY[]<1>",
        b"BODY[",
        b"NONSENSE",
        b"FLAGS (FOO 1)",
        b"(FLAGS  UID)",
        b"BODY[" + b"1." * 100 + b"1]",
    ],
)
def test_bad_fetch_items(text: bytes) -> None:
    with pytest.raises(BadSyntax):
        read(text, fetch.fetch_items)


def test_search_keys() -> None:
    assert read(b" UNSEEN", search.search).key == search.HasFlag(flags.SEEN, False)
    found = read(b' RETURN (MIN COUNT) CHARSET utf-8 OR FROM a (NOT TO b 1:3) HEADER X-Y ""', search.search)
    assert found.returns == search.Returns(frozenset({"MIN", "COUNT"}))
    assert found.charset == "UTF-8"
    assert isinstance(found.key, search.And)
    either, header = found.key.keys
    assert isinstance(either, search.Or)
    assert either.first == search.Field("from", b"a")
    assert isinstance(either.second, search.And)
    assert header == search.Field("x-y", b"")
    assert read(b" RETURN () ALL", search.search).returns == search.Returns(frozenset({"ALL"}))
    assert read(b' MODSEQ "/flags/\\\\draft" all 620', search.search).modseq is True


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b" NOPE",
        b" NOT",
        b" OR SEEN",
        b" FROM",
        b" SINCE yesterday",
        b" ()",
        b" (SEEN",
        b" LARGER -1",
        b" UID 0",
        b" RETURN (FOO) ALL",
        b" RETURN (ALL PARTIAL 1:2) ALL",
        b" RETURN (PARTIAL 1:2 PARTIAL 3:4) ALL",
        b" RETURN (PARTIAL 1:-2) ALL",
        b" RETURN (PARTIAL 0:2) ALL",
        b" RETURN (PARTIAL 1:*) ALL",
        b" RETURN (PARTIAL 1:4294967296) ALL",
        b" EMAILID M.1",
        b' TEXT "' + b"a" * (IMAP_SEARCH_OCTETS // 2 + 1) + b'" BODY "' + b"b" * (IMAP_SEARCH_OCTETS // 2 + 1) + b'"',
        b" " + b"(" * 40 + b"ALL" + b")" * 40,
        b" " + b"NOT " * 200 + b"ALL",
        b" " + b"OR ALL " * 200 + b"ALL",
        b" " + b" ".join([b"SEEN"] * (IMAP_SEARCH_KEYS + 1)),
    ],
)
def test_bad_searches(text: bytes) -> None:
    with pytest.raises(BadSyntax):
        read(text, search.search)


@pytest.mark.parametrize(
    "text",
    [
        b" (DATE) UTF-8",
        b" () UTF-8 ALL",
        b" (NOPE) UTF-8 ALL",
        b" (REVERSE) UTF-8 ALL",
        b" (REVERSE REVERSE DATE) UTF-8 ALL",
        b" (DATE)UTF-8 ALL",
        b" (" + b" ".join([b"DATE"] * (IMAP_SORT_CRITERIA + 1)) + b") UTF-8 ALL",
    ],
)
def test_bad_sorts(text: bytes) -> None:
    with pytest.raises(BadSyntax):
        read(text, sort.sort)


@pytest.mark.parametrize("text", [b" REFS UTF-8 ALL", b" REFERENCES UTF-8", b" ORDEREDSUBJECT ALL"])
def test_bad_threads(text: bytes) -> None:
    with pytest.raises(BadSyntax):
        read(text, sort.thread)


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        (b"inbox", "INBOX"),
        (b"InBox/Sub", "INBOX/Sub"),
        (b"Envoy&AOk-s", "Envoyés"),
        (b"a &- b", "a & b"),
        (b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
    ],
)
def test_names_in_modified_utf7(wire: bytes, name: str) -> None:
    assert names.decode(wire) == name
    if not wire.lower().startswith(b"inbox"):
        assert names.encode(name) == wire


@pytest.mark.parametrize("wire", [b"&", b"&AGE-", b"&AOk", b"&AOk-&AOk-", b"&!-", b"\xc3\xa9", b"a&AAo-b", b"&2AA-"])
def test_names_that_are_badly_encoded(wire: bytes) -> None:
    with pytest.raises(Refused):
        names.decode(wire)


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1))
def test_every_name_comes_back(name: str) -> None:
    import unicodedata

    normal = unicodedata.normalize("NFC", name)
    if normal.partition("/")[0].upper() != "INBOX":
        assert names.decode(names.encode(normal)) == normal
        assert names.decode(names.encode(normal, utf8=True), utf8=True) == normal


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*", "a/b", True),
        ("%", "a/b", False),
        ("%", "a", True),
        ("a/%", "a/b", True),
        ("a/%", "a/b/c", False),
        ("a*c", "a/b/c", True),
        ("%*%", "x", True),
        ("%/%", "a/b", True),
        ("inbox", "INBOX", True),
        ("", "", True),
        ("a", "ab", False),
        ("*b%", "ab/c", False),
    ],
)
def test_list_patterns(pattern: str, name: str, expected: bool) -> None:
    assert names.Pattern(pattern).matches(name) is expected


@given(st.text("ab/*%", max_size=12), st.text("ab/", max_size=12))
def test_list_patterns_agree_with_regular_expressions(pattern: str, name: str) -> None:
    import re

    translated = "".join({"*": ".*", "%": "[^/]*"}.get(character, re.escape(character)) for character in pattern)
    assert names.Pattern(pattern).matches(name) is bool(re.fullmatch(translated, name))


def test_writing_strings() -> None:
    assert write.string(b'a "b"') == rb'"a \"b\""'
    assert write.string("é".encode()) == b"{2}\r\n\xc3\xa9"
    assert write.string(b"a\r\nb") == b"{4}\r\na\r\nb"
    assert write.string(b"a\0b") == b"{3}\r\na\x80b"
    assert write.mailbox("Envoyés") == b"Envoy&AOk-s"
    assert write.mailbox("a b") == b'"a b"'
    assert write.mailbox("NIL") == b'"NIL"'


@given(st.sampled_from(sorted(VERBS)), st.binary(max_size=60), st.lists(st.binary(max_size=5), max_size=IMAP_LITERALS))
def test_any_argument_reads_or_is_bad_syntax(name: str, text: bytes, literals: list[bytes]) -> None:
    text = text.replace(b"\0", b"?") + b"\0" * len(literals)
    with contextlib.suppress(BadSyntax):
        VERBS[name].parse(Cursor(Frame(text, tuple(literals))))
