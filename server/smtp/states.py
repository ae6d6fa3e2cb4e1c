"""What is legal when, in one table (RFC 5321 §4.1.4, RFC 3207 §4, RFC 4954 §4, RFC 3030 §2, RFC 4468 §3).

A command passes in this order: known? TLS there if it needs TLS? somebody signed in if it needs one? legal now? Its
success leads to `then`; RSET leads out of every transaction, and so does a reply to the whole content, whatever it is.
Content and sign-in exchanges are inside their command, no state.
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
    SENDER = auto()  # MAIL accepted, nobody to send to yet
    ADDRESSED = auto()  # a recipient was accepted
    CHUNKS = auto()  # some of the content has come by BDAT
    SPOILED = auto()  # a chunk was refused, and the message with it (RFC 3030 §2)


class Verb(NamedTuple):
    """One row of the table."""

    legal: frozenset[State]
    then: tuple[State, ...] = ()  # none: the state stays; several: the verb's function returns which
    tls: bool = True  # RFC 3207 §4: all but EHLO, NOOP, QUIT and STARTTLS wait for TLS
    identified: bool = False
    argument: bool | None = None  # True: must have one, False: must not, None: may


_ANY = frozenset(State)
_READY = frozenset({State.READY})
_ADDRESSED = frozenset({State.ADDRESSED})

VERBS: Mapping[str, Verb] = {
    "EHLO": Verb(_ANY, (State.READY,), tls=False, argument=True),
    "HELO": Verb(_ANY, (State.READY,), tls=False, argument=True),
    "STARTTLS": Verb(_READY, (State.CONNECTED,), tls=False, argument=False),
    "AUTH": Verb(_READY, argument=True),
    "MAIL": Verb(_READY, (State.SENDER,), identified=True, argument=True),
    "RCPT": Verb(_ADDRESSED | {State.SENDER}, (State.SENDER, State.ADDRESSED), identified=True, argument=True),
    "DATA": Verb(_ADDRESSED, (State.READY,), identified=True, argument=False),
    "BDAT": Verb(
        _ADDRESSED | {State.CHUNKS}, (State.CHUNKS, State.SPOILED, State.READY), identified=True, argument=True
    ),
    "BURL": Verb(
        _ADDRESSED | {State.CHUNKS}, (State.CHUNKS, State.SPOILED, State.READY), identified=True, argument=True
    ),
    "RSET": Verb(_ANY, tls=False, argument=False),
    "NOOP": Verb(_ANY, tls=False),
    "HELP": Verb(_ANY, tls=False),
    "VRFY": Verb(_ANY, identified=True, argument=True),
    "QUIT": Verb(_ANY, tls=False, argument=False),
}

# States in which a message is on its way.
TRANSACTION = frozenset({State.SENDER, State.ADDRESSED, State.CHUNKS, State.SPOILED})

# RFC 5321 §4.5.1 names them; nobody is helped by them here.
NOT_IMPLEMENTED = frozenset({"EXPN", "TURN", "ETRN", "SEND", "SOML", "SAML"})


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
        # RFC 5321 §4.1.1.4: content for nobody has a reply of its own.
        return r.NO_VALID_RECIPIENT if state is State.SENDER and State.ADDRESSED in verb.legal else r.BAD_SEQUENCE
    if verb.argument is not None and verb.argument != bool(argument):
        return r.SYNTAX
    return None
