"""Plays the transcripts of this folder against the real dialogue, whole and byte by byte.

A transcript: `! clear`, `! anonymous` or (when neither stands) signed in; `A: …` what client A sends, with CRLF behind
it; `A< …` the exact next line it must get, `A~ …` the same as a regular expression, `A> …` the line up to which all is
passed over; `A.` it gets nothing more. `! B` adds a second session on the same worker, `! C` one of another worker;
`! trimmed` a store that forgot what vanished, `! marked` one whose message 1 is a patient's, and signed. Every line a
client gets must be named. INBOX holds the messages of `MESSAGES`, uids 1 to 3.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.imap_doubles import Backend, MemoryMailbox, Wire, signed_in

HERE = Path(__file__).parent
TRANSCRIPTS = sorted(HERE.glob("*.txt"))


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


PLAIN = crlf("""\
From: Alice Martin <alice@exemple.fr>
To: dr@msg.exemple.fr
Cc: bob@exemple.fr
Subject: =?utf-8?q?R=C3=A9sultats?=
Date: Mon, 2 Feb 2026 10:00:00 +0100
Message-ID: <1@exemple.fr>

Bonjour,
voici.
""")

MIXED = crlf("""\
From: bob@exemple.fr
To: dr@msg.exemple.fr
Subject: Compte rendu
Date: Tue, 3 Feb 2026 10:00:00 +0100
Message-ID: <2@exemple.fr>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b1"

--b1
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Patient asthmatique =C3=A9videmment
--b1
Content-Type: message/rfc822

Subject: Dedans
From: x@exemple.fr
Content-Type: multipart/alternative; boundary="b2"

--b2

un
--b2
Content-Type: text/html

<p>deux</p>
--b2--
--b1
Content-Type: application/pdf; name="o.pdf"
Content-Disposition: attachment; filename="o.pdf"
Content-Transfer-Encoding: base64

JVBERi0=
--b1--
""")

SHORT = crlf("""\
From: carole@exemple.fr
To: dr@msg.exemple.fr
Subject: Court
Date: Wed, 4 Feb 2026 23:30:00 -0500
Message-ID: <3@exemple.fr>

ok
""")

# (message, flags, keywords, INTERNALDATE)
MESSAGES = (
    (PLAIN, 1, (), datetime(2026, 2, 2, 9, 0, tzinfo=UTC)),
    (MIXED, 0, (), datetime(2026, 2, 3, 9, 0, tzinfo=UTC)),
    (SHORT, 4, ("$Forwarded",), datetime(2026, 2, 5, 4, 30, tzinfo=UTC)),
)


async def mailbox() -> MemoryMailbox:
    filled = MemoryMailbox()
    for data, flags, keywords, moment in MESSAGES:
        await filled.append(1, data, flags, keywords, moment)
    return filled


async def connect(backend: Backend, name: str, options: set[str], pieces: int) -> Wire:
    if options & {"clear", "anonymous"} and name == "A":
        return Wire(backend, secure="clear" not in options, pieces=pieces)
    return await signed_in(backend, pieces=pieces)


@pytest.mark.parametrize("pieces", [0, 1], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda path: path.stem)
async def test_transcript(transcript: Path, pieces: int) -> None:
    lines = transcript.read_text(encoding="utf-8").splitlines()
    options = {line[2:].strip() for line in lines if line.startswith("! ")}
    store = await mailbox()
    if "marked" in options:
        rows = store.kept[1].rows
        rows[1] = replace(rows[1], keywords=("$FromPatient", "$SignatureValid"))
    store.kept[1].trimmed = 100 * ("trimmed" in options)
    backend = Backend(store)
    wires = {"A": await connect(backend, "A", options, pieces)}
    if "B" in options:
        wires["B"] = await connect(backend, "B", options, pieces)
    if "C" in options:
        wires["C"] = await connect(Backend(store), "C", options, pieces)
    told = dict.fromkeys(wires, b"")

    async def hear() -> None:
        for name, wire in wires.items():
            await wire.settle()
            told[name] += wire.take()

    await hear()
    for number, line in enumerate(lines, 1):
        where = f"{transcript.name}:{number}"
        if not line.strip() or line.startswith(("#", "!")):
            continue
        name, kind, text = line[0], line[1], line[3:]
        if kind == ":":
            assert told[name] == b"", f"{where}: before it, {name} was told {told[name]!r}"
            await wires[name].send(text.encode() + b"\r\n")
            await hear()
        elif kind == ".":
            assert told[name] == b"", f"{where}: {name} was told {told[name]!r}"
        else:
            got, end, told[name] = told[name].partition(b"\r\n")
            assert end, f"{where}: {name} was told nothing more, expected {text!r}"
            while kind == ">" and end and got.decode() != text:
                got, end, told[name] = told[name].partition(b"\r\n")
            if kind in "<>":
                assert got.decode() == text, where
            else:
                assert re.fullmatch(text, got.decode()), f"{where}: {got!r} is not {text!r}"
    assert {name: rest for name, rest in told.items() if rest} == {}
    unknown = [facts for event, facts in backend.log.lines if event.endswith("_failed")]
    assert unknown == []


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 15
