"""Signed messages of 25 MB over real sockets with TLS, and what they take of the worker: `make bench BENCH=large`.

One JSON line each for one message at a time and for four at once. `worker_growth_kib` is how far the submission
worker's peak of memory rose above what it held after small messages.
"""

from __future__ import annotations

import asyncio
import json
import os

import uvloop

from tests.bench.generator import deliver
from tests.bench.sides import ours
from tests.durability.processes import kind_of, memory, tree

SMALL, LARGE = 3_000, 25_000_000
MESSAGES = 12
CONNECTIONS = (1, 4)


def main() -> None:
    os.environ["CADUCEE_SUBMISSION__WORKERS"] = "1"  # whose memory is watched
    with ours((SMALL, LARGE), max(CONNECTIONS)) as us, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        (worker,) = [pid for pid, command in tree(us.roots[0]).items() if kind_of(command) == "submission"]
        runner.run(deliver(us, SMALL, 100, max(CONNECTIONS), 1))
        before = memory(worker, "VmRSS")
        for connections in CONNECTIONS:
            found = runner.run(deliver(us, LARGE, MESSAGES, connections, 1))
            found["megabytes_per_s"] = round(float(str(found["accepted_per_s"])) * LARGE / 1_000_000, 1)
            found["worker_growth_kib"] = memory(worker, "VmHWM") - before
            print(json.dumps({"measure": "large"} | found), flush=True)


if __name__ == "__main__":
    main()
