"""The sequence-number rule: what two sessions over one shared view are told, and that their numbers agree with it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from server.imap.grammar.sequence import SequenceSet
from server.imap.responses import Illegal
from server.imap.view import Selected, SharedView, Updates
from server.mailbox.model import Changes, Folder, FolderState, Row, StoreResult, View

if TYPE_CHECKING:
    from server.mailbox.store import Mailbox

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def row(uid: int, modseq: int, flags: int = 0) -> Row:
    return Row(uid, bytes(16), flags, (), DAY, DAY, modseq, 100)


class Truth:
    """A folder as the store has it."""

    def __init__(self, uids: int = 0) -> None:
        self.modseq = 1 + uids
        self.rows = {uid: row(uid, 1 + uid) for uid in range(1, uids + 1)}
        self.next = uids + 1
        self.gone: list[tuple[int, int]] = []
        self.shared = SharedView(View(Folder(1, "INBOX", 7, None, True), self.state(), list(self.rows.values())))

    def state(self) -> FolderState:
        return FolderState(1, self.next, self.modseq, len(self.rows), 0, 0, 0, self.next)

    def append(self) -> int:
        self.modseq += 1
        self.rows[self.next] = row(self.next, self.modseq)
        self.next += 1
        return self.next - 1

    def flag(self, uid: int, flags: int) -> Row:
        self.modseq += 1
        self.rows[uid] = replace(self.rows[uid], flags=flags, modseq=self.modseq)
        return self.rows[uid]

    def expunge(self, *uids: int) -> None:
        self.modseq += 1
        for uid in uids:
            del self.rows[uid]
            self.gone.append((self.modseq, uid))

    def refresh(self) -> None:
        since = self.shared.modseq
        changed = [row for row in self.rows.values() if row.modseq > since]
        vanished = [(uid, uid) for modseq, uid in self.gone if modseq > since]
        self.shared._apply(Changes(self.state(), changed, vanished, True))


def apply(numbers: list[int], news: Updates, uids: list[int]) -> list[int]:
    """What a client makes of the updates: its list of uids (0 = not known yet)."""
    for number in news.expunged:
        del numbers[number - 1]
    if news.exists is not None:
        assert news.exists >= len(numbers)
        numbers += uids[len(numbers) : news.exists]
    return numbers


def test_expunge_is_told_from_the_highest_number_down() -> None:
    truth = Truth(5)
    session = Selected(truth.shared, read_only=False)
    truth.expunge(2, 4)
    truth.append()
    truth.refresh()
    news = session.updates(expunge=True)
    assert news.expunged == [4, 2]
    assert news.exists == 4
    assert list(session.uids) == [1, 3, 5, 6]


def test_a_message_that_is_gone_keeps_its_number_while_expunge_may_not_be_told() -> None:
    truth = Truth(3)
    session = Selected(truth.shared, read_only=False)
    truth.expunge(2)
    truth.append()
    truth.refresh()
    news = session.updates(expunge=False)
    assert news.expunged == []
    assert news.exists == 4
    assert session.number(3) == 3
    assert session.row(2) is None
    assert session.resolve(SequenceSet(((2, 2),)), by_uid=False) == [2]
    later = session.updates(expunge=True)
    assert later.expunged == [2]
    assert later.exists is None
    assert list(session.uids) == [1, 3, 4]


def test_what_a_session_was_told_is_not_told_again() -> None:
    truth = Truth(3)
    one, other = Selected(truth.shared, False), Selected(truth.shared, False)
    changed = truth.flag(2, 1)
    truth.shared.written(StoreResult([changed], [], truth.modseq, truth.modseq - 1))
    one.told(changed)
    assert one.updates(True).changed == []
    assert other.updates(True).changed == [changed]
    assert other.updates(True).changed == []


def test_a_gap_in_the_modseq_is_asked_for() -> None:
    truth = Truth(3)
    session = Selected(truth.shared, False)
    foreign = truth.flag(1, 8)
    own = truth.flag(2, 1)
    truth.shared.written(StoreResult([own], [], truth.modseq, truth.modseq - 1))
    assert truth.shared.stale
    session.told(own)
    truth.refresh()
    assert session.updates(True).changed == [foreign]


def test_a_store_that_changes_nothing_hides_nobody_s_change() -> None:
    truth = Truth(3)
    session = Selected(truth.shared, False)
    truth.append()
    truth.shared.written(StoreResult([truth.rows[2]], [], truth.modseq, truth.modseq))
    assert truth.shared.stale
    truth.refresh()
    assert session.updates(True).exists == 4


def test_a_view_that_was_refreshed_between_the_steps_of_a_store_misses_nobody_s_change() -> None:
    truth = Truth(3)
    session = Selected(truth.shared, False)
    first = truth.flag(1, 1)
    truth.refresh()
    foreign = truth.flag(2, 8)
    last = truth.flag(3, 1)
    truth.shared.written(StoreResult([first, last], [], truth.modseq, None))
    assert truth.shared.stale
    truth.refresh()
    assert session.updates(True).changed == [first, foreign, last]


async def test_sessions_that_ask_at_the_same_time_are_all_told() -> None:
    truth = Truth(2)
    sessions = [Selected(truth.shared, False) for _ in range(3)]
    asked, answer = 0, asyncio.Event()

    class Slow:
        async def changes(self, folder_id: int, since: int) -> Changes:
            nonlocal asked
            asked += 1
            await answer.wait()
            return Changes(truth.state(), [row for row in truth.rows.values() if row.modseq > since], [], True)

    async def push(session: Selected) -> int | None:
        await truth.shared.refresh(cast("Mailbox", Slow()))
        return session.updates(expunge=True).exists

    truth.append()
    truth.shared.touch()
    pushes = [asyncio.create_task(push(session)) for session in sessions]
    await asyncio.sleep(0)
    answer.set()
    assert await asyncio.gather(*pushes) == [3, 3, 3]
    assert asked == 1


def test_numbers_out_of_range() -> None:
    session = Selected(Truth(2).shared, False)
    with pytest.raises(Illegal):
        session.resolve(SequenceSet(((3, 3),)), by_uid=False)
    assert session.resolve(SequenceSet(((3, 0),)), by_uid=True) == [2]  # "3:*" holds the last message
    empty = Selected(Truth(0).shared, False)
    assert empty.resolve(SequenceSet(((1, 0),)), by_uid=False) == []
    with pytest.raises(Illegal):
        empty.resolve(SequenceSet(((1, 1),)), by_uid=False)


def test_a_session_that_lags_behind_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.imap.view.IMAP_JOURNAL", 4)
    truth = Truth(20)
    from collections import deque

    truth.shared._changed, truth.shared._vanished = deque(maxlen=4), deque(maxlen=4)
    session = Selected(truth.shared, False)
    for uid in range(1, 11):
        truth.flag(uid, 1)
    truth.refresh()
    for uid in range(11, 18):
        truth.expunge(uid)
        truth.refresh()
    news = session.updates(True)
    assert news.expunged == list(range(17, 10, -1))
    assert [row.uid for row in news.changed] == list(range(1, 11))


class TwoSessions(RuleBasedStateMachine):
    """Any order of changes, refreshes and answers: each client's numbers name the uids they should."""

    def __init__(self) -> None:
        super().__init__()
        self.truth = Truth(4)
        self.sessions = [Selected(self.truth.shared, False) for _ in range(2)]
        self.clients = [list(session.uids) for session in self.sessions]
        self.flags = [dict.fromkeys(client, 0) for client in self.clients]

    @rule()
    def append(self) -> None:
        self.truth.append()

    @rule(pick=st.integers(0, 50), flags=st.integers(0, 31), own=st.booleans())
    def flag(self, pick: int, flags: int, own: bool) -> None:
        if not self.truth.rows:
            return
        uid = sorted(self.truth.rows)[pick % len(self.truth.rows)]
        changed = self.truth.flag(uid, flags)
        if own:
            self.truth.shared.written(StoreResult([changed], [], self.truth.modseq, self.truth.modseq - 1))

    @rule(picks=st.sets(st.integers(0, 9), min_size=1, max_size=3))
    def expunge(self, picks: set[int]) -> None:
        uids = sorted(self.truth.rows)
        chosen = {uids[pick] for pick in picks if pick < len(uids)}
        if chosen:
            self.truth.expunge(*chosen)

    @rule()
    def refresh(self) -> None:
        self.truth.refresh()

    @rule(which=st.integers(0, 1), expunge=st.booleans(), flags=st.booleans())
    def answer(self, which: int, expunge: bool, flags: bool) -> None:
        session, client, known = self.sessions[which], self.clients[which], self.flags[which]
        news = session.updates(expunge, flags)
        assert expunge or not news.expunged
        for number in news.expunged:
            del client[number - 1]
        if news.exists is not None:
            for uid in session.uids[len(client) : news.exists]:
                client.append(uid)
                row = session.row(uid)
                assert row is not None
                known[uid] = row.flags
        for changed in news.changed:
            assert client[session.number(changed.uid) - 1] == changed.uid
            known[changed.uid] = changed.flags
        for uid in client:
            if flags and (row := session.row(uid)) is not None:
                assert known[uid] == row.flags
        if expunge:
            assert client == list(self.truth.shared.uids)

    @invariant()
    def numbers_agree(self) -> None:
        for session, client in zip(self.sessions, self.clients, strict=True):
            assert list(session.uids) == client
            for number, uid in enumerate(client, 1):
                assert session.number(uid) == number


TwoSessions.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestTwoSessions = TwoSessions.TestCase


@given(st.binary(max_size=200))
def test_sets_of_uids_resolve_as_a_filter_would(data: bytes) -> None:
    truth = Truth(0)
    for _ in range(12):
        truth.append()
    truth.refresh()
    truth.expunge(3, 7)
    truth.refresh()
    session = Selected(truth.shared, False)
    pairs = tuple((data[i] % 15 + 1, data[i + 1] % 15 + 1) for i in range(0, len(data) - 1, 2))
    expected = [uid for uid in session.uids if any(min(pair) <= uid <= max(pair) for pair in pairs)]
    assert session.resolve(SequenceSet(pairs), by_uid=True) == expected
