from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.mail.folding import casemap, fold
from server.mail.gist import MARK, UNTOLD, gist, identifiers, kept
from server.mail.subject import base_subject


@pytest.mark.parametrize(
    ("subject", "base", "answers"),
    [
        ("Bilan", "Bilan", False),
        ("  Re:  Bilan ", "Bilan", True),
        ("RE[2]: fw: Fwd : Bilan (fwd) (FWD)", "Bilan", True),
        ("[labo] Re: [x] Bilan", "Bilan", True),
        ("[labo] Bilan", "Bilan", False),
        ("[labo]", "[labo]", False),
        ("Re: [labo]", "[labo]", True),
        ("[Fwd: Re: Bilan]", "Bilan", True),
        ("[fwd: [fwd: Bilan] (fwd)]", "Bilan", True),
        ("Re:", "", True),
        ("Regard: Bilan", "Regard: Bilan", False),
        ("[labo] [fwd: Bilan]", "Bilan", True),
        ("a\t\tb", "a b", False),
        ("[[[" * 300, "[[[" * 300, False),
    ],
)
def test_base_subject(subject: str, base: str, answers: bool) -> None:
    assert base_subject(subject) == (base, answers)


def test_fold_and_casemap() -> None:
    assert fold("É\u00a0 \tt\u0065\u0301  ﬁN") == "é té fin"
    assert fold("STRASSE") == fold("straße")
    assert casemap("straße") == "STRAßE"  # RFC 5051 knows only simple mappings
    assert casemap("é") == casemap("É") == "E\u0301"
    assert casemap("ǆ") == casemap("Ǆ")


@given(st.text())
def test_folding_twice_changes_nothing_and_leaves_only_spaces(text: str) -> None:
    folded = fold(text)
    assert fold(folded) == folded
    assert not any(character.isspace() and character != " " for character in folded)


def test_gist() -> None:
    found = gist(
        b"From: =?utf-8?q?Zo=C3=A9?= <zoe@exemple.fr>\r\nTo: a@x, b@y\r\nTo: c@z\r\nSubject: Re: Bilan\r\n"
        b'Date: Mon, 2 Feb 2026 23:30:00 -0500\r\nMessage-ID: <1@x>\r\nReferences: <0@x> <"q"@x>\r\n\r\n'
    )
    assert found.from_ == MARK + "zoé <zoe@exemple.fr>"
    assert found.to == f"{MARK}a@x, b@y{MARK}c@z"
    assert (found.cc, found.bcc) == ("", "")
    assert (found.day, found.moment) == ("2026-02-02", "1770093000")
    assert (found.by_from, found.by_to, found.by_cc) == ("ZOE", "A", "")
    assert (found.shown_from, found.shown_to) == ("ZOE\u0301", "A@X")
    assert (found.base, found.ids) == ("RBILAN", "1@x 0@x q@x")


def test_an_address_with_comments_inside_is_found_as_one() -> None:
    line = gist(b"From: <user-from (comment)@ (comment) domain.org>\r\n\r\n").from_
    assert "user-from@domain.org" in line
    assert "(comment)" in line
    assert gist(b"From: A <a@b.example>\r\n\r\n").from_ == MARK + "a <a@b.example>"


def test_identifiers() -> None:
    assert identifiers('<a@b>(c)<"d"@e> <f> <"g h"@i> x <  j@k >') == ["a@b", "d@e", '"g_h"@i', "j@k"]


@given(st.binary(max_size=400))
def test_no_header_gives_lines_that_break(header: bytes) -> None:
    assert not any("\n" in line or "\0" in line for line in gist(header))


def test_a_long_gist_is_not_kept_and_takes_linear_time() -> None:
    assert set(kept(b"To: " + b"a@exemple.fr, " * 700 + b"b@exemple.fr\r\n\r\n")) == {UNTOLD}
    assert kept(b"To: a@exemple.fr\r\n\r\n").to == MARK + "a@exemple.fr"
    for hostile in ('<\\"' * 80_000, '<"<"' * 60_000, "<" * 250_000, "<a@" * 80_000, "[a]" * 80_000, "(fwd)" * 50_000):
        gist(f"References: {hostile}\r\nSubject: {hostile}\r\n\r\n".encode())
