"""Looks for words in everything a thief of the disk would hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

WINDOW = 1 << 20


def places_of(needles: Mapping[str, bytes], *roots: Path) -> dict[str, list[str]]:
    """For each named needle, the files below `roots` that hold its bytes (a file read in windows that overlap)."""
    found: dict[str, list[str]] = {name: [] for name in needles}
    overlap = max(len(needle) for needle in needles.values()) - 1
    for root in roots:
        for file in sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink()):
            missing = dict(needles)
            for window in _windows(file, overlap):
                for name in [name for name, needle in missing.items() if needle in window]:
                    found[name].append(str(file.relative_to(root.parent)))
                    del missing[name]
    return found


def _windows(file: Path, overlap: int) -> Iterator[bytes]:
    try:
        handle = file.open("rb")
    except FileNotFoundError:  # the database removed it while we walked
        return
    with handle:
        kept = b""
        while block := handle.read(WINDOW):
            yield kept + block
            kept = (kept + block)[-overlap:]
