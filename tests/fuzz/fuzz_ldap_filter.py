"""Invariant: the filter of any search is answered for any entry, three-valued; and what it fits, its plan means too."""

from __future__ import annotations

from directory.ldap.filters import fits, mentioned
from directory.ldap.plan import indexed, plan
from server.base.errors import ProtocolViolation
from server.ldap.grammar import decode
from tests.ldap_index import ENTRIES, means


def fuzz(data: bytes) -> None:
    try:
        request = decode(data)
    except ProtocolViolation:
        return
    if request.operation != "searchRequest":
        return
    asked = request.value["filter"]
    mentioned(asked)
    for entry, held, row in ENTRIES:
        condition = plan(asked, person=bool(row["national_id"]))
        indexed(condition)
        answer = fits(entry, asked)
        assert answer in (True, False, None)
        if answer:
            assert means(condition, held, row)
