"""Reading over IMAP, ours and the peer in turn in one run: `make bench BENCH=imap`, or imap:20000 for a smaller box.

The poll cycle of 20 clients; the commands on a mailbox of 100,000 messages (the peer with encryption at rest takes
minutes to fill it, and to search text in it); a message of 25 MB.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

from tests.bench.generator import Target, deliver
from tests.bench.reader import box, fill, large, poll
from tests.bench.sides import ours, peer

SMALL = 3_000
MESSAGES = 100_000
NEW = 4_000  # unseen messages in the mailboxes that are polled
ROUNDS = 2  # each side twice, in turn: machines are noisy
POLL_SECONDS = 8.0
MEGABYTES = 25


def main(messages: int = MESSAGES) -> None:
    with ours([SMALL]) as us, peer(us.messages) as them:
        sides = [us] + ([them] if them else [])
        for turn in range(ROUNDS):
            for side in sides if turn % 2 == 0 else sides[::-1]:
                _deliver(side)
                _tell("poll", poll(side, POLL_SECONDS, len(side.users)))
        for side in sides:
            _tell("imap-large", large(side, 1, MEGABYTES))
        for side in sides:
            _tell("imap-fill", fill(side, 0, messages))
            for measure in box(side, 0, messages):
                _tell("imap-box", measure)


def _deliver(side: Target) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(deliver(side, SMALL, NEW, 10, len(side.users)))


def _tell(measure: str, result: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({"measure": measure} | result) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
