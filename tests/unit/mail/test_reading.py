"""Headers, parameters and contents as people read them."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.mail import content, headers, parameters
from server.mail.sections import header_fields
from server.mail.summary import sent_at

# RFC 2047 §8, and what is sent all the same.
WORDS = [
    ("(=?ISO-8859-1?Q?a?=)", "(a)"),
    ("=?ISO-8859-1?Q?a?= b", "a b"),
    ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
    ("=?ISO-8859-1?Q?a?=  \t =?ISO-8859-1?Q?b?=", "ab"),
    ("=?ISO-8859-1?Q?a_b?=", "a b"),
    ("=?US-ASCII?Q?Keith_Moore?=", "Keith Moore"),
    ("=?utf-8*fr?q?=C3=A9t=C3=A9?=", "été"),
    ("=?utf-8?b?w6k?=", "é"),
    ("=?windows-1252?q?l=92=E9t=E9?=", "l’été"),
    ("=?utf-8?q?=E9?=", "\ufffd"),
    ("=?no-such?q?=C3=A9?=", "é"),
    ("=?hex?b?NDE=?=", "41"),
    ("=?utf-8?b?!?=", "=?utf-8?b?!?="),
    ("=?utf-8?q?a=0D=0ABcc:_x?=", "a  Bcc: x"),
    ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
    ("plain", "plain"),
    ("é".encode().decode("latin-1"), "é"),
    ("\xe9", "é"),
]


@pytest.mark.parametrize(("value", "text"), WORDS)
def test_encoded_words(value: str, text: str) -> None:
    assert headers.decode(value) == text


def test_encoded_words_are_read_in_linear_time() -> None:
    # Each of these made a backtracking pattern quadratic: it would not end.
    for hostile in ("=?" * 200_000, "=?a?q?" * 60_000, "=?a?q?b" + " " * 300_000, "?= " * 100_000):
        assert len(headers.decode(hostile)) <= len(hostile)


def test_fields() -> None:
    block = b"A: one\r\n two\r\nb :x\r\nno field\r\nC:\r\n\r\nD: body"
    read = headers.read(block, 100)
    assert [(field.name, field.start, field.end) for field in read.fields] == [
        ("a", 100, 114),
        ("b", 114, 120),
        ("c", 130, 134),
    ]
    assert read.broken
    assert headers.first(block, "a") == "one two"
    assert headers.first(block, "d") is None
    assert headers.every(b"A: 1\nA: 2\n", "a") == ["1", "2"]


def test_header_fields() -> None:
    block = b"A: 1\r\nB: 2\r\n folded\r\nA: 3\r\n\r\n"
    assert header_fields(block, [b"a"]) == b"A: 1\r\nA: 3\r\n\r\n"
    assert header_fields(block, [b"A"], exclude=True) == b"B: 2\r\n folded\r\n\r\n"
    assert header_fields(block, [b"X"]) == b"\r\n"


# RFC 2231 §3 and §4.
PARAMETERS = [
    ('message/external-body; URL*0="ftp://"; URL*1="cs.utk.edu/x"', "url", "ftp://cs.utk.edu/x"),
    ("x/y; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", "title", "This is ***fun***"),
    (
        "x/y; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20;"
        ' title*2="isn\'t it!"',
        "title",
        "This is even more ***fun*** isn't it!",
    ),
    ("x/y; name*0*=utf-8''%C3; name*1*=%A9", "name", "é"),
    ("x/y; name*1=lost; name*0=a", "name", "alost"),
    ("x/y; name*0=a; name*2=gap", "name", "a"),
    ('x/y; name="=?utf-8?q?=C3=A9?="', "name", "é"),
    ('x/y; name="a\\"b\\\\c"', "name", 'a"b\\c'),
    ("x/y (c; name=no); name (d) = yes", "name", "yes"),
    ('x/y; name="open', "name", "open"),
    ("x/y; name=a%0Db", "name", "a%0Db"),
    ("x/y; name*=''a%0D%0AX:%20y", "name", "a  X: y"),
]


@pytest.mark.parametrize(("value", "name", "text"), PARAMETERS)
def test_parameters(value: str, name: str, text: str) -> None:
    assert parameters.decoded(parameters.content_type(value).parameters, name) == text


@pytest.mark.parametrize(
    "hostile",
    [";" * 200_000, "x/y;" + "a;" * 100_000, "x/y" + "(" * 200_000, 'x/y; a="' + "\\" * 200_000, "x/y;a" * 50_000],
)
def test_hostile_types_end(hostile: str) -> None:
    assert len(parameters.content_type(hostile).parameters) <= 50


@given(st.binary(max_size=300))
def test_contents_come_back(data: bytes) -> None:
    assert content.octets(base64.encodebytes(data).replace(b"\n", b"\r\n"), "base64") == data
    assert content.octets(binascii.b2a_qp(data, istext=False), "quoted-printable") == data
    assert content.octets(data, "8bit") == data
    for encoding in ("base64", "quoted-printable", "x-unknown"):
        assert len(content.octets(data, encoding)) <= len(data)


@pytest.mark.parametrize(
    ("body", "octets"),
    [
        (b"YQ", b"a"),
        (b"YWI", b"ab"),
        (b"Y W\r\nJj", b"abc"),
        (b"YWJjZ", b"abc"),
        (b"YQ==YmFk", b"a"),
        (b"*** YQ==", b"a"),
        (b"", b""),
    ],
)
def test_damaged_base64(body: bytes, octets: bytes) -> None:
    assert content.octets(body, "base64") == octets


def test_text() -> None:
    assert content.text(b"a\r\nb\rc\0", "utf-8") == "a\nb\nc\ufffd"
    assert content.text(b"\xe9", "iso-8859-1") == "é"
    assert content.text(b"\xe9", "us-ascii") == "é"
    assert content.text(b"\xe9", "utf-8") == "\ufffd"
    assert content.text("é".encode(), "rot13") == "é"
    assert content.text(b"+AOk-", "utf-7") == "+AOk-"


def test_markup_to_words() -> None:
    markup = "<html><head><title>t</title></head><body><!-- no --><p>un &amp; deux</p><script>x</script>trois<br>quatre"
    assert content.plain(markup).split() == ["un", "&", "deux", "trois", "quatre"]
    assert content.plain("a <script>never closed") == "a"
    assert content.plain("<b" * 100_000) == ""
    assert len(content.plain("<script></script>" * 20_000).split()) == 0


def test_preview_is_one_line() -> None:
    assert content.preview(b"un\r\n\r\n  deux\x1b[2J " + b"x" * 500, "utf-8", "plain", 20) == "un deux [2J xxxxxxxx"
    assert content.preview(b"<style>p</style><p>un</p>", "utf-8", "html", 20) == "un"


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("Fri, 21 Nov 1997 09:55:06 -0600", datetime(1997, 11, 21, 9, 55, 6, tzinfo=timezone(timedelta(hours=-6)))),
        ("21 Nov 97 09:55:06 GMT", datetime(1997, 11, 21, 9, 55, 6, tzinfo=UTC)),
        ("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", None),
        ("Tue, 24 Nov 2026 10:00:00 -0000", datetime(2026, 11, 24, 10, 0, tzinfo=UTC)),
        ("Tue, 99 Nov 2026 10:00:00 +0000", None),
        ("Tue, 24 Nov 99999999999 10:00:00 +0000", None),
        ("Tue, 24 Nov 2026 10:00:00 +99999999999999", None),
        ("", None),
        ("x" * 100_000, None),
    ],
)
def test_dates(value: str, moment: datetime | None) -> None:
    assert sent_at(value) == moment


def test_white_space_that_was_added_on_the_way_is_no_content() -> None:
    # RFC 2045 §6.7 (3)
    added = b"un  \r\ndeux=20\t\r\n \t\r\ntro=  \r\nis "
    assert content.octets(added, "quoted-printable") == b"un\r\ndeux \r\n\r\ntrois"
    for step in range(1, len(added)):
        passing = content.QuotedPrintable()
        pieces = [passing.update(added[at : at + step]) for at in range(0, len(added), step)]
        assert b"".join([*pieces, passing.finish()]) == b"un\r\ndeux \r\n\r\ntrois"
