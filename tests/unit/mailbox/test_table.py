"""A folder's rows in columns stand for the same rows as objects, whatever was put in and taken out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from server.mailbox.model import Row
from server.mailbox.table import Table

START = datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


def row(uid: int, modseq: int, flags: int = 0, keywords: tuple[str, ...] = ()) -> Row:
    return Row(uid, uid.to_bytes(16, "big"), flags, keywords, START + timedelta(seconds=uid), START, modseq, uid)


def test_rows_come_out_as_they_went_in() -> None:
    rows = [row(3, 5, 31, ("$Forwarded", "dossier")), row(9, 2), row(2**31 - 1, 2**62)]
    table = Table(rows)
    assert list(table) == rows
    assert (table[0], table[-1], table[1:]) == (rows[0], rows[2], rows[1:])
    assert (table.get(9), table.get(4), table.find(3)) == (rows[1], None, 0)
    assert table.changed_since(4) == [rows[0], rows[2]]


def test_columns_are_read_as_postgresql_sends_them() -> None:
    rows = [row(3, 5, 31, ("$Forwarded", "dossier")), row(9, 2, 4)]
    microseconds = [
        round((one.internaldate - datetime(2000, 1, 1, tzinfo=UTC)).total_seconds() * 10**6) for one in rows
    ]
    table = Table.packed(
        b"".join(one.uid.to_bytes(4, "big") for one in rows),
        b"".join(one.content_id for one in rows),
        b"".join(one.flags.to_bytes(2, "big") for one in rows),
        b"".join(moment.to_bytes(8, "big", signed=True) for moment in microseconds),
        2 * (-1).to_bytes(8, "big", signed=True),
        b"".join(one.modseq.to_bytes(8, "big") for one in rows),
        b"".join(one.size.to_bytes(4, "big") for one in rows),
        [(3, "$Forwarded dossier")],
    )
    assert list(table) == rows


def test_the_first_unseen_message_is_found_among_any_flags() -> None:
    assert Table([row(1, 1, 31), row(2, 1, 1), row(3, 1, 30), row(4, 1)]).first_unseen() == 3
    assert Table([row(1, 1, 1), row(2, 1, 93)]).first_unseen() == 0
    assert Table([row(1, 1, 0x5C)]).first_unseen() == 1


@given(
    st.lists(
        st.tuples(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 31)), max_size=8), st.sets(st.integers(1, 40))),
        max_size=8,
    )
)
def test_a_table_keeps_what_a_dictionary_keeps(steps: list[tuple[list[tuple[int, int]], set[int]]]) -> None:
    table, known = Table(), dict[int, Row]()
    for modseq, (put, removed) in enumerate(steps, 1):
        held, before = table.uids, list(table.uids)
        rows = [row(uid, modseq, flags, ("mot",) * (flags & 1)) for uid, flags in sorted(dict(put).items())]
        assert set(table.put(rows)) == {one.uid for one in rows}
        assert table.put([replace(one, flags=0, modseq=modseq) for one in rows]) == []
        known |= {one.uid: one for one in rows}
        table.remove(removed)
        known = {uid: one for uid, one in known.items() if uid not in removed}
        assert list(table) == [known[uid] for uid in sorted(known)]
        assert list(held) == before  # a session may hold it
