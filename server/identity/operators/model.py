"""What operators are, what each role may do, and which acts take two."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """No role reads content, a subject or a correspondent: the console holds no key that would open one."""

    SUPPORT = "support"
    SECURITY_OFFICER = "security-officer"
    AUDITOR = "auditor"


class Right(StrEnum):
    """What one person does alone."""

    LOOK = "look"  # at a mailbox as it stands
    ASK = "ask"  # for an act of REQUESTERS
    APPROVE = "approve"
    SUSPEND = "suspend"  # a mailbox, or let it go on
    END = "end"  # sessions, app passwords and certificates of a mailbox
    TRAIL = "trail"  # read what happened to a mailbox, or what an operator did
    OVERSEE = "oversee"  # see all operators and requests


RIGHTS = {
    Role.SUPPORT: frozenset({Right.LOOK, Right.ASK}),
    Role.SECURITY_OFFICER: frozenset(Right) - {Right.TRAIL},
    Role.AUDITOR: frozenset({Right.TRAIL, Right.OVERSEE}),
}


class Act(StrEnum):
    """What one asks for and a security officer, another person, approves."""

    INVITE = "invite"  # a patient anew: who has the code has the mailbox
    RESET = "reset"  # take away what proves a patient, and invite anew
    DELEGATE = "delegate"  # on somebody's behalf
    OPERATOR_INVITE = "operator-invite"  # also one who lost password or telephone
    OPERATOR_ROLE = "operator-role"
    OPERATOR_REVOKE = "operator-revoke"
    MAILBOX_CLOSE = "mailbox-close"
    KEYS_DESTROY = "keys-destroy"  # of a mailbox, or ("") the retired ones
    KEYS_EXPORT = "keys-export"


# These need the keyring or write the directory, which the console cannot: the approval is for the command line.
BY_COMMAND = frozenset({Act.MAILBOX_CLOSE, Act.KEYS_DESTROY, Act.KEYS_EXPORT})
OF_OPERATORS = frozenset({Act.OPERATOR_INVITE, Act.OPERATOR_ROLE, Act.OPERATOR_REVOKE})
REQUESTERS = {
    Role.SUPPORT: frozenset({Act.INVITE, Act.RESET}),
    Role.SECURITY_OFFICER: frozenset(Act),
    Role.AUDITOR: frozenset[Act](),
}


@dataclass(frozen=True, slots=True)
class Operator:
    """One person. `role` None: revoked. `enrolled`: password and one-time codes are set."""

    name: str
    role: Role | None
    enrolled: bool
    made_at: datetime
    revoked_at: datetime | None = None

    @property
    def actor(self) -> str:
        """Who acts, for the trail."""
        return f"operator {self.name}"

    def may(self, right: Right) -> bool:
        return self.role is not None and right in RIGHTS[self.role]

    def may_ask(self, act: Act) -> bool:
        return self.role is not None and act in REQUESTERS[self.role]


@dataclass(frozen=True, slots=True)
class Request:
    """What `by` asks for. `target`: a normalised address or an operator's name; `facts` what else the act needs."""

    number: int
    act: Act
    by: str
    why: str
    target: str = field(repr=False)
    facts: dict[str, str] = field(repr=False)
    made_at: datetime
    expires_at: datetime
    approved_by: str
    ended_at: datetime | None
