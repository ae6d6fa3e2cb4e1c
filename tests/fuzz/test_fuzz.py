"""Drives every fuzz target: its kept seeds first, then seeds that hypothesis has changed.

A target is `fuzz_<noun>.py` with `fuzz(data: bytes) -> None`, which raises only when its stated invariant is broken;
its seeds are the files of `seeds/<noun>/`. `FUZZ_SECONDS=600 make fuzz` goes on for that long a target.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, seed, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))
EXAMPLES = 200  # enough to meet the usual slips in a second; longer runs are `make fuzz`
LARGEST = 64 * 1024  # bytes of a changed seed: what grows past it only costs time
SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))

Fuzz = Callable[[bytes], None]


@cache
def target(noun: str) -> Fuzz:
    spec = importlib.util.spec_from_file_location(f"fuzz_{noun}", HERE / f"fuzz_{noun}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    fuzz: Fuzz = module.fuzz
    return fuzz


@cache
def seeds(noun: str) -> tuple[bytes, ...]:
    folder = HERE / "seeds" / noun
    return tuple(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_there_are_targets() -> None:
    assert TARGETS


def test_seeds_belong_to_a_target() -> None:
    assert {path.name for path in (HERE / "seeds").iterdir() if path.is_dir()} <= set(TARGETS)


@pytest.mark.parametrize("noun", TARGETS)
def test_kept_seeds(noun: str) -> None:
    assert seeds(noun), f"keep at least one seed in tests/fuzz/seeds/{noun}/"
    for data in (b"", *seeds(noun)):
        target(noun)(data)


def changed(noun: str) -> st.SearchStrategy[bytes]:
    """A seed after a few cuts, repeats, insertions and flips, sometimes joined to another; or bytes from nowhere."""

    @st.composite
    def change(draw: st.DrawFn) -> bytes:
        data = bytearray(draw(st.sampled_from(seeds(noun))))
        for _ in range(draw(st.integers(1, 6))):
            at = draw(st.integers(0, len(data)))
            to = min(len(data), at + draw(st.integers(0, 64)))
            match draw(st.sampled_from(("cut", "insert", "repeat", "flip", "join", "end"))):
                case "cut":
                    del data[at:to]
                case "insert":
                    data[at:at] = draw(st.binary(min_size=1, max_size=8) | st.sampled_from(TROUBLE))
                case "repeat":
                    data[at:at] = data[at:to] * draw(st.integers(1, 200))
                case "flip" if at < len(data):
                    data[at] ^= 1 << draw(st.integers(0, 7))
                case "join":
                    data[at:] = draw(st.sampled_from(seeds(noun)))[at:]
                case "end":
                    del data[at:]
        return bytes(data[:LARGEST])

    return change() | st.binary(max_size=512)


# What parsers fall over: line ends, NUL, quotes and brackets left open, bytes that are no UTF-8, long runs.
TROUBLE = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b'"',
    b"(",
    b")",
    b"{9999999999}\r\n",
    b"=?",
    b"?=",
    b"\xff\xfe",
    b"\xc3",
    b"|",
    b"--",
    b"\x80",
    b"(" * 500,
)


@pytest.mark.parametrize("noun", TARGETS)
def test_changed_seeds(noun: str) -> None:
    fuzz = target(noun)
    started = time.monotonic()
    rounds = 0
    while rounds == 0 or time.monotonic() - started < SECONDS:
        # The usual run is the same everywhere; a longer one goes where none has been.
        @seed(rounds if not SECONDS else int.from_bytes(os.urandom(8)))
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(changed(noun))
        @example(b"")
        def run(data: bytes) -> None:
            fuzz(data)

        run()
        rounds += 1
