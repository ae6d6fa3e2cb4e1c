"""The access decision, all of it: who, what, whose."""

from __future__ import annotations

import pytest

from server.base.errors import Reason, Refused
from server.mailbox.model import OwnerKind
from server.record.access import Act, Party, Rule, decide

PATIENT, OTHER, DOCTOR = Party(1, OwnerKind.PATIENT), Party(2, OwnerKind.PATIENT), Party(3, OwnerKind.PER)
ON_RECORD = {Act.LIST_DOCUMENTS, Act.READ_DOCUMENT}


@pytest.mark.parametrize("act", Act)
def test_own_and_nobody_elses(act: Act) -> None:
    assert decide(PATIENT, act, PATIENT).allowed
    for stranger in (OTHER, DOCTOR):
        decision = decide(stranger, act, PATIENT)
        assert decision == type(decision)(False, Rule.NOT_THEIRS)
    with pytest.raises(Refused) as refused:
        decide(OTHER, act, PATIENT).require()
    assert refused.value.reason is Reason.NOT_ALLOWED


@pytest.mark.parametrize("act", Act)
def test_a_professional_has_a_mailbox_and_no_record(act: Act) -> None:
    assert decide(DOCTOR, act, DOCTOR).allowed == (act not in ON_RECORD)
