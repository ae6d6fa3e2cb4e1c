"""2,000 IMAP connections that wait in IDLE, and the memory they take: ours and the peer. To be run as root."""

from __future__ import annotations

import asyncio
import json

import uvloop

from tests.bench.generator import idle
from tests.bench.sides import ours, peer

CONNECTIONS = 2_000


def main() -> None:
    with ours() as us, peer(us.messages) as them:
        for side in [us] + ([them] if them else []):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                print(json.dumps({"measure": "idle"} | runner.run(idle(side, CONNECTIONS))), flush=True)


if __name__ == "__main__":
    main()
