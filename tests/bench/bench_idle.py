"""IMAP connections that wait in IDLE: the memory they take, and how soon they hear of a message; ours and the peer.

To be run as root; 5,000 connections, or as many as `make bench BENCH=idle:500` says. The peer's large processes need
1.3 MB each, or with PEER_HIBERNATE=1 a tenth of it.
"""

from __future__ import annotations

import asyncio
import json

import uvloop

from tests.bench.generator import idle
from tests.bench.sides import ours, peer

CONNECTIONS = 5_000
SMALL = 3_000


def main(connections: int = CONNECTIONS) -> None:
    with ours([SMALL]) as us, peer(us.messages) as them:
        for side in [us] + ([them] if them else []):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                print(json.dumps({"measure": "idle"} | runner.run(idle(side, connections))), flush=True)


if __name__ == "__main__":
    main()
