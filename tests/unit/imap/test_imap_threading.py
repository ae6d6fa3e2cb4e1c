from __future__ import annotations

import pytest

from server.imap.threading import Threaded, ordered_subject, references, render


def thread(*messages: tuple[str, list[str], str], by: str = "references") -> str:
    """Messages (identifier, references, subject) a second apart → the response."""
    given = [
        Threaded(number, number, number, subject.removeprefix("Re: "), subject.startswith("Re: "), own, tuple(refs))
        for number, (own, refs, subject) in enumerate(messages, 1)
    ]
    return render(references(given) if by == "references" else ordered_subject(given)).decode()


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([("a", [], "x")], "(1)"),
        ([("a", [], "x"), ("b", ["a"], "y"), ("c", ["a", "b"], "z")], "(1 2 3)"),
        # a child before its parent
        ([("b", ["a"], "y"), ("a", [], "x")], "(2 1)"),
        # dummies between go, one above two children stays
        ([("c", ["a", "b"], "z")], "(1)"),
        ([("c", ["a", "b"], "z"), ("d", ["a", "e"], "w")], "((1)(2))"),
        ([("a", [], "x"), ("c", ["a", "b"], "z"), ("d", ["a", "b"], "w")], "(1 (2)(3))"),
        # loops are not made
        ([("a", ["b"], "x"), ("b", ["a"], "y")], "(2 1)"),
        ([("a", ["a"], "x")], "(1)"),
        ([("a", ["b", "c"], "x"), ("b", ["c"], "y"), ("c", ["a"], "z")], "(2)(3 1)"),
        # the same identifier twice: the first has it
        ([("a", [], "x"), ("a", [], "y"), ("b", ["a"], "z")], "(1 3)(2)"),
        # one base subject: a reply below the original, whichever is first; two originals are siblings
        ([("a", [], "x"), ("b", [], "Re: x")], "(1 2)"),
        ([("a", [], "Re: x"), ("b", [], "x")], "(2 1)"),
        ([("a", [], "x"), ("b", [], "x"), ("c", [], "Re: x")], "((1)(2)(3))"),
        ([("a", [], ""), ("b", [], "")], "(1)(2)"),
        # two dummies of one subject become one
        ([("c", ["a"], "x"), ("d", ["a"], "u"), ("e", ["b"], "x"), ("f", ["b"], "v")], "((1)(2)(3)(4))"),
    ],
)
def test_references(messages: list[tuple[str, list[str], str]], expected: str) -> None:
    assert thread(*messages) == expected


def test_ordered_subject() -> None:
    assert thread(("", [], "b"), ("", [], "a"), ("", [], "b"), ("", [], "b"), by="subject") == "(1 (3)(4))(2)"


def test_every_message_stands_once_however_long_the_chains() -> None:
    """A chain as deep as the mailbox, shuffled: no recursion, and every message once."""
    count = 20_000
    order = [(number * 7_919) % count for number in range(count)]
    given = [
        Threaded(
            number + 1,
            number,
            number,
            "s",
            False,
            f"m{number}",
            tuple(f"m{n}" for n in range(max(0, number - 9), number)),
        )
        for number in order
    ]
    told = render(references(given))
    assert sorted(map(int, told.replace(b"(", b" ").replace(b")", b" ").split())) == list(range(1, count + 1))
