"""`make bench`: runs the benchmarks named (all by default); each prints one JSON line a measure.

`BENCH=imap:20000` gives a benchmark its size.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

NAMES = sorted(file.stem.removeprefix("bench_") for file in Path(__file__).parent.glob("bench_*.py"))


def main() -> None:
    for argument in sys.argv[1:] or NAMES:
        name, _, size = argument.partition(":")
        if name not in NAMES:
            sys.exit(f"No benchmark is called {name}; there are: {', '.join(NAMES)}")
        run = importlib.import_module(f"tests.bench.bench_{name}").main
        run(int(size)) if size else run()


main()
