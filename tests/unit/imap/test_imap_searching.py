"""Searches over a mailbox large enough for view blocks answer as if each message were read."""

from __future__ import annotations

import asyncio
import random
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server.base.limits import IMAP_CONTEXTS
from server.imap.evidence import Opened
from server.imap.grammar.cursor import Cursor
from server.imap.grammar.reader import Frame
from server.imap.grammar.search import search
from server.imap.matching import Program
from server.imap.view import Selected, SharedView
from server.mailbox.blocks.signature import Question, Signer
from server.mailbox.table import Table
from tests.imap_doubles import NOW, Backend, MemoryMailbox, Wire, signed_in

NAMES = ("alice", "bruno", "Zoé", "Élodie", "ÉMILE", "carole")
WORDS = ("ordonnance", "scanner", "œdème", "fièvre", "toux sèche", "glycémie", "bilan", "allergie à la pénicilline")
MESSAGES = 1_150  # a whole block, one that is begun


def message(chance: random.Random, number: int) -> bytes:
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=chance.randrange(1_000))
    lines = [f"From: {chance.choice(NAMES)} <{chance.choice('abc')}@exemple.fr>", f"Message-ID: <{number}@x>"]
    if chance.random() < 0.9:
        lines.append(f"Subject: {chance.choice(('', 'Re: ', 'Fwd: '))}{chance.choice(WORDS)}")
    if chance.random() < 0.8:
        lines.append(f"Date: {moment:%a, %d %b %Y %H:%M:%S} +0000")
    if chance.random() < 0.3:
        lines.append(f"Cc: {chance.choice(NAMES)}@exemple.fr")
    if chance.random() < 0.1:
        lines.append(f"X-Logiciel: {chance.choice(WORDS)}")
    if chance.random() < 0.02:
        lines.append("Bcc: " + ", ".join([f"{chance.choice(NAMES)}@exemple.fr"] * 600))  # too long for a block
    return "\r\n".join([*lines, "", *chance.sample(WORDS, 3), ""]).encode()


@pytest.fixture(scope="module")
def chance() -> random.Random:
    return random.Random(7)


