"""What a FHIR search asks: the first octet chooses the resource type, the rest is the query.

Invariant: a query is understood or refused with a 4xx and a sentence of ours that repeats nothing of it; what was
understood becomes a bounded number of statements that hold a parameter for each value and no word of the query; a place
in the walk is read or refused, and one that was read is written as it came.
"""

from __future__ import annotations

import re

from directory.fhir import queries, walking
from directory.fhir.names import Type, id_of, key_of
from directory.fhir.outcome import Refusal
from directory.fhir.parameters import CRITERIA, VALUES, pairs, question
from directory.fhir.planning import plan

TYPES = list(Type)
# Letters of a query that no statement of ours spells.
MARK = "zqxj"


def fuzz(data: bytes) -> None:
    kind = TYPES[data[0] % len(TYPES)] if data else Type.ROLE
    try:
        asked = question(kind, pairs(data[1:]))
        planned = plan(asked)
        place = walking.read(asked.cursor, asked, planned)
    except Refusal as said:
        refusal = said
    else:
        refusal = None
    if refusal is not None:
        assert 400 <= refusal.status < 500
        assert MARK not in refusal.text
        return
    assert len(planned) <= CRITERIA * VALUES
    for branch in planned:
        for back in (False, True):
            sql, values = queries.page(branch.walk, branch.where, branch.fits, (), 10, backward=back)
            assert sql.isascii()
            assert MARK not in sql
            assert {int(number) for number in re.findall(r"\$(\d+)", sql)} == set(range(1, len(values) + 1))
    assert walking.read(walking.written(place, asked), asked, planned) == place
    if (key := key_of(data[1:60].decode("latin-1"))) is not None:
        assert id_of(key) == data[1:60].decode("latin-1")
