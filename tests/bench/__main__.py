"""`make bench`: runs the benchmarks named (all by default); each prints one JSON line a measure."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

NAMES = sorted(file.stem.removeprefix("bench_") for file in Path(__file__).parent.glob("bench_*.py"))


def main() -> None:
    for name in sys.argv[1:] or NAMES:
        if name not in NAMES:
            sys.exit(f"No benchmark is called {name}; there are: {', '.join(NAMES)}")
        importlib.import_module(f"tests.bench.bench_{name}").main()


main()
