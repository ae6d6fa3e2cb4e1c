"""Searches on ciphertext in a large mailbox: `python -m tests.bench.bench_search [--messages 20000]`, one JSON line.

The store is real (embedded PostgreSQL, sealed contents), the client speaks to the real dialogue without a socket.
Milliseconds: `first` makes the view blocks it needs, `warm` is the best of three later ones, `bare` the same search
without blocks. `false_positives` counts messages that a signature let through and that do not hold the text, of all
that do not; it is measured for words of the corpus and for words that stand nowhere.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg

from crypto.edge import EdgeKeys
from crypto.keyring import Keyring
from server.base.sections import Database
from server.base.settings import Settings
from server.db import pool as database_pool
from server.db.embedded import EmbeddedPostgres
from server.db.grants import make_users
from server.db.migrate import upgrade
from server.imap.budget import Budget
from server.imap.session import Services
from server.imap.view import Views
from server.mailbox.blocks.block import SPAN, WORDS
from server.mailbox.blocks.signature import Question
from server.mailbox.create import create
from server.mailbox.model import NewMailbox, NewMessage, OwnerKind
from server.mailbox.store import Mailbox, Store
from server.mailbox.table import Table
from tests.imap_doubles import Log, MemoryAccounts, Wire, signed_in

ADDRESS = "280019900100182@patient.msg.exemple.fr"
START = datetime(2025, 1, 1, tzinfo=UTC)
# Words as clinical letters have them; a text draws some of them, so that most words stand in many messages.
_LETTER = (
    "patient patiente consultation ordonnance traitement symptômes douleur thoracique abdominale fièvre toux "
    "dyspnée hypertension artérielle diabète glycémie hémoglobine glyquée créatinine cholestérol bilan sanguin "
    "examen clinique auscultation cardiaque pulmonaire échographie radiographie scanner cérébral imagerie "
    "résonance magnétique lésion tumeur bénigne maligne biopsie chirurgie intervention anesthésie "
    "postopératoire cicatrisation rééducation kinésithérapie infirmière pharmacie posologie comprimé matin "
    "soir pendant jours semaine mois renouvellement allergie pénicilline antécédents familiaux tabac alcool "
    "poids taille tension suivi prochain rendez-vous confrère cordialement confraternellement madame monsieur "
    "docteur service cardiologie neurologie pneumologie dermatologie gynécologie pédiatrie urgences "
    "hospitalisation sortie compte rendu opératoire lettre liaison vaccination grippe"
)
VOCABULARY = _LETTER.split()
RARE = tuple(
    f"{stem}{end}"
    for stem in ("méthotrex", "amiodar", "lévothyro", "rivarox", "fluindi")
    for end in ("ate", "one", "xine", "aban")
)
NOWHERE = ("polyarthrite", "schizophrénie", "xanthélasma", "brucellose", "kératoconjonctivite", "zona ophtalmique")
PEOPLE = tuple(
    f"{first}.{last}"
    for first in ("claire", "hélène", "jean", "marc", "zoé")
    for last in ("martin", "dubois", "le-goff", "muller")
)


def message(chance: random.Random, number: int) -> bytes:
    sender, moment = chance.choice(PEOPLE), START + timedelta(minutes=7 * number)
    text = " ".join(chance.choices(VOCABULARY, k=chance.randrange(60, 360)))
    if chance.random() < 0.01:
        text += " " + chance.choice(RARE)
    return (
        f"Received: from poste.cabinet.example ([192.0.2.1]) by mail.example with ESMTPSA id {number:x};\r\n"
        f"\t{moment:%a, %d %b %Y %H:%M:%S} +0000\r\n"
        f"Date: {moment:%a, %d %b %Y %H:%M:%S} +0000\r\n"
        f"From: {sender} <{number % 997}.{number % 31}@medecin.example>\r\n"
        f"To: Patient <{ADDRESS}>\r\nSubject: {' '.join(chance.choices(VOCABULARY, k=4))}\r\n"
        f"Message-ID: <{number}.{moment:%Y%m%d%H%M%S}@medecin.example>\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n"
    ).encode()


async def fill(mailbox: Mailbox, messages: int, chance: random.Random) -> None:
    for start in range(0, messages, 500):
        texts = [message(chance, number) for number in range(start, min(messages, start + 500))]
        moments = [START + timedelta(minutes=7 * (start + at)) for at in range(len(texts))]
        await mailbox.append_many(
            1, [NewMessage(text, 1, (), moment) for text, moment in zip(texts, moments, strict=True)]
        )


async def client(mailbox: Mailbox) -> Wire:
    async def open_mailbox(owner_id: int) -> Any:
        return mailbox

    feed = SimpleNamespace(watch=lambda owner_id, folder_id, callback: lambda: None)
    services = Services(
        MemoryAccounts(),
        SimpleNamespace(open=open_mailbox),  # type: ignore[arg-type]
        Views(feed),
        Budget(10_000_000),
        lambda: datetime.now(UTC),
        Log(),
        10_000_000,
    )
    wire = await signed_in(SimpleNamespace(services=services))  # type: ignore[arg-type]
    await wire.ask(b"s SELECT INBOX")
    return wire


async def timed(wire: Wire, command: str) -> float:
    started = time.perf_counter()
    answer = await wire.ask(b"a " + command.encode())
    assert b"\r\na OK" in b"\r\n" + answer, answer[-200:]
    return round((time.perf_counter() - started) * 1e3, 1)


async def false_positives(mailbox: Mailbox, words: tuple[str, ...]) -> tuple[int, int]:
    """(messages let through without holding the word, messages that do not hold it), over some blocks and all words."""
    table = Table((await mailbox.view(1)).rows)
    chunks = {at: table.chunk(at * SPAN - 1, (at + 1) * SPAN - 1) for at in (1, 2, 3)}
    wrong = without = 0
    for block, _ in (await mailbox.blocks(1, chunks, [WORDS])).values():
        content_ids = block.chunk.content_ids()
        summaries = await mailbox.summaries(content_ids)
        texts = [await mailbox.words(content_id, summaries[content_id]) for content_id in content_ids]
        for word in words:
            question = Question(word)
            for passed, text in zip(question.may_stand_in(block.words or ()), texts, strict=True):
                if word not in text.header and word not in text.body:
                    without += 1
                    wrong += passed
    return wrong, without


async def measure(mailbox: Mailbox, admin: asyncpg.Connection, messages: int) -> dict[str, Any]:
    wire = await client(mailbox)
    day = (START + timedelta(minutes=7 * messages * 9 // 10)).strftime("%-d-%b-%Y")
    commands = {
        "since": f"UID SEARCH SINCE {day}",
        "sentsince": f"UID SEARCH SENTSINCE {day}",
        "from": "UID SEARCH FROM le-goff",
        "subject": 'UID SEARCH SUBJECT "échographie"',
        "sort_date": "UID SORT (REVERSE DATE) UTF-8 ALL",
        "sort_subject": "UID SORT (SUBJECT) UTF-8 ALL",
        "thread": "UID THREAD REFERENCES UTF-8 ALL",
        "text_rare": 'UID SEARCH TEXT "amiodarone"',
        "text_nowhere": "UID SEARCH TEXT polyarthrite",
        "text_common": "UID SEARCH BODY cardiologie",
        "last50_envelope": f"FETCH {messages - 49}:{messages} (ENVELOPE)",
    }
    result: dict[str, Any] = {}
    for name, command in commands.items():
        first = await timed(wire, command)
        warm = min([await timed(wire, command) for _ in range(3)])
        result[name] = {"first": first, "warm": warm}
    result["block_bytes_a_message"] = {
        part: round(octets / messages)
        for part, octets in await admin.fetch("SELECT part, sum(octet_length(data)) FROM view_block GROUP BY part")
    }
    result["blocks"] = await admin.fetchval("SELECT count(*) FROM view_block WHERE part = 'members'")
    for name, words in {"corpus": RARE, "nowhere": NOWHERE}.items():
        wrong, without = await false_positives(mailbox, words)
        result[f"false_positives_{name}"] = f"{wrong} of {without}"
    # Without blocks, as everything was searched before: each message opened.
    bare = _without_blocks(mailbox)
    wire = await client(bare)
    for name in ("from", "text_rare", "text_nowhere"):
        result[name]["bare"] = await timed(wire, commands[name])
    return result


def _without_blocks(mailbox: Mailbox) -> Mailbox:
    async def none(*_: Any) -> dict[int, Any]:
        return {}

    mailbox.blocks = none  # type: ignore[method-assign]
    return mailbox


async def run(messages: int, home: Path) -> dict[str, Any]:
    postgres = EmbeddedPostgres(home)
    await postgres.__aenter__()
    try:
        settings = Settings(home=home, domain="msg.exemple.fr", database=Database(dsn=postgres.dsn()))
        await upgrade(postgres.dsn(), settings.keys_directory)
        admin = await asyncpg.connect(postgres.dsn())
        await make_users(admin, settings.keys_directory)
        edge, keyring = EdgeKeys.new(), Keyring.create(home / "ring")
        created = await create(
            admin, keyring, edge, [NewMailbox(ADDRESS, OwnerKind.PATIENT, "Jeanne", ins="280019900100182")]
        )
        pool = await database_pool.connect(settings, "imap")
        store = Store(pool, edge, keyring)
        mailbox = await store.open(created[0].owner_id)
        started = time.perf_counter()
        await fill(mailbox, messages, random.Random(1))
        filled = round(time.perf_counter() - started, 1)
        await admin.execute("VACUUM ANALYZE")
        result = await measure(mailbox, admin, messages)
        await store.announcer.close()
        await pool.close()
        await admin.close()
        return {"fill_s": filled} | result
    finally:
        await postgres.stop()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    options = parser.parse_args(arguments or [])
    home = Path(tempfile.mkdtemp(prefix="caducee-bench-"))
    try:
        result = asyncio.run(run(options.messages, home))
    finally:
        shutil.rmtree(home)
    sys.stdout.write(json.dumps({"bench": "search", "unit": "ms", "messages": options.messages} | result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
