"""`caducee trace`: what happened to a message, or what concerns an address, step by step.

Addresses are shown as the logs show them, by pseudonym; each look into the trail is itself written to the trail.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import asyncpg
import typer
from rich.markup import escape

from server.audit.story import Stories, Story, copies
from server.audit.trail import Audit, Told
from server.base import clock
from server.base.log import Pseudonyms, octets_of
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, err, out, run, settings_of
from server.mail.addresses import normalise, valid
from server.mail.headers import bare_id
from server.mailbox.routes import routes
from server.transport import queries

_TRACE = re.compile(r"[a-z2-7]{16}")
_SPAN = re.compile(r"([0-9]{1,5})([dh])")
_INS = re.compile(r"[0-9]{6}[0-9AaBb][0-9]{8}")  # wherever it stands: somebody's software may put it into a Message-ID
_HIDDEN = frozenset({"content", "contents"})  # ids of the store: for scripts
_DAYS = 30


def trace(
    wanted: Annotated[
        str, typer.Argument(help="A Message-ID, an address, its pseudonym in the logs, or the trace id of a message.")
    ],
    since: Annotated[str, typer.Option(help='From when on: a date like 2026-11-01, or "7d", "12h".')] = f"{_DAYS}d",
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show addresses in clear; the trail says that you did.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what happened to a message, or what concerns an address: one line an event, in the order of time."""
    settings = settings_of(home)
    after = moment(since, clock.now())

    async def work() -> _Found:
        async with Admin(settings) as admin:
            found = await _find(admin, wanted.strip(), after)
            shown = "addresses" if reveal else "pseudonyms"
            await Audit(admin.edge).trail_searched(
                admin.connection, f"operator, uid {os.getuid()}", wanted.strip(), shown
            )
            return found

    found = run(work())
    show = _Shown(None if reveal else found.pseudonyms)
    lines = [_event(told, show) for told in found.story.events] + [_waiting(row) for row in found.waiting]
    if as_json:
        answer_json(lines)
    elif not lines:
        out.print(f"Nothing since {after:%Y-%m-%d %H:%M} UTC. Look further back with --since, like --since 90d.")
    else:
        for line in lines:
            out.print(_line(line))
        if found.story.cut:
            err.print("There are older events: narrow it down by Message-ID, or with --since.")


def moment(text: str, now: datetime) -> datetime:
    """From when on one looks. Raises Failure: neither a date nor a span."""
    span = _SPAN.fullmatch(text)
    if span:
        return now - timedelta(hours=int(span[1]) * (24 if span[2] == "d" else 1))
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Failure('--since is a date like 2026-11-01 or 2026-11-01T08:00, or a span like "7d" or "12h".') from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Found:
    story: Story
    waiting: list[asyncpg.Record]
    pseudonyms: Pseudonyms


async def _find(admin: Admin, wanted: str, since: datetime) -> _Found:
    stories = Stories(admin.connection, admin.keyring, admin.edge, since)
    pseudonyms = Pseudonyms(admin.edge.pseudonym)
    octets, name = octets_of(wanted), ""
    if octets is not None:
        story, name = await stories.of_pseudonym(octets), wanted
    elif _TRACE.fullmatch(wanted):
        story = await stories.of_trace(wanted)
    else:
        # A Message-ID has the form of an address: which it is, the trail knows.
        story = await stories.of_message(bare_id(wanted))
        if not story.events and valid(wanted):
            address = normalise(wanted)
            found = await routes(admin.connection, admin.edge, [address])
            owner_id = found[address].owner_id if address in found else None
            story, name = await stories.of_address(address, owner_id), pseudonyms.of(address)
    traces = {str(told.detail["trace"]) for told in story.events if told.detail.get("trace")}
    waiting = await admin.connection.fetch(queries.WAITING_ELSEWHERE, sorted(traces), name)
    owned = copies(story.events)
    waiting += await admin.connection.fetch(
        queries.WAITING_HERE, [owner_id for owner_id, _ in owned], [content_id for _, content_id in owned]
    )
    return _Found(story, waiting, pseudonyms)


class _Shown:
    """How values are shown: addresses as pseudonyms, unless they are to be revealed."""

    def __init__(self, pseudonyms: Pseudonyms | None) -> None:
        self._pseudonyms = pseudonyms

    def __call__(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: self(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self(one) for one in value]
        if not isinstance(value, str) or self._pseudonyms is None:
            return value
        if valid(value) and octets_of(value) is None:
            return self._pseudonyms.of(normalise(value))
        return _INS.sub("…", value)

    def message_id(self, value: str) -> str:
        """A Message-ID looks like an address and is none."""
        return value if self._pseudonyms is None else _INS.sub("…", value)


def _event(told: Told, show: _Shown) -> dict[str, Any]:
    facts = {
        key: show.message_id(value) if key == "message_id" else show(value)
        for key, value in told.detail.items()
        if value not in ("", None)
    }
    return {"at": told.recorded_at.isoformat(timespec="milliseconds"), "event": told.kind, **facts}


def _waiting(row: asyncpg.Record) -> dict[str, Any]:
    """What a queue holds now; it knows people by pseudonym alone."""
    facts = {key: value for key, value in row.items() if value not in ("", None)}
    facts["next"] = facts.pop("not_before").isoformat(timespec="seconds")
    return {"at": clock.now().isoformat(timespec="milliseconds"), "event": "message-waits", **facts}


def _line(line: Mapping[str, Any]) -> str:
    facts = [
        f"[dim]{key}[/]={escape(_text(value))}" for key, value in line.items() if key not in _HIDDEN | {"at", "event"}
    ]
    return f"{line['at']}  [bold]{line['event']:18}[/] {' '.join(facts)}"


def _text(value: Any) -> str:
    if isinstance(value, Iterable) and not isinstance(value, str | Mapping):
        return ",".join(map(str, value))
    return str(value)
