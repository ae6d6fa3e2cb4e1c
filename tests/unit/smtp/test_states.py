"""The table of what is legal when."""

from __future__ import annotations

import itertools

import pytest

from server.smtp import reply_codes as r
from server.smtp.reply_codes import Reply
from server.smtp.states import NOT_IMPLEMENTED, VERBS, State, objection


def test_before_tls_only_what_rfc_3207_names() -> None:
    allowed = {
        verb
        for verb, state in itertools.product(VERBS, State)
        if objection(verb, "x" if VERBS[verb].argument else "", state, tls=False, identified=False) is None
    }
    assert allowed == {"EHLO", "HELO", "NOOP", "QUIT", "STARTTLS", "RSET", "HELP"}


def test_nothing_moves_mail_before_somebody_is_known() -> None:
    for verb, state in itertools.product(("MAIL", "RCPT", "DATA", "VRFY"), State):
        argument = "x" if VERBS[verb].argument else ""
        assert objection(verb, argument, state, tls=True, identified=False) is r.AUTHENTICATION_REQUIRED


@pytest.mark.parametrize(
    ("command", "argument", "state", "expected"),
    [
        ("MAIL", "FROM:<a@b>", State.READY, None),
        ("MAIL", "FROM:<a@b>", State.CONNECTED, r.BAD_SEQUENCE),
        ("MAIL", "FROM:<a@b>", State.TRANSACTION, r.BAD_SEQUENCE),
        ("MAIL", "", State.READY, r.SYNTAX),
        ("RCPT", "TO:<a@b>", State.READY, r.BAD_SEQUENCE),
        ("RCPT", "TO:<a@b>", State.TRANSACTION, None),
        ("DATA", "", State.READY, r.BAD_SEQUENCE),
        ("DATA", "now", State.TRANSACTION, r.SYNTAX),
        ("AUTH", "PLAIN", State.TRANSACTION, r.BAD_SEQUENCE),
        ("STARTTLS", "", State.CONNECTED, r.BAD_SEQUENCE),
        ("QUIT", "", State.CONNECTED, None),
        ("QUIT", "now", State.READY, r.SYNTAX),
        ("BDAT", "5", State.TRANSACTION, r.NOT_IMPLEMENTED),
        ("GET", "/", State.CONNECTED, r.UNKNOWN_COMMAND),
        ("", "", State.READY, r.UNKNOWN_COMMAND),
    ],
)
def test_one_command(command: str, argument: str, state: State, expected: Reply | None) -> None:
    assert objection(command, argument, state, tls=True, identified=True) == expected


def test_a_verb_is_implemented_or_not() -> None:
    assert not NOT_IMPLEMENTED & VERBS.keys()
