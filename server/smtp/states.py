"""What is legal when, in one table (RFC 5321 §4.1.4, RFC 3207 §4, RFC 4954 §4).

A command passes in this order: known? TLS there if it needs TLS? somebody signed in if it needs one? legal now? Its
success leads to `then` (None: the state stays). Content and sign-in exchanges are inside their command, no state.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

from server.smtp import reply_codes as r
from server.smtp.reply_codes import Reply


class State(Enum):
    """Where the dialogue stands."""

    CONNECTED = auto()  # greeted by us, not yet by them; also after STARTTLS
    READY = auto()  # EHLO or HELO done, no transaction
    TRANSACTION = auto()  # MAIL accepted


class Verb(NamedTuple):
    """One row of the table."""

    legal: frozenset[State]
    then: State | None = None
    tls: bool = True  # RFC 3207 §4: all but EHLO, NOOP, QUIT and STARTTLS wait for TLS
    identified: bool = False
    argument: bool | None = None  # True: must have one, False: must not, None: may


_ANY = frozenset(State)
_READY = frozenset({State.READY})
_TRANSACTION = frozenset({State.TRANSACTION})

VERBS: Mapping[str, Verb] = {
    "EHLO": Verb(_ANY, State.READY, tls=False, argument=True),
    "HELO": Verb(_ANY, State.READY, tls=False, argument=True),
    "STARTTLS": Verb(_READY, State.CONNECTED, tls=False, argument=False),
    "AUTH": Verb(_READY, argument=True),
    "MAIL": Verb(_READY, State.TRANSACTION, identified=True, argument=True),
    "RCPT": Verb(_TRANSACTION, identified=True, argument=True),
    "DATA": Verb(_TRANSACTION, State.READY, identified=True, argument=False),
    "RSET": Verb(_ANY, tls=False, argument=False),
    "NOOP": Verb(_ANY, tls=False),
    "HELP": Verb(_ANY, tls=False),
    "VRFY": Verb(_ANY, identified=True, argument=True),
    "QUIT": Verb(_ANY, tls=False, argument=False),
}

# RFC 5321 §4.5.1 names them; nobody is helped by them here.
NOT_IMPLEMENTED = frozenset({"EXPN", "TURN", "ETRN", "SEND", "SOML", "SAML", "BDAT"})


def objection(command: str, argument: str, state: State, tls: bool, identified: bool) -> Reply | None:
    """The reply that refuses this command now, or None when it may run."""
    verb = VERBS.get(command)
    if verb is None:
        return r.NOT_IMPLEMENTED if command in NOT_IMPLEMENTED else r.UNKNOWN_COMMAND
    if verb.tls and not tls:
        return r.TLS_REQUIRED
    if verb.identified and not identified:
        return r.AUTHENTICATION_REQUIRED
    if state not in verb.legal:
        return r.BAD_SEQUENCE
    if verb.argument is not None and verb.argument != bool(argument):
        return r.SYNTAX
    return None
