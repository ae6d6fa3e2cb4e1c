"""What Connection takes from aiosmtpd and asyncio under names that are not promised. A new release that moves one of
them must fail here, before it fails a doctor."""

from __future__ import annotations

import ast
import asyncio
import inspect

import aiosmtpd.smtp
from aiosmtpd.smtp import SMTP, Envelope

from server.smtp import connection, session, transfer
from server.smtp.session import Session
from server.smtp.states import VERBS

READ = "1.4.6"


def test_the_release_is_the_one_that_was_read() -> None:
    assert aiosmtpd.smtp.__version__ == READ, "read aiosmtpd/smtp.py again, then change this"


def test_what_is_overridden_is_still_called() -> None:
    made = inspect.getsource(SMTP.connection_made)
    assert "self._set_rset_state()" in made
    assert "self._create_session()" in made
    assert "self._handle_client()" in made
    assert "self._reset_timeout()" in made
    assert "self._timeout_cb" in inspect.getsource(SMTP._reset_timeout)
    for name in (
        "connection_made",
        "connection_lost",
        "data_received",
        "eof_received",
        "_handle_client",
        "_timeout_cb",
    ):
        assert callable(getattr(SMTP, name)), name


async def test_what_is_used_is_still_there() -> None:
    server = SMTP(None, hostname="here", loop=asyncio.get_running_loop())
    for name in ("hostname", "session", "transport", "_smtp_methods", "_timeout_handle", "_timeout_duration"):
        assert hasattr(server, name), name
    assert callable(getattr(asyncio.StreamReaderProtocol, "_drain_helper", None))
    envelope = Envelope()
    assert envelope.mail_from is None
    assert envelope.smtp_utf8 is False


def test_every_verb_of_the_table_is_a_method_of_ours() -> None:
    for verb in VERBS:
        method = getattr(Session, f"smtp_{verb}", None)
        assert method is not None, verb
        assert method.__module__.startswith("server."), verb


async def test_our_names_are_our_own() -> None:
    """A name of ours that asyncio or aiosmtpd has is read there: `_paused`, for reading, stopped writing."""
    theirs = vars(SMTP(None, hostname="here", loop=asyncio.get_running_loop())).keys() | {
        name for base in SMTP.__mro__ for name in vars(base)
    }
    rooms = (session, transfer, connection)
    ours = {
        node.attr
        for room in rooms
        for node in ast.walk(ast.parse(inspect.getsource(room)))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }
    assert ours & theirs == {"transport"}
