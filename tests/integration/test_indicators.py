"""Monthly indicators: counted where mail passes and people sign in, told beside it, summed for the report."""

from __future__ import annotations

import csv
import dataclasses
import json
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from server.audit.indicators import Indicators, of_month
from server.base import clock
from server.cli.indicators import HEADER
from server.mailbox.create import close
from server.transport.envelope import Source, SourceKind
from tests.serving import DOCTOR, ONE_WORKER, PATIENT, PHARMACY, Served, caducee
from tests.store_world import PATIENT as MARTIN
from tests.store_world import PHARMACY as OFFICINE
from tests.store_world import World, message


def written(sender: str, recipient: str) -> bytes:
    return f"From: {sender}\r\nTo: {recipient}\r\nSubject: Suivi\r\n\r\nBonjour\r\n".encode()


@pytest.fixture(scope="module")
def month() -> Iterator[dict[str, dict[str, str]]]:
    """The report after some real traffic and a restart, by type of mailbox."""
    with tempfile.TemporaryDirectory(prefix="caducee-indicators-") as place:
        served = Served(Path(place) / "home", ONE_WORKER)
        served.make()
        served.start()
        try:
            with served.submission(DOCTOR) as client:
                client.sendmail(DOCTOR, [PHARMACY, PATIENT], written(DOCTOR, PATIENT))
                client.sendmail(DOCTOR, [PHARMACY], written(DOCTOR, PHARMACY))
            with served.submission(PATIENT) as client:
                client.sendmail(PATIENT, [DOCTOR], written(PATIENT, DOCTOR))
            for _ in range(3):
                served.imap(PHARMACY).logout()
            caducee("mailbox", "set", PHARMACY, "--unlisted", home=served.home)
        finally:
            served.stop()
        report, now = served.home / "indicateurs.csv", f"{clock.now():%Y-%m}"
        caducee("indicators", now, "--out", str(report), home=served.home)
        with report.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            rows = {row["mailbox_type"]: row for row in table}
            assert table.fieldnames == HEADER
        assert {row["month"] for row in rows.values()} == {now}
        as_json = json.loads(caducee("indicators", now, "--json", home=served.home))
        assert [{name: str(value) for name, value in row.items()} for row in as_json] == list(rows.values())
        assert caducee("indicators", now, home=served.home) == report.read_text(encoding="utf-8")
        yield rows


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("PER", {"mailboxes": 1, "unlisted": 0, "sent": 2, "received": 1, "to_patients": 1, "from_patients": 1}),
        ("ORG", {"mailboxes": 1, "unlisted": 1, "sent": 0, "received": 2, "to_patients": 0, "from_patients": 0}),
        ("PATIENT", {"mailboxes": 1, "unlisted": 0, "sent": 1, "received": 1, "to_patients": 0, "from_patients": 0}),
    ],
)
def test_what_each_type_of_mailbox_did(month: dict[str, dict[str, str]], kind: str, expected: dict[str, int]) -> None:
    assert {name: int(month[kind][name]) for name in expected} == expected
    assert month[kind]["sent_elsewhere"] == month[kind]["received_from_elsewhere"] == "0"


def test_who_signed_in_how(month: dict[str, dict[str, str]]) -> None:
    signed_in = {kind: (row["connections_submission"], row["connections_imap"]) for kind, row in month.items()}
    assert signed_in == {"PER": ("1", "0"), "ORG": ("0", "3"), "PATIENT": ("1", "0")}


def test_what_is_no_month_is_said(home: Path) -> None:
    for wrong in ("2026", "2026-13", "11-2026", "2026-1"):
        with pytest.raises(AssertionError, match="written like 2026-11"):
            caducee("indicators", wrong, home=home)


async def counts(world: World) -> dict[tuple[str, str], int]:
    rows = await world.admin.fetch("SELECT name, kind, count FROM indicator")
    return {(row["name"], row["kind"]): row["count"] for row in rows}


async def test_mail_between_operators_and_of_patients_elsewhere(world: World) -> None:
    indicators = Indicators(world.edge_pool)
    await world.admin.execute("DELETE FROM indicator")
    envelope = await world.envelope(OFFICINE)
    operator = Source(SourceKind.RELAY, "CN=operateur", "mx.ailleurs.example", None)
    elsewhere = dataclasses.replace(envelope, reverse_path="x@patient.mssante.fr", source=operator)
    await world.acceptor.accept(elsewhere, message(number=1))
    ours = dataclasses.replace(envelope.source, mailbox="PER")
    await world.acceptor.accept(dataclasses.replace(envelope, source=ours), message(number=2))
    repeated = await world.acceptor.accept(dataclasses.replace(envelope, source=ours), message(number=2))
    assert repeated.repeated
    await indicators.tell()
    await indicators.tell()
    assert await counts(world) == {
        ("received", "ORG"): 2,
        ("received_from_elsewhere", "ORG"): 1,
        ("from_patients", "ORG"): 1,
        ("sent", "PER"): 1,
    }


async def test_counts_wait_for_a_database_that_is_away(world: World, monkeypatch: Any) -> None:
    indicators = Indicators(world.edge_pool)
    ours = dataclasses.replace((await world.envelope(OFFICINE)).source, mailbox="PER")
    await world.acceptor.accept(dataclasses.replace(await world.envelope(OFFICINE), source=ours), message())

    async def away(*arguments: object) -> None:
        raise asyncpg.ConnectionDoesNotExistError

    with monkeypatch.context() as patched:
        patched.setattr(asyncpg.Pool, "execute", away)
        await indicators.tell()
    assert await counts(world) == {}
    await indicators.close()
    assert await counts(world) == {("received", "ORG"): 1, ("sent", "PER"): 1}


async def test_a_month_counts_the_mailboxes_of_its_end(world: World) -> None:
    await world.admin.execute("UPDATE address SET created_at = '2026-01-15'")
    await close(world.admin, world.owners[MARTIN])
    await world.admin.execute("UPDATE address SET closed_at = '2026-03-10' WHERE closed_at IS NOT NULL")
    assert [one.mailboxes for one in await of_month(world.admin, date(2025, 12, 1))] == []
    assert {one.kind for one in await of_month(world.admin, date(2026, 2, 1))} == {"ORG", "PATIENT", "PER"}
    assert {one.kind for one in await of_month(world.admin, date(2026, 3, 1))} == {"ORG", "PER"}