async def filled(chance: random.Random, count: int = MESSAGES) -> MemoryMailbox:
    mailbox = MemoryMailbox()
    for number in range(count):
        moment = NOW - timedelta(minutes=chance.randrange(100_000))
        await mailbox.append(1, message(chance, number), chance.choice((0, 1, 9)), (), moment)
    # Uids with holes: some messages of each block are gone.
    await mailbox.store(1, chance.sample(range(1, count), count // 20), "add", 8)
    await mailbox.expunge(1, chance.sample(range(1, count), count // 10))
    return mailbox


def query(chance: random.Random, depth: int = 0) -> str:
    kind = chance.randrange(14 if depth < 3 else 11)
    word = chance.choice(WORDS)
    part = word[chance.randrange(3) : 3 + chance.randrange(1, 8)]
    return [
        lambda: f'TEXT "{part}"',
        lambda: f'BODY "{word.upper()}"',
        lambda: f'SUBJECT "{part}"',
        lambda: f'FROM "{chance.choice(NAMES).lower()}"',
        lambda: (
            f'HEADER {chance.choice(("Cc", "X-Logiciel", "Message-ID", "From"))} "{chance.choice(("", part, "9@"))}"'
        ),
        lambda: f"SENT{chance.choice(('SINCE', 'BEFORE', 'ON'))} {chance.randrange(1, 28)}-Jan-2026",
        lambda: f"SINCE {chance.randrange(1, 28)}-Jan-2026",
        lambda: chance.choice(("SEEN", "UNDELETED", "ALL", "LARGER 250", "YOUNGER 900000")),
        lambda: f"{chance.randrange(1, 900)}:{chance.randrange(900, 1_500)},7",
        lambda: f"UID {chance.randrange(1, 1_300)}:*",
        lambda: chance.choice(('CC "é"', "NOT BCC alice", "BCC bruno")),
        lambda: f"NOT {query(chance, depth + 1)}",
        lambda: f"OR {query(chance, depth + 1)} {query(chance, depth + 1)}",
        lambda: f"({query(chance, depth + 1)} {query(chance, depth + 1)})",
    ][kind]()


async def read_all(mailbox: MemoryMailbox, selected: Selected) -> list[Opened]:
    """All that can be known of each message."""
    found = []
    for uid in selected.uids:
        row = selected.row(uid)
        assert row is not None
        summary = (await mailbox.summaries([row.content_id]))[row.content_id]
        words = await mailbox.words(row.content_id, summary)
        found.append(Opened(Table([row]).chunk(), summary.header, words))
    return found


def judged(text: str, selected: Selected, messages: list[Opened]) -> list[int]:
    """What the program says of each."""
    program = Program(search(Cursor(Frame(b" " + text.encode()))), selected, NOW)
    answers = [(message.chunk.uids[0], *program.judge(message)) for message in messages]
    assert all(sure == maybe for _, sure, maybe in answers)
    return [uid for uid, sure, _ in answers if sure]


async def selected_session(mailbox: MemoryMailbox, **options: Any) -> Wire:
    wire = await signed_in(Backend(mailbox, **options))
    await wire.ask(b"s EXAMINE INBOX")
    return wire


def uids_of(answer: bytes) -> list[int]:
    return [int(number) for number in re.findall(rb"\d+", answer.partition(b"\r\n")[0])]


def uids(answer: bytes) -> list[int]:
    line = next(line for line in answer.split(b"\r\n") if line.startswith(b"* SEARCH"))
    return [int(number) for number in line.split()[2:]]


async def test_blocks_change_no_answer(chance: random.Random) -> None:
    mailbox = await filled(chance)
    wire = await selected_session(mailbox)
    mailbox.calls.clear()
    selected = Selected(SharedView(await mailbox.view(1)), True)
    messages, some = await read_all(mailbox, selected), 0
    for _ in range(40):
        text = query(chance)
        answer = await wire.ask(b"a UID SEARCH " + text.encode())
        expected = judged(text, selected, messages)
        assert uids(answer) == expected, text
        some += 0 < len(expected) < 900
    assert some > 12  # the queries say something
    assert "blocks" in mailbox.calls


async def test_orders_and_threads_are_those_of_the_messages_themselves(chance: random.Random) -> None:
    mailbox = await filled(chance, 400)
    wire = await selected_session(mailbox)
    for command in (b"SORT (SUBJECT REVERSE DISPLAYFROM DATE) UTF-8", b"SORT (CC) UTF-8", b"THREAD REFERENCES UTF-8"):
        whole = await wire.ask(b"a UID " + command + b" ALL")
        assert "blocks" in mailbox.calls
        mailbox.calls.clear()
        # Without blocks: none is worth it for a part of the messages, and none is there.
        mailbox.made.clear()
        half = uids_of(await wire.ask(b"a UID " + command + b" UID 1:60"))
        assert "blocks" not in mailbox.calls
        assert half == [uid for uid in uids_of(whole) if uid <= 60] or b"THREAD" in command


async def test_a_text_that_is_nowhere_opens_no_body_of_a_block(chance: random.Random) -> None:
    mailbox = await filled(chance, 400)
    wire = await selected_session(mailbox)
    blocks = await mailbox.blocks(1, {0: Table(mailbox.kept[1].rows.values()).chunk()}, ["words"], [0])
    assert blocks[0][0].words is not None
    mailbox.calls.clear()
    assert uids(await wire.ask(b"a UID SEARCH BODY polyarthrite")) == []
    # Making the blocks reads all bodies, many at a time; then none is read to verify.
    assert mailbox.calls.count("body") == 0


async def test_a_damaged_message_is_not_found_and_keeps_nobody_from_the_others(chance: random.Random) -> None:
    mailbox = await filled(chance, 300)
    rows = list(mailbox.kept[1].rows.values())
    wire = await selected_session(mailbox)
    everything = uids(await wire.ask(b"a UID SEARCH OR TEXT a NOT TEXT a"))
    mailbox.broken = {rows[5].content_id}
    assert uids(await wire.ask(b"a UID SEARCH OR TEXT a NOT TEXT a")) == [
        uid for uid in everything if uid != rows[5].uid
    ]


async def test_a_few_open_messages_need_no_block(chance: random.Random) -> None:
    mailbox = await filled(chance, 300)
    wire = await selected_session(mailbox)
    mailbox.calls.clear()
    await wire.ask(b"a UID SEARCH 1:50 FROM alice")
    assert "blocks" not in mailbox.calls


async def test_a_sort_waits_for_memory_and_gives_it_back(chance: random.Random) -> None:
    wire = await selected_session(await filled(chance, 60), budget=50_000)
    for command in (b"SORT (DATE)", b"THREAD REFERENCES"):
        assert b"a NO [UNAVAILABLE] " in await wire.ask(b"a " + command + b" UTF-8 ALL")
        assert b"b OK" in await wire.ask(b"b " + command + b" UTF-8 1:40")
        assert wire.backend.services.budget.free == 50_000


async def test_so_many_searches_are_kept_up_to_date_and_no_more(chance: random.Random) -> None:
    wire = await selected_session(await filled(chance, 30))
    for number in range(IMAP_CONTEXTS):
        assert b"NOUPDATE" not in await wire.ask(b"a%d SEARCH RETURN (UPDATE COUNT) UNSEEN" % number)
    answer = await wire.ask(b"b SEARCH RETURN (UPDATE COUNT) SEEN")
    assert b"COUNT" in answer
    assert b'* NO [NOUPDATE "b"] ' in answer
    assert b"c OK" in await wire.ask(b'c CANCELUPDATE "a3"')
    assert b"NOUPDATE" not in await wire.ask(b"d UID SORT RETURN (UPDATE COUNT) (DATE) UTF-8 SEEN")


async def test_many_results_are_kept_up_to_date_once(chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.imap.contexts.IMAP_CONTEXT_RESULTS", 20)
    wire = await selected_session(await filled(chance, 30))
    assert b"NOUPDATE" not in await wire.ask(b"a SEARCH RETURN (UPDATE) ALL")
    assert b"NOUPDATE" in await wire.ask(b"b SEARCH RETURN (UPDATE) 1")


async def test_other_sessions_are_answered_while_one_searches(chance: random.Random) -> None:
    backend = Backend(await filled(chance, 300))
    wires = [await signed_in(backend), await signed_in(backend)]
    answered = []

    async def ask(wire: Wire, *lines: bytes) -> None:
        for line in lines:
            await wire.ask(line)
        answered.append(lines[-1])

    search, other = b"a SEARCH TEXT polyarthrite", b"b NOOP"
    await asyncio.gather(ask(wires[0], b"s SELECT INBOX", search), ask(wires[1], b"s SELECT INBOX", other))
    assert answered == [other, search]


@pytest.mark.parametrize("charset", ["ISO-8859-1", "iso-8859-15", "Windows-1252"])
async def test_strings_in_older_charsets(charset: str) -> None:
    mailbox = MemoryMailbox()
    await mailbox.append(1, "Subject: œdème à 5 €\r\n\r\nx\r\n".encode())
    wire = await selected_session(mailbox)
    words = ["dème"] if charset == "ISO-8859-1" else ["œdème", "5 €"]
    for word in words:
        raw = word.encode(charset)
        quoted = b'a SEARCH CHARSET %s SUBJECT "%s"' % (charset.encode(), raw)
        literal = b"a SEARCH CHARSET %s TEXT {%d+}\r\n%s" % (charset.encode(), len(raw), raw)
        assert uids(await wire.ask(quoted)) == [1]
        assert uids(await wire.ask(literal)) == [1]
    assert b"a BAD" in await wire.ask(b'a SEARCH CHARSET WINDOWS-1252 SUBJECT "\x81"')


async def test_a_long_search_shows_life_and_ends(chance: random.Random) -> None:
    mailbox = await filled(chance, 250)
    backend = Backend(mailbox)
    now = [NOW]

    def later() -> datetime:
        now[0] += timedelta(seconds=11)
        return now[0]

    object.__setattr__(backend.services, "now", later)
    wire = await signed_in(backend)
    await wire.ask(b"s EXAMINE INBOX")
    answer = await wire.ask(b"a1 SEARCH HEADER X-Logiciel bilan")
    assert b'* OK [INPROGRESS ("a1" ' in answer
    assert b"a1 OK" in answer
    object.__setattr__(backend.services, "now", lambda: later() + timedelta(hours=len(mailbox.calls)))
    assert b"a2 NO [LIMIT] " in await wire.ask(b"a2 SEARCH HEADER X-Logiciel bilan")


async def test_a_bomb_of_sets_takes_no_memory(chance: random.Random) -> None:
    wire = await selected_session(await filled(chance, 300))
    answer = await wire.ask(b"a SEARCH " + b" ".join([b"1:*"] * 480))
    assert b"a OK" in answer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ab",
        "abc",
        "œdème",
        "un deux trois quatre",
        "a b c d e f g h",
        "a" * 50_000,
        "".join(map(chr, range(300, 9_000))),
    ],
)
def test_a_signature_rules_out_no_part_of_its_text(text: str) -> None:
    made = Signer().sign(text)
    for start in range(0, len(text), max(1, len(text) // 50)):
        assert Question(text[start : start + 9]).may_stand_in([made]) == [True]


def test_a_signature_rules_out_most_that_is_not_there() -> None:
    made = Signer().sign(" ".join(WORDS))
    assert Question("polyarthrite").may_stand_in([made]) == [False]
    assert Question("ab").may_stand_in([made]) == [True]  # too short to tell
    assert Question("polyarthrite").may_stand_in([b"\xff" * 32]) == [True]
    assert Question("polyarthrite").may_stand_in([b"odd"]) == [True]
