"""The access decision: may this person do this with what that person owns? The one place that says so.

Every page, API and export asks here before it reads. Invariants: what no rule allows is refused; a decision names its
rule. Rules for professionals (consent of the patient, care team, masking, emergency
access: R.1111-46 CSP) will be rows here; until there are any, nobody but its patient opens a record.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from server.base.errors import Reason, Refused
from server.identity.model import OWN, Rights
from server.mailbox.model import OwnerKind


class Act(StrEnum):
    """What somebody wants to do with what an owner has."""

    LIST_MESSAGES = "list-messages"
    READ_MESSAGE = "read-message"
    ANSWER_MESSAGE = "answer-message"
    CHANGE_MESSAGE = "change-message"  # flags, folders, deleting
    WRITE_MESSAGE = "write-message"
    LIST_DOCUMENTS = "list-documents"
    READ_DOCUMENT = "read-document"


# What a delegate needs for each act on a mailbox.
_ON_MAILBOX = {
    Act.LIST_MESSAGES: Rights.READ,
    Act.READ_MESSAGE: Rights.READ,
    Act.ANSWER_MESSAGE: Rights.READ | Rights.SEND,
    Act.WRITE_MESSAGE: Rights.SEND,
    Act.CHANGE_MESSAGE: Rights.MANAGE,
}


class Rule(StrEnum):
    """Why it was allowed or refused."""

    OWN_MAILBOX = "own-mailbox"
    OWN_RECORD = "own-record"
    NO_RECORD = "no-record"  # only a patient has a health record
    NOT_THEIRS = "not-theirs"
    NOT_DELEGATED = "not-delegated"  # they act for the mailbox, and may not do this
    OWN_PRESCRIPTION = "own-prescription"  # theirs: it was prescribed to them, or by them
    PAPER = "paper"  # a professional who was shown the paper
    PAPER_AND_CODE = "paper-and-code"  # anybody who holds it, until it was dispensed
    DISPENSED = "dispensed"
    PROFESSIONAL = "professional"
    PATIENT = "patient"


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who acts, or to whom something belongs; `rights`: of who acts for them, all for the holder."""

    owner_id: int
    kind: OwnerKind
    rights: Rights = OWN


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    rule: Rule

    def require(self) -> None:
        """Raise Refused(NOT_ALLOWED) unless it is allowed."""
        if not self.allowed:
            raise Refused(Reason.NOT_ALLOWED, "This is not yours to see.")


def decide(actor: Party, act: Act, owner: Party) -> Decision:
    """May `actor` do `act` with what `owner` has?"""
    if act in _ON_MAILBOX:
        if actor.owner_id != owner.owner_id:
            return Decision(False, Rule.NOT_THEIRS)
        may = _ON_MAILBOX[act] in actor.rights
        return Decision(may, Rule.OWN_MAILBOX if may else Rule.NOT_DELEGATED)
    if owner.kind is not OwnerKind.PATIENT:
        return Decision(False, Rule.NO_RECORD)
    # L.1111-19 CSP: the holder reads the record directly.
    if actor.owner_id == owner.owner_id:
        return Decision(True, Rule.OWN_RECORD)
    return Decision(False, Rule.NOT_THEIRS)


def searches_directory(actor: Party) -> Decision:
    """May `actor` look for people to write to? A patient answers who wrote, and is told of nobody else here."""
    professional = actor.kind is not OwnerKind.PATIENT
    return Decision(professional, Rule.PROFESSIONAL if professional else Rule.PATIENT)


def opens_prescription(
    actor: Party | None, owner_id: int, patient_id: int | None, dispensed_at: datetime | None
) -> Decision:
    """May `actor` see a prescription whose paper they hold? None: somebody who gave its code."""
    if actor is None:
        return Decision(dispensed_at is None, Rule.PAPER_AND_CODE if dispensed_at is None else Rule.DISPENSED)
    if Rights.READ not in actor.rights:
        return Decision(False, Rule.NOT_DELEGATED)
    if actor.kind is OwnerKind.PATIENT:
        own = actor.owner_id == patient_id
        return Decision(own, Rule.OWN_PRESCRIPTION if own else Rule.NOT_THEIRS)
    return Decision(True, Rule.OWN_PRESCRIPTION if actor.owner_id == owner_id else Rule.PAPER)


def dispenses(actor: Party | None, owner_id: int) -> Decision:
    """May `actor` say that a prescription was dispensed, whose paper they hold?"""
    if actor is not None and Rights.SEND not in actor.rights:
        return Decision(False, Rule.NOT_DELEGATED)
    allowed = actor is not None and actor.kind is not OwnerKind.PATIENT and actor.owner_id != owner_id
    return Decision(allowed, Rule.PAPER if allowed else Rule.NOT_THEIRS)
