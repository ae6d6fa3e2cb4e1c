"""Accept and deliver, and the poll cycle, over real sockets with TLS: ours and the peer in turn, in one run."""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

from tests.bench.generator import deliver
from tests.bench.reader import poll
from tests.bench.sides import SIZES, ours, peer

MESSAGES = {3_000: 2_000, 150_000: 500}
CONNECTIONS = 10
ROUNDS = 2  # each side twice, in turn: machines are noisy
POLL_SECONDS = 10.0


def main() -> None:
    with ours() as us, peer(us.messages) as them:
        sides = [us] + ([them] if them else [])
        for size in SIZES:
            for mailboxes in (1, 20):
                for turn in range(ROUNDS):
                    for side in sides if turn % 2 == 0 else sides[::-1]:
                        _tell("deliver", _run(deliver(side, size, MESSAGES[size], CONNECTIONS, mailboxes)))
        for turn in range(ROUNDS):
            for side in sides if turn % 2 == 0 else sides[::-1]:
                _tell("poll", poll(side, POLL_SECONDS, len(side.users)))


def _run(work):  # type: ignore[no-untyped-def]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _tell(measure: str, result: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({"measure": measure} | result) + "\n")
    sys.stdout.flush()
