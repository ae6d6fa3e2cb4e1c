"""Loading of a white list as a worker does it: signature, reading, and the space that answers from memory."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime

from crypto.smime.anchors import TrustAnchors
from server.trust.signature import signed_root
from server.trust.space import TrustSpace
from server.trust.white_list import read
from tests.white_lists import PINNED, Manager

ENTRIES = 10_000  # the national list has 8,655 (2026), of 321 operators
OPERATORS = 321
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ROUNDS = 5


def main() -> None:
    manager = Manager.new(NOW)
    names = [f"CN=smtp.op{n}.fr,OU=318751275100020,O=Opérateur {n},ST=Rhône (69),C=FR" for n in range(OPERATORS)]
    rows = [(f"d{n}.exemple.fr", names[n % OPERATORS]) for n in range(ENTRIES)]
    data, anchors = manager.signed(rows, NOW), TrustAnchors([manager.root.certificate])
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        TrustSpace({}).replace(read(signed_root(data, anchors, PINNED, NOW)))
        seconds.append(time.perf_counter() - started)
    result = {"measure": "white list", "entries": ENTRIES, "bytes": len(data), "seconds": round(min(seconds), 3)}
    sys.stdout.write(json.dumps(result) + "\n")
