"""Words of the national directory that several rooms speak."""

from __future__ import annotations

from enum import StrEnum

OWN_PLACE = "@"  # begins the organisation_id of a place that has no number: the rest is the mailbox's address


class MailboxKind(StrEnum):
    """Types of the national mailbox list (TRE_R257-TypeBAL); the public file holds the first two."""

    PER = "PER"
    ORG = "ORG"
    APP = "APP"
    CAB = "CAB"
