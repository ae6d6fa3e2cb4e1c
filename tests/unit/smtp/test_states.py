"""The table of what is legal when."""

from __future__ import annotations

import itertools

import pytest

from server.smtp import reply_codes as r
from server.smtp.reply_codes import Reply
from server.smtp.states import NOT_IMPLEMENTED, TRANSACTION, VERBS, State, objection


def test_before_tls_only_what_rfc_3207_names() -> None:
    allowed = {
        verb
        for verb, state in itertools.product(VERBS, State)
        if objection(verb, "x" if VERBS[verb].argument else "", state, tls=False, identified=False) is None
    }
    assert allowed == {"EHLO", "HELO", "NOOP", "QUIT", "STARTTLS", "RSET", "HELP"}


def test_nothing_moves_mail_before_somebody_is_known() -> None:
    for verb, state in itertools.product(("MAIL", "RCPT", "DATA", "BDAT", "VRFY"), State):
        argument = "x" if VERBS[verb].argument else ""
        assert objection(verb, argument, state, tls=True, identified=False) is r.AUTHENTICATION_REQUIRED


@pytest.mark.parametrize(
    ("command", "argument", "state", "expected"),
    [
        ("MAIL", "FROM:<a@b>", State.READY, None),
        ("MAIL", "FROM:<a@b>", State.CONNECTED, r.BAD_SEQUENCE),
        *(("MAIL", "FROM:<a@b>", state, r.BAD_SEQUENCE) for state in sorted(TRANSACTION, key=str)),
        ("MAIL", "", State.READY, r.SYNTAX),
        ("RCPT", "TO:<a@b>", State.READY, r.BAD_SEQUENCE),
        ("RCPT", "TO:<a@b>", State.SENDER, None),
        ("RCPT", "TO:<a@b>", State.ADDRESSED, None),
        ("RCPT", "TO:<a@b>", State.CHUNKS, r.BAD_SEQUENCE),
        ("RCPT", "TO:<a@b>", State.SPOILED, r.BAD_SEQUENCE),
        ("DATA", "", State.READY, r.BAD_SEQUENCE),
        ("DATA", "", State.SENDER, r.NO_VALID_RECIPIENT),
        ("DATA", "", State.ADDRESSED, None),
        ("DATA", "", State.CHUNKS, r.BAD_SEQUENCE),
        ("DATA", "now", State.ADDRESSED, r.SYNTAX),
        ("BDAT", "5", State.READY, r.BAD_SEQUENCE),
        ("BDAT", "5", State.SENDER, r.NO_VALID_RECIPIENT),
        ("BDAT", "5", State.ADDRESSED, None),
        ("BDAT", "5", State.CHUNKS, None),
        ("BDAT", "5", State.SPOILED, r.BAD_SEQUENCE),
        ("BDAT", "", State.ADDRESSED, r.SYNTAX),
        *(("AUTH", "PLAIN", state, r.BAD_SEQUENCE) for state in sorted(TRANSACTION, key=str)),
        *(("RSET", "", state, None) for state in State),
        ("STARTTLS", "", State.CONNECTED, r.BAD_SEQUENCE),
        ("QUIT", "", State.CONNECTED, None),
        ("QUIT", "now", State.READY, r.SYNTAX),
        ("GET", "/", State.CONNECTED, r.UNKNOWN_COMMAND),
        ("", "", State.READY, r.UNKNOWN_COMMAND),
    ],
)
def test_one_command(command: str, argument: str, state: State, expected: Reply | None) -> None:
    assert objection(command, argument, state, tls=True, identified=True) == expected


def test_a_verb_is_implemented_or_not() -> None:
    assert not NOT_IMPLEMENTED & VERBS.keys()


def test_every_state_is_reached_by_a_success_and_left_by_rset() -> None:
    """RSET's own row says that the state stays: it ends the transaction, and with it the states of one."""
    assert {state for verb in VERBS.values() for state in verb.then} == set(State)
    assert set(State) - TRANSACTION == {State.CONNECTED, State.READY}
